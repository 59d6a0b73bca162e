"""Layout, routes, odometry and what differs between drives: no rendering here."""

import subprocess
import sys

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, yaw_of
from vpr_ros.training.synthetic.conditions import CameraConfig, DriveConditions, named_conditions, random_camera
from vpr_ros.training.synthetic.drive import OFFMAP_SHIFT_M, plan_drive
from vpr_ros.training.synthetic.kinds import FIRST_TEST_SEED, TRAIN_SEEDS, VALIDATION_SEEDS
from vpr_ros.training.synthetic.odometry import drifting_odometry, steps
from vpr_ros.training.synthetic.world.city import DEMO_CITY_SEED, DEMO_OFFMAP_SEED, make_city
from vpr_ros.training.synthetic.world.ground import make_ground
from vpr_ros.training.synthetic.world.lots import make_lots
from vpr_ros.training.synthetic.world.route import plan_route
from vpr_ros.training.synthetic.world.vegetation import make_trees


def test_seed_ranges_are_disjoint():
    assert set(TRAIN_SEEDS).isdisjoint(VALIDATION_SEEDS)
    assert max(max(TRAIN_SEEDS), max(VALIDATION_SEEDS)) < FIRST_TEST_SEED <= min(DEMO_CITY_SEED, DEMO_OFFMAP_SEED)
    assert DEMO_CITY_SEED != DEMO_OFFMAP_SEED


