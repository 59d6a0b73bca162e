"""Pruning to a bound: what goes is what others answer for, and no hole is left."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform, rotation_angle
from vpr_ros.place_map import Bound, Keyframes, PlaceMap, prune
from vpr_ros.place_map.thinning import near as nearness
from vpr_ros.place_map.thinning.near import Near, answered_at, stretches
from vpr_ros.place_map.thinning.removals import removals

DIM = 16


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float16)


def some_keyframes(rng):
    """Two drives in the map frame, one by odometry, one without poses; 44 keyframes that partly look alike."""
    lengths, T_map, T_odom = (14, 14, 8, 8), np.full((44, 4, 4), np.nan), np.full((44, 4, 4), np.nan)
    for row in range(36):
        turned = rng.choice([0.0, 0.2, 3.0])
        T = planar_transform(row % 14 + rng.uniform(-0.3, 0.3), rng.uniform(-0.5, 0.5), turned)
        (T_map if row < 28 else T_odom)[row] = T
    sessions = np.repeat([1, 2, 5, 7], lengths)
    looks = rng.normal(size=(5, DIM))[rng.integers(5, size=44)] + 0.4 * rng.normal(size=(44, DIM))
    return Keyframes(np.arange(1, 45), sessions, np.arange(44) * 10**9, T_map, T_odom, unit(looks))


def naive_removals(keyframes, stretch, reach, turn_rad, radius, lead):
    """The same by its definition: tries every removal and takes what is left of the similarities."""
    n = len(keyframes)
    number = {s: np.flatnonzero(keyframes.sessions == s)[0] for s in (5, 7)}

    def elsewhere(i):
        kind = keyframes.sessions[i]
        if kind == 7:
            return [j for j in range(number[7], number[7] + 8) if abs(i - j) > 2 * radius]
        same = [1, 2] if kind in (1, 2) else [5]
        T = keyframes.T_odom_base if kind == 5 else keyframes.T_map_base
        rows = [j for j in range(n) if keyframes.sessions[j] in same]
        return [j for j in rows if np.linalg.norm(T[i][:3, 3] - T[j][:3, 3]) > 2 * radius]

    def near(i, j):
        a, b = keyframes.sessions[i], keyframes.sessions[j]
        if a == b == 7:
            return abs((i - number[7]) - (j - number[7])) <= reach
        poses = keyframes.T_map_base if a in (1, 2) and b in (1, 2) else keyframes.T_odom_base if a == b == 5 else None
        if poses is None:
            return False
        apart = np.linalg.norm(poses[i][:3, 3] - poses[j][:3, 3])
        return apart <= reach and rotation_angle(poses[i][:3, :3], poses[j][:3, :3]) <= turn_rad

    alike = keyframes.descriptors.astype(np.float64) @ keyframes.descriptors.astype(np.float64).T
    most = np.array([max(alike[i, elsewhere(i)], default=np.inf) + lead for i in range(n)])
    alike = np.where([[near(i, j) for j in range(n)] for i in range(n)], np.minimum(alike, most[:, None]), -np.inf)
    stay, order = list(range(n)), []
    for units in (stretch, list(range(n))):
        while True:
            now = alike[:, stay].max(axis=1).sum()
            costs = []
            for unit in sorted({units[row] for row in stay}):
                rest = [row for row in stay if units[row] != unit]
                left = alike[:, rest].max(axis=1).sum() if rest else -np.inf
                costs.append((round((now - left) / (len(stay) - len(rest)), 9), unit))
            cost, unit = min(costs)
            if not np.isfinite(cost):
                break
            order.append([row for row in stay if units[row] == unit])
            stay = [row for row in stay if units[row] != unit]
    return order


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_removals_is_that_of_the_definition(seed):
    keyframes = some_keyframes(np.random.default_rng(seed))
    reach, turn = 1.6, np.radians(30)
    stretch = stretches(keyframes, 2.0)
    most = answered_at(keyframes, keyframes.descriptors, 2.0, 0.2)
    near = Near.of(keyframes, keyframes.descriptors, reach, turn).capped(most)
    order = [rows.tolist() for rows in removals(near, stretch)]
    assert max(map(len, order)) > 1 and sum(map(len, order)) > 12
    assert order == naive_removals(keyframes, stretch.tolist(), reach, turn, 2.0, 0.2)


def test_stretches_are_as_long_as_told_and_of_one_drive():
    keyframes = some_keyframes(np.random.default_rng(0))
    numbers = stretches(keyframes, 3.0)
    for session in (1, 2, 5, 7):
        rows = np.flatnonzero(keyframes.sessions == session)
        at = {1: keyframes.T_map_base, 2: keyframes.T_map_base, 5: keyframes.T_odom_base}.get(session)
        travelled, expected = 0.0, [0]
        for before, row in zip(rows, rows[1:], strict=False):
            travelled += 1.0 if at is None else np.linalg.norm(at[row][:3, 3] - at[before][:3, 3])
            expected.append(int(travelled / 3.0))
        _, kinds = np.unique(numbers[rows], return_inverse=True)
        np.testing.assert_array_equal(kinds, np.unique(expected, return_inverse=True)[1])
        assert not np.isin(numbers[rows], numbers[keyframes.sessions != session]).any()


@pytest.fixture
def seasons(new_map):
    """A loop of 40 places, 2 m apart, driven six times by day and once, the third time, by night."""
    place_map, rng = new_map(dim=64), np.random.default_rng(0)
    day, night = rng.normal(size=(2, 40, 64))
    for drive, look in enumerate([day, day, 0.3 * day + night, *[day] * 4]):
        session = place_map.start_session(f"drive {drive}")
        for i, view in enumerate(unit(look + 0.2 * rng.normal(size=look.shape))):
            T = planar_transform(2.0 * i + rng.uniform(-0.5, 0.5), rng.uniform(-0.4, 0.4), 0.0)
            place_map.add(session, (100 * drive + i) * 10**9, view, T, T, thumbnail=rng.bytes(3000))
    place_map.flush()
    return place_map


def test_no_hole_is_left_and_no_look_is_lost(seasons):
    before = seasons.keyframes()
    assert prune(seasons, bound=Bound(keyframes=80), reach=2.5, dry_run=True) == {"removed": 200, "left": 80}
    assert prune(seasons, bound=Bound(keyframes=80), reach=2.5) == {"removed": 200, "left": 80}
    after = seasons.keyframes()
    assert set(after.ids.tolist()) < set(before.ids.tolist())
    apart = np.linalg.norm(before.T_map_base[:, None, :3, 3] - after.T_map_base[None, :, :3, 3], axis=-1)
    assert apart.min(axis=1).max() <= 2.5
    assert (after.sessions == 3).sum() == 40  # the only night stays; of the six days one is left


def test_a_bound_that_leaves_holes_is_refused(seasons):
    with pytest.raises(VprError, match=r"without holes: (\d+) keyframes of about .* within 2.5 of each") as error:
        prune(seasons, bound=Bound(keyframes=10), reach=2.5)
    assert len(seasons) == 280
    least = int(str(error.value).split("holes: ")[1].split()[0])
    assert prune(seasons, bound=Bound(keyframes=least), reach=2.5)["left"] == least
    assert prune(seasons, bound=Bound(keyframes=10), reach=20.0)["left"] == 10


def test_half_the_place_radius_is_the_reach_unless_told(seasons):
    with pytest.raises(VprError, match="within 5 of each"):
        prune(seasons, bound=Bound(keyframes=1))


def test_the_file_keeps_its_bound(seasons):
    prune(seasons, bound=Bound(file_bytes=450e3))
    assert len(seasons) == 80
    seasons.close()
    assert 350e3 < seasons.path.stat().st_size <= 450e3
    with PlaceMap.open(seasons.path, writable=True) as again:
        version = again.version
        assert prune(again, bound=Bound(keyframes=280, file_bytes=450e3))["removed"] == 0 and again.version == version


def test_too_many_on_one_spot_are_named(seasons, monkeypatch):
    monkeypatch.setattr(nearness, "MOST_PAIRS", 500)
    with pytest.raises(VprError, match="more than 500 pairs .* --spacing-m"):
        prune(seasons, bound=Bound(keyframes=80))
