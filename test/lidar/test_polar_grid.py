import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.lidar import (
    PolarGridConfig,
    compare,
    compare_unit,
    likely_turns,
    polar_grid,
    polar_grids,
    unit_grids,
)


def surroundings(seed, count=40):
    """Poles and walls around a robot, as points in its base frame."""
    rng = np.random.default_rng(seed)
    centres, heights = rng.uniform(-45, 45, (count, 2)), rng.uniform(1, 8, count)
    parts = [
        np.column_stack([np.repeat(centre[None], 40, 0) + rng.normal(0, 0.2, (40, 2)), np.linspace(0, height, 40)])
        for centre, height in zip(centres, heights, strict=True)
    ]
    ground = np.column_stack([rng.uniform(-45, 45, (2000, 2)), rng.normal(0, 0.02, 2000)])
    return np.concatenate([*parts, ground]).astype(np.float32)


def moved(points, T):
    return points @ T[:3, :3].T + T[:3, 3]


def naive_grid(points, config):
    grid = np.zeros((config.rings, config.sectors))
    for x, y, z in points:
        r, turn = np.hypot(x, y), np.arctan2(y, x) % (2 * np.pi)
        if not np.isfinite([r, z]).all() or r >= config.range_m or z <= config.floor_m:
            continue
        i, j = int(r / config.range_m * config.rings), int(turn / (2 * np.pi) * config.sectors)
        grid[i, j] = max(grid[i, j], min(z, config.ceiling_m) - config.floor_m)
    return grid


def naive_unit(grid):
    """Roots less their ring's mean, at length 1, cell by cell."""
    rings, sectors = grid.shape
    means = [sum(grid[i, j] ** 0.5 for j in range(sectors)) / sectors for i in range(rings)]
    cells = {(i, j): grid[i, j] ** 0.5 - means[i] for i in range(rings) for j in range(sectors)}
    length = sum(value**2 for value in cells.values()) ** 0.5
    return {cell: value / length for cell, value in cells.items()}


def naive_comparison(a, b):
    u, v, sectors = naive_unit(a), naive_unit(b), a.shape[1]
    alike = [sum(value * v[i, (j + shift) % sectors] for (i, j), value in u.items()) for shift in range(sectors)]
    return max(alike), int(np.argmax(alike))


def test_a_grid_is_the_greatest_height_of_each_cell():
    config = PolarGridConfig(rings=7, sectors=12, range_m=30.0)
    cloud = surroundings(0)
    cloud[::50] = np.nan
    cloud[::77, 2] = np.inf
    np.testing.assert_allclose(polar_grid(cloud, config), naive_grid(cloud, config), atol=1e-5)
    assert not polar_grid(np.zeros((0, 3)), config).any()


def test_comparison_is_the_best_shift():
    config = PolarGridConfig(rings=6, sectors=16)
    a, b = (polar_grids([surroundings(s, 12) for s in seeds], config) for seeds in ((1, 2, 3), (4, 5)))
    a[1, :, 3:9] = 0  # sectors that hold nothing
    similarity, turn = compare(a, b)
    for i in range(3):
        for j in range(2):
            best, at = naive_comparison(a[i], b[j])
            assert similarity[i, j] == pytest.approx(max(best, 0), abs=1e-4)
            assert turn[i, j] == pytest.approx((at * 2 * np.pi / 16 + np.pi) % (2 * np.pi) - np.pi, abs=1e-9) or at == 8


@pytest.mark.parametrize("yaw", [0.0, 0.9, -2.2, 3.1])
def test_a_turned_robot_finds_its_place_and_its_turn(yaw):
    places = [surroundings(seed) for seed in range(8)]
    T_turned_robot = planar_transform(0.4, -0.3, yaw)
    query = moved(places[5], T_turned_robot)
    similarity, turn = compare(polar_grids(places), polar_grids([query]))
    assert similarity[:, 0].argmax() == 5 and similarity[5, 0] > 0.6
    assert abs((turn[5, 0] - yaw + np.pi) % (2 * np.pi) - np.pi) < np.radians(6)
    first, second = likely_turns(polar_grid(places[5]), polar_grid(query))
    assert first == pytest.approx(turn[5, 0]) and abs(second - first) > np.radians(20)


def test_a_scan_that_sees_little_is_not_alike_to_everything():
    full, empty = polar_grid(surroundings(1)), np.zeros((20, 60), np.float32)
    sparse = np.where(np.arange(60) < 6, full, 0)
    similarity, _ = compare(np.stack([full, sparse, empty]), np.stack([full, empty]))
    assert similarity[0, 0] == pytest.approx(1, abs=1e-4) and similarity[1, 0] < 0.4
    assert similarity[2].max() == similarity[:, 1].max() == 0


def test_blurred_grids_are_alike_at_a_greater_distance():
    here, near, far = (polar_grids([surroundings(3) + [shift, 0, 0]]) for shift in (0.0, 3.0, 25.0))
    sharp, soft = ([compare_unit(unit_grids(here, b), unit_grids(x, b))[0][0, 0] for x in (near, far)] for b in (0, 1))
    assert soft[0] > sharp[0] + 0.05 and soft[0] > soft[1] + 0.2
    blurred = unit_grids(np.roll(here, 7, axis=2), 1.0)
    np.testing.assert_allclose(blurred, np.roll(unit_grids(here, 1.0), 7, axis=2), atol=1e-6)


def test_impossible_grids_are_refused():
    for wrong in ({"rings": 1}, {"range_m": 0.0}, {"ceiling_m": 0.1}):
        with pytest.raises(VprError, match="no polar grid"):
            PolarGridConfig(**wrong)