def test_import_needs_neither_open3d_nor_rosbags():
    code = """if True:
        import sys
        sys.modules.update({name: None for name in ("open3d", "faiss", "rosbags", "matplotlib")})
        import vpr_ros.training
        import vpr_ros.training.synthetic
        print(len(vpr_ros.training.synthetic.plan_drive(3, length_m=60)))"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "20"


@pytest.mark.parametrize("seed", [7, 2005])
def test_every_street_has_a_way_on_and_the_ring_is_closed(seed):
    city = make_city(seed)
    assert min(len(n) for n in city.neighbours.values()) >= 2
    assert sum(s.border for s in city.streets) == 24
    assert make_city(seed).nodes.tobytes() == city.nodes.tobytes()
    assert np.abs(make_city(seed + 1).nodes - city.nodes).max() > 10


def test_ground_fields_match_the_nearest_centre_line_point():
    city, ground = make_city(7), make_ground(7)
    points = np.concatenate([s.points for s in city.streets])
    rng = np.random.default_rng(0)
    xy = rng.uniform(-250, 250, (300, 2))
    rows, columns = ground.cells(xy)
    half = np.array([s.half_width_m for s in city.streets])[ground.street[rows, columns]]
    naive = np.sqrt(((xy[:, None] - points[None]) ** 2).sum(-1)).min(1)
    got = ground.fields[rows, columns, 0] + half
    near = naive < 25
    assert near.sum() > 80
    assert np.abs(got - naive)[near].max() < 1.6  # samples are 2 m apart, cells 0.5 m


def test_a_route_stays_on_the_road_and_has_turns():
    for seed in (7, 2005):
        route = plan_route(seed, 1200)
        ground = make_ground(seed)
        assert route.length_m == 1200
        assert np.allclose(np.linalg.norm(np.diff(route.points, axis=0), axis=1), 1, atol=0.12)
        assert np.mean(ground.edge_distance(route.points) < -0.5) > 0.97
        turned = np.abs(np.diff(np.unwrap(route.heading)[::15]))
        assert (turned > np.radians(40)).sum() >= 3
    with pytest.raises(VprError, match="does not fit city 7"):
        plan_route(7, 1e6)


def test_a_route_in_laps_comes_back_to_its_streets():
    route = plan_route(2174, 2500, lap_m=600)
    apart = np.linalg.norm(route.points[:, None] - route.points[None], axis=2)
    turned = np.cos(route.heading[:, None] - route.heading[None]) > 0.9
    far = np.arange(2501)[:, None] - np.arange(2501)[None] > 600
    assert route.length_m == 2500 and np.linalg.norm(np.diff(route.points, axis=0), axis=1).max() < 1.05
    assert ((apart < 1.0) & turned & far).any(axis=1)[-400:].all()  # the last metres were driven before


def test_no_house_or_trunk_stands_on_a_road():
    city, ground, lots, trees = make_city(7), make_ground(7), make_lots(7), make_trees(7)
    for lot in lots.houses:
        assert ground.edge_distance(lot.footprint()).min() > -1.2
    assert ground.edge_distance(trees.xy).min() > 0.5
    assert len(lots.houses) > 120 and len(trees.xy) > 300
    assert {s.zone for s in city.streets} >= {0, 2}


def test_drives_of_one_route_share_places_and_differ_in_detail():
    a = plan_drive(7, DriveConditions(seed=1), length_m=400, spacing_m=4)
    b = plan_drive(
        7,
        DriveConditions(seed=2, along_jitter_m=1.5, across_jitter_m=1, yaw_jitter_rad=0.07),
        length_m=400,
        spacing_m=4,
    )
    gap = np.linalg.norm(a.T_map_base[:, :2, 3] - b.T_map_base[:, :2, 3], axis=1)
    assert 0.1 < gap.mean() and gap.max() < 4
    turn = np.abs(np.angle(np.exp(1j * (yaw_of(a.T_map_base) - yaw_of(b.T_map_base)))))
    assert np.median(turn) < 0.1 and turn.max() < 0.45  # the most where a bend meets the jitter along the road
    again = plan_drive(7, DriveConditions(seed=1), length_m=400, spacing_m=4)
    assert again.T_odom_base.tobytes() == a.T_odom_base.tobytes()
    assert (np.diff(a.stamps_ns) == np.int64(4 / 8 * 1e9)).all()


def test_leaving_the_map_moves_the_truth_away_but_not_the_odometry():
    drive = plan_drive(7, length_m=200, spacing_m=4, offmap_seed=8, offmap_length_m=120)
    off = drive.cities == 8
    assert off.sum() == 30 and (~off).sum() == 50
    assert drive.T_map_base[off][:, 0, 3].min() > OFFMAP_SHIFT_M / 2 > drive.T_map_base[~off][:, 0, 3].max()
    stride = np.linalg.norm(np.diff(drive.T_odom_base[:, :2, 3], axis=0), axis=1)
    assert stride.max() < 7


def test_odometry_drifts_within_bounds_and_is_exact_without_noise():
    truth = plan_drive(7, length_m=800, spacing_m=4).T_city_base
    relative = steps(truth)
    exact = drifting_odometry(relative, 0, scale_sigma=0, yaw_sigma_rad_per_sqrt_m=0)
    origin = invert(truth[0])
    assert np.abs(exact[:, :2, 3] - (origin @ truth)[:, :2, 3]).max() < 0.6  # white noise of the steps only
    ends = []
    for seed in range(8):
        odom = drifting_odometry(relative, seed)
        ends.append(np.linalg.norm(odom[-1, :2, 3] - (origin @ truth)[-1, :2, 3]))
    assert 1 < np.mean(ends) and max(ends) < 0.15 * 800


def test_steps_compose_back_to_the_poses():
    truth = plan_drive(7, length_m=100, spacing_m=4).T_city_base
    T = truth[0]
    for k, step in enumerate(steps(truth)):
        T = T @ step
        assert np.allclose(T, truth[k + 1], atol=1e-9)


def test_wrong_words_are_named():
    with pytest.raises(VprError, match="no season 'spring'"):
        DriveConditions(season="spring")
    with pytest.raises(VprError, match="no condition 'noon'"):
        named_conditions("noon")
    with pytest.raises(VprError, match="positive spacing"):
        plan_drive(7, spacing_m=0)


def test_training_cameras_vary_and_keep_the_size():
    cameras = [random_camera(np.random.default_rng(k), 64, 48) for k in range(40)]
    assert {(c.width, c.height) for c in cameras} == {(64, 48)}
    assert np.ptp([c.fov_deg for c in cameras]) > 25 and np.ptp([c.height_m for c in cameras]) > 1
    K = CameraConfig(320, 240, fov_deg=90).K
    assert np.allclose(K, [[160, 0, 160], [0, 160, 120], [0, 0, 1]])
