import numpy as np
import pytest
from recognition_worlds import World, drive, keyframes

from vpr_ros.geometry import planar_transform
from vpr_ros.recognition.topology import FRAMES, MAP, ODOM, SEGMENT_GAP, Topology, motion_between


def naive_step(T_a, T_b, weight):
    yaw_a, yaw_b = np.arctan2(T_a[1, 0], T_a[0, 0]), np.arctan2(T_b[1, 0], T_b[0, 0])
    turn = np.arctan2(np.sin(yaw_b - yaw_a), np.cos(yaw_b - yaw_a))
    return sum((T_b[i, 3] - T_a[i, 3]) ** 2 for i in range(3)) ** 0.5 + weight * abs(turn)


@pytest.fixture(scope="module")
def frames():
    world = World(1)
    a = drive(world, [(0, 0, 60), (1, 0, 30)], step_m=2)
    b = drive(world, [(0, 11, 50)], step_m=1.7, seed=2, start_s=100)
    return keyframes(a, b)


def test_motion_counts_distance_and_turning_through_pi():
    T_a, T_b = planar_transform(0, 0, 3.1), planar_transform(3, 4, -3.1)
    assert motion_between(T_a, T_b, 2.0) == pytest.approx(5 + 2 * (2 * np.pi - 6.2))
    assert motion_between(T_a, T_b, 2.0) == pytest.approx(naive_step(T_a, T_b, 2.0))


def test_coordinates_follow_each_drives_odometry(frames):
    top = Topology(frames, radius=5.0)
    for i in range(1, top.n):
        step = top.coordinates[i] - top.coordinates[i - 1]
        if frames.sessions[i] != frames.sessions[i - 1]:
            assert step > 0.999 * SEGMENT_GAP and top.segments[i] == top.segments[i - 1] + 1
        else:
            T = frames.T_odom_base
            assert step == pytest.approx(max(0.05, naive_step(T[i - 1], T[i], top.turn_weight_m)))


def test_widths_and_gaps_equal_a_loop(frames):
    top = Topology(frames, radius=5.0)
    for i in range(top.n):
        steps = []
        for j, k in ((i - 1, i), (i, i + 1)):
            if 0 <= j and k < top.n and top.segments[j] == top.segments[k]:
                steps.append(top.coordinates[k] - top.coordinates[j])
        steps = steps * 2 if len(steps) == 1 else steps
        assert top.widths[i] == pytest.approx(sum(min(s, 5.0) for s in steps) / 2)
        assert top.gaps[i] == pytest.approx(min(max(steps), 5.0))


@pytest.mark.parametrize("distance", [0.5, 5.0, 13.0])
def test_near_equals_brute_force(frames, distance):
    top = Topology(frames, radius=5.0)
    for row in range(0, top.n, 7):
        gaps = np.linalg.norm(frames.T_map_base[:, :3, 3] - frames.T_map_base[row, :3, 3], axis=1)
        assert top.near(row, distance).tolist() == np.flatnonzero(gaps <= distance).tolist()


@pytest.mark.parametrize(("poses", "odometry"), [(True, True), (True, False), (False, True), (False, False)])
def test_appending_one_by_one_equals_building_at_once(frames, poses, odometry):
    world = World(2)
    drives = drive(world, [(0, 0, 50)], step_m=2), drive(world, [(0, 0, 40)], step_m=2, seed=3)
    frames = keyframes(*drives, poses=poses, odometry=odometry)
    whole, grown = Topology(frames, 5.0), Topology(None, 5.0)
    for i in range(len(frames)):
        args = int(frames.ids[i]), int(frames.sessions[i]), int(frames.stamps_ns[i])
        assert grown.append(*args, frames.T_map_base[i], frames.T_odom_base[i]) == i
        grown.colocated(max(0, i - 3))  # cached neighbours must not hide later ones
    for name in ("ids", "kinds", "segments", "groups", "coordinates", "widths", "gaps", "yaws", "positions"):
        np.testing.assert_allclose(getattr(grown, name), getattr(whole, name), atol=1e-9, err_msg=name)
    for row in range(whole.n):
        for got, expected in zip(grown.colocated(row), whole.colocated(row), strict=True):
            np.testing.assert_allclose(got, expected)
    kind = MAP if poses else ODOM if odometry else FRAMES
    assert (whole.kinds == kind).all() and whole.has_metric == (kind != FRAMES)


def test_colocated_are_other_drives_nearby_and_facing_alike(frames):
    top = Topology(frames, radius=5.0)
    rows, weights = top.colocated(10)
    assert len(rows) and (top.sessions[rows] != top.sessions[10]).all() and weights.sum() == pytest.approx(1.0)
    assert (np.linalg.norm(top.positions[rows] - top.positions[10], axis=1) <= 5.0).all()
    assert weights.argmax() == np.linalg.norm(top.positions[rows] - top.positions[10], axis=1).argmin()
    against = frames.T_map_base.copy()
    against[frames.sessions == 2] = against[frames.sessions == 2] @ planar_transform(0, 0, np.pi)
    turned = Topology(keyframes_like(frames, T_map_base=against), radius=5.0)
    assert len(turned.colocated(10)[0]) == 0


def test_a_reset_of_the_odometry_breaks_the_path():
    frames = keyframes(drive(World(3), [(0, 0, 40)], step_m=2), poses=False)
    frames.T_odom_base[12:, 0, 3] += 5000.0
    top = Topology(frames, 5.0)
    assert top.segments[11] == 0 and top.segments[12] == 1
    assert not top.distinct(np.array([11, 12]), 10.0).any()  # two frames of reference: nobody knows how far apart


def keyframes_like(frames, **changes):
    return type(frames)(**{**{n: getattr(frames, n) for n in frames.__dataclass_fields__}, **changes})
