"""Kinds of world: seeds, what repeats, what is empty, and passages whose walls nothing stands in."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.synthetic.conditions import CameraConfig, DriveConditions, named_conditions
from vpr_ros.training.synthetic.drive import plan_drive
from vpr_ros.training.synthetic.kinds import (
    FIRST_TEST_SEED,
    KIND_STRIDE,
    KINDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    kind_of,
    scale_of,
    world_seed,
)
from vpr_ros.training.synthetic.training_set import VALIDATION_OPTIONS, TrainingSetConfig, training_drive
from vpr_ros.training.synthetic.world.city import RURAL, make_city
from vpr_ros.training.synthetic.world.corridor.fittings import furnish, interior_style
from vpr_ros.training.synthetic.world.corridor.walls import crossing_half_m, make_walls
from vpr_ros.training.synthetic.world.furniture import lamp_places
from vpr_ros.training.synthetic.world.ground import make_ground
from vpr_ros.training.synthetic.world.lots import make_lots
from vpr_ros.training.synthetic.world.vegetation import make_trees

CORRIDOR, SPARSE, REPETITIVE = (world_seed(kind, 7) for kind in ("corridor", "sparse", "repetitive"))
CAMERA = CameraConfig(width=64, height=48, height_m=1.0, forward_m=0.1)


def rooms(city) -> list[tuple[np.ndarray, np.ndarray]]:
    """Low and high corners of every passage and crossing."""
    half = crossing_half_m(city)
    found = [(node - half, node + half) for node in city.nodes]
    for street in city.streets:
        a, b = city.nodes[street.a], city.nodes[street.b]
        wide = street.half_width_m * (np.abs(b - a) < 1e-6)
        found.append((np.minimum(a, b) - wide, np.maximum(a, b) + wide))
    return found


def inside(xy, spaces) -> bool:
    return any((xy > low).all() and (xy < high).all() for low, high in spaces)


def test_every_seed_has_one_kind_and_splits_never_meet():
    seeds = {}
    for kind in KINDS:
        for split, numbers in (
            ("train", TRAIN_SEEDS),
            ("validation", VALIDATION_SEEDS),
            ("test", range(FIRST_TEST_SEED, FIRST_TEST_SEED + 50)),
        ):
            seeds[kind, split] = {world_seed(kind, n) for n in numbers}
            assert {kind_of(seed) for seed in seeds[kind, split]} == {kind}
    assert len(set().union(*seeds.values())) == sum(map(len, seeds.values()))
    assert seeds["city", "train"] == set(TRAIN_SEEDS)  # older sets keep their cities
    with pytest.raises(VprError, match="no kind of world 'town': choose city"):
        world_seed("town", 1)
    for number in (-1, KIND_STRIDE):
        with pytest.raises(VprError, match="no world"):
            world_seed("sparse", number)
    with pytest.raises(VprError, match="no world has the seed"):
        kind_of(len(KINDS) * KIND_STRIDE)


@pytest.mark.parametrize("kind", KINDS)
def test_worlds_are_the_same_by_seed_and_differ_between_seeds(kind):
    first, again, other = world_seed(kind, 3), world_seed(kind, 3), world_seed(kind, 4)
    make_city.cache_clear()
    city = make_city(first)
    nodes = city.nodes.tobytes()
    make_city.cache_clear()
    assert make_city(again).nodes.tobytes() == nodes
    assert make_city(other).nodes.tobytes() != nodes
    drives = [plan_drive(seed, length_m=30 * scale_of(seed), spacing_m=3 * scale_of(seed)) for seed in (first, other)]
    assert drives[0].T_city_base.tobytes() != drives[1].T_city_base.tobytes()
    assert min(len(n) for n in city.neighbours.values()) >= 2


def test_a_builder_repeats_two_houses_and_equal_trees():
    city, lots, trees = make_city(REPETITIVE), make_lots(REPETITIVE), make_trees(REPETITIVE)
    houses = [lot for lot in lots.houses if lot.kind == "house"]
    assert len(houses) > 100
    assert len({(lot.width_m, lot.depth_m, lot.zone, lot.seed) for lot in houses}) == 2
    assert len({(s.half_width_m, s.pavement_m, s.parking_m, s.zone, s.surface) for s in city.streets}) == 1
    assert len({s.length_m for s in city.streets}) == len(city.streets)  # what tells streets apart is their course
    assert len(set(trees.seed.tolist())) <= 2 and len(set(trees.evergreen.tolist())) == 1
    steps = set()
    for street in city.streets:
        foot, _, _, _ = lamp_places(city, street)
        if len(foot) > 1 and np.allclose(street.tangent, street.tangent[0], atol=0.02):
            steps.add(round(float(np.linalg.norm(foot[2] - foot[0])) if len(foot) > 2 else 0.0))
    assert len(steps - {0}) <= 1
    ordinary = make_lots(7).houses
    assert len({lot.seed for lot in ordinary}) > 0.9 * len(ordinary)


def test_country_roads_have_hardly_anything_beside_them():
    city, lots, trees, ground = make_city(SPARSE), make_lots(SPARSE), make_trees(SPARSE), make_ground(SPARSE)
    road_m = sum(street.length_m for street in city.streets)
    assert {street.zone for street in city.streets} == {RURAL}
    assert 0 < len(lots.houses) < road_m / 150
    beside = np.sum(ground.edge_distance(trees.xy) < 15)
    assert beside < road_m / 40
    usual = make_city(7)
    usual_beside = np.sum(make_ground(7).edge_distance(make_trees(7).xy) < 15)
    assert beside / road_m < 0.5 * usual_beside / sum(s.length_m for s in usual.streets)


def test_walls_close_the_passages_and_face_into_them():
    for seed in (CORRIDOR, CORRIDOR + 1, world_seed("corridor", FIRST_TEST_SEED)):
        city = make_city(seed)
        spaces, walls = rooms(city), make_walls(city)
        for wall in walls:
            for share in (0.02, 0.5, 0.98):
                at = wall.start + share * (wall.end - wall.start)
                assert inside(at + 0.01 * wall.inward, spaces)
                assert not inside(at - 0.01 * wall.inward, spaces)
        # The perimeter of all rooms together, counted cell by cell, is what the walls cover.
        cell = 0.1
        low, high = city.nodes.min(0) - 3, city.nodes.max(0) + 3
        xs, ys = (np.arange(low[k], high[k], cell) + cell / 2 for k in range(2))
        free = np.zeros((len(xs), len(ys)), bool)
        for a, b in spaces:
            free |= ((xs > a[0]) & (xs < b[0]))[:, None] & ((ys > a[1]) & (ys < b[1]))[None]
        edges = np.sum(free[1:] != free[:-1]) + np.sum(free[:, 1:] != free[:, :-1])
        assert abs(edges * cell - sum(w.length_m for w in walls)) < 0.02 * edges * cell
        assert any(w.outer for w in walls) and not all(w.outer for w in walls)


def test_a_drive_keeps_clear_of_walls_even_with_the_widest_scatter():
    conditions = DriveConditions(seed=3, lane_offset_m=0.4, weave_m=0.25, across_jitter_m=1.0, along_jitter_m=1.5)
    for number in range(4):
        seed = world_seed("corridor", number)
        city = make_city(seed)
        spaces = rooms(city)
        drive = plan_drive(seed, conditions, CAMERA, length_m=40, spacing_m=0.3, speed_mps=0.8)
        for xy in drive.T_city_base[:, :2, 3]:
            for turn in np.arange(8) * np.pi / 4:
                assert inside(xy + 0.2 * np.array([np.cos(turn), np.sin(turn)]), spaces)
        step = np.linalg.norm(np.diff(drive.T_city_base[:, :2, 3], axis=0), axis=1)
        assert 0.15 < np.median(step) < 0.6


def test_fittings_stand_beside_each_other():
    style, taken = interior_style(CORRIDOR), 0
    for number, wall in enumerate(make_walls(make_city(CORRIDOR))):
        places = furnish(wall, style, np.random.default_rng(number))
        ends = [0.0]
        for place in places:
            assert ends[-1] <= place.first_m < place.last_m <= wall.length_m
            assert place.what != "window" or wall.outer
            ends.append(place.last_m)
        taken += len(places)
    assert taken > 100


def test_indoors_there_is_no_weather_and_lengths_are_a_tenth():
    config = TrainingSetConfig((CORRIDOR,), 6, 20, (48, 64), **{**VALIDATION_OPTIONS, "camera": "varied"})
    drives = [training_drive(config, CORRIDOR, number) for number in range(6)]
    assert {d.conditions.season for d in drives} == {"summer"} and {d.conditions.weather for d in drives} == {"clear"}
    assert len({d.conditions.light for d in drives}) >= 3
    assert all(0.4 < d.camera.height_m < 1.5 for d in drives)
    assert len({(d.camera.width, d.camera.height) for d in drives}) > 1
    assert len({d.camera.fov_deg for d in drives}) == 6
    assert drives[0].along_m[-1] == pytest.approx(19 * 0.3) and len(drives[0]) == 20
    assert np.diff(drives[0].stamps_ns)[0] == pytest.approx(0.3 / 0.8 * 1e9, rel=1e-6)
    city = training_drive(config, 7, 0)
    assert city.along_m[-1] == pytest.approx(19 * 3.0) and (city.camera.width, city.camera.height) != (0, 0)


def test_the_drives_of_a_city_may_share_its_own_camera():
    config = TrainingSetConfig((7, 8), 4, 20, (48, 64), **{**VALIDATION_OPTIONS, "camera": "own"})
    cameras = [[training_drive(config, city, number).camera for number in range(4)] for city in (7, 8)]
    assert len(set(cameras[0])) == len(set(cameras[1])) == 1 and cameras[0][0] != cameras[1][0]
    assert len({training_drive(config, 7, number).conditions.label for number in range(4)}) > 2


def test_a_drive_stays_in_one_kind_of_world():
    with pytest.raises(VprError, match="of different kinds"):
        plan_drive(7, length_m=60, offmap_seed=CORRIDOR, offmap_length_m=30)


@pytest.fixture(scope="module")
def passage():
    pytest.importorskip("open3d")
    drive = plan_drive(CORRIDOR, named_conditions("day", 1), CAMERA, length_m=24, spacing_m=3, speed_mps=0.8)
    return drive, drive.scene(CORRIDOR)


def test_windows_are_holes_in_the_wall_and_nothing_else_is(passage):
    _, scene = passage
    style = interior_style(CORRIDOR)
    open_air, closed = [], []
    for number, wall in enumerate(make_walls(make_city(CORRIDOR))):
        for place in furnish(wall, style, np.random.default_rng([CORRIDOR, number, 63])):
            quarter = place.first_m + (place.last_m - place.first_m) * 0.25
            eye = wall.at(quarter, 0.5, 1.6).astype(np.float32)
            hit = scene.cast(eye, np.array([[*-wall.inward, 0.0]], np.float32))["t_hit"][0]
            (open_air if place.what == "window" else closed).append(hit)
    assert len(open_air) > 5 and min(open_air) > 5
    assert len(closed) > 50 and max(closed) < 0.7


def test_a_robot_in_a_passage_sees_no_sky_above_and_a_wall_nearby(passage):
    drive, scene = passage
    style = interior_style(CORRIDOR)
    for T in drive.T_city_base:
        eye = (T[:3, 3] + [0, 0, 1.0]).astype(np.float32)
        up = scene.cast(eye, np.array([[0.0, 0, 1]], np.float32))["t_hit"][0]
        assert up <= style.height_m - 1.0 + 1e-3
        left = np.array([[*T[:2, 1], 0.0], [*-T[:2, 1], 0.0]], np.float32)
        assert scene.cast(eye + [0, 0, 0.9], left)["t_hit"].min() > 0.15


def test_corridor_lights_differ_and_leave_no_picture_black(passage):
    drive, _ = passage
    pictures = {}
    for light in ("day", "overcast", "dusk", "night"):
        other = plan_drive(CORRIDOR, named_conditions(light, 1), CAMERA, length_m=24, spacing_m=3, speed_mps=0.8)
        pictures[light] = np.array([other.frame(i, False).image for i in (2, 5)], np.float32)
        assert 30 < pictures[light].mean() < 220
    for light in ("overcast", "dusk", "night"):
        assert np.abs(pictures[light] - pictures["day"]).mean() > 3
    assert drive.frame(2, False).image.tobytes() == pictures["day"][0].astype(np.uint8).tobytes()


def test_streets_of_one_builder_look_more_alike_than_those_of_a_city():
    pytest.importorskip("open3d")

    def likeness(seed):
        drive = plan_drive(seed, named_conditions("overcast", 5), CameraConfig(64, 48), length_m=600, spacing_m=50)
        small = np.array([drive.frame(i, False).image.mean(2)[::4, ::4].ravel() for i in range(len(drive))])
        small -= small.mean(axis=1, keepdims=True)
        small /= np.linalg.norm(small, axis=1, keepdims=True)
        similarity = small @ small.T
        return similarity[~np.eye(len(small), dtype=bool)].mean()

    assert np.mean([likeness(REPETITIVE + k) for k in range(3)]) > np.mean([likeness(7 + k) for k in range(3)]) + 0.03
