"""Poses between samples, TUM files and messages."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform, yaw_of
from vpr_ros.sensors import Trajectory, odometry_msg, pose_msg
from vpr_ros.sensors.poses.trajectory import travelled

SECOND = 10**9


def line(count=11, dt_ns=SECOND // 2):
    return Trajectory(np.arange(count) * dt_ns + SECOND, [planar_transform(2.0 * i, -i, 0.1 * i) for i in range(count)])


@given(st.integers(0, 10 * SECOND // 2))
@settings(max_examples=60, deadline=None)
def test_interpolation_is_linear_in_position_and_heading(offset):
    T = line().at(SECOND + offset)
    i = offset / (SECOND / 2)
    assert np.allclose(T[:3, 3], [2 * i, -i, 0], atol=1e-9)
    assert np.isclose(yaw_of(T), 0.1 * i, atol=1e-9)
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)


def test_never_extrapolated_and_never_across_a_gap():
    trajectory = line()
    assert trajectory.at(SECOND - 1) is None
    assert trajectory.at(6 * SECOND + 1) is None
    assert trajectory.at(SECOND + 1, max_gap_s=0.4) is None
    assert np.array_equal(trajectory.at(SECOND, max_gap_s=0.0), trajectory.T[0])
    assert np.array_equal(trajectory.at(6 * SECOND), trajectory.T[-1])
    assert Trajectory(np.empty(0), np.empty((0, 4, 4))).at(5) is None


def interpolated(trajectory, stamp, max_gap_s):
    """The pose at one stamp from scipy's Slerp over all samples, None where nothing covers it."""
    samples = trajectory.stamps_ns.tolist()
    if not samples or not samples[0] <= stamp <= samples[-1]:
        return None
    before = max(i for i, s in enumerate(samples) if s <= stamp)
    if samples[before] == stamp:
        return trajectory.T[before]
    if samples[before + 1] - samples[before] > max_gap_s * SECOND:
        return None
    times = [0.0, (samples[before + 1] - samples[before]) / SECOND]
    at, pair = (stamp - samples[before]) / SECOND, trajectory.T[before : before + 2]
    T = np.eye(4)
    T[:3, :3] = Slerp(times, Rotation.from_matrix(pair[:, :3, :3]))(at).as_matrix()
    T[:3, 3] = [np.interp(at, times, pair[:, axis, 3]) for axis in range(3)]
    return T


def test_many_stamps_are_answered_as_one_by_one():
    rng = np.random.default_rng(3)
    T = np.tile(np.eye(4), (40, 1, 1))
    T[:, :3, :3] = Rotation.random(40, random_state=1).as_matrix()
    T[:, :3, 3] = rng.uniform(-2, 2, (40, 3))
    T[7, :3, :3] = T[6, :3, :3]
    stamps = np.cumsum(rng.integers(1, 400, 40)) * 10**6
    stamps[20:] += 3 * SECOND
    trajectory = Trajectory(stamps, T)
    asked = np.concatenate([rng.integers(stamps[0] - 10**8, stamps[-1] + 10**8, 300), stamps])
    for max_gap_s in (0.2, 1.0):
        found, covered = trajectory.at_many(asked, max_gap_s)
        assert 0 < covered.sum() < len(asked)
        for stamp, pose, known in zip(asked, found, covered, strict=True):
            expected, alone = interpolated(trajectory, stamp, max_gap_s), trajectory.at(int(stamp), max_gap_s)
            assert known == (expected is not None) == (alone is not None)
            np.testing.assert_allclose(pose, np.full((4, 4), np.nan) if expected is None else expected, atol=1e-9)
            assert alone is None or np.array_equal(alone, pose)
    middle = Trajectory([0, 10], [planar_transform(0, 0, 0), planar_transform(2, 0, 0)])
    assert middle.at_many([5])[0][0, 0, 3] == 1.0  # integer division would stay at 0
    assert not Trajectory(np.empty(0), np.empty((0, 4, 4))).at_many([1])[1].any()


def test_metres_travelled():
    assert travelled(np.array([planar_transform(x, 0, 0) for x in (0, 3, 1)])).tolist() == [0, 3, 5]
    assert travelled(np.empty((0, 4, 4))).tolist() == []


def test_stamps_beyond_float_precision_are_exact():
    start = 1_700_000_000_000_000_001
    trajectory = Trajectory([start, start + 2], [planar_transform(0, 0, 0), planar_transform(2, 0, 0)])
    assert np.isclose(trajectory.at(start + 1)[0, 3], 1.0)


def test_unsorted_and_repeated_samples():
    trajectory = Trajectory([30, 10, 20, 10], [planar_transform(x, 0, 0) for x in (3, 1, 2, 9)])
    assert trajectory.stamps_ns.tolist() == [10, 20, 30]
    assert trajectory.T[:, 0, 3].tolist() == [1, 2, 3]  # of equal stamps the first


def test_messages_with_bad_poses_are_left_out_and_counted():
    good = [odometry_msg(planar_transform(i, 0, 0), i + 1) for i in range(3)]
    bad = odometry_msg(planar_transform(0, 0, 0), 9)
    bad.pose.pose.position.x = float("nan")
    flat = pose_msg(planar_transform(0, 0, 0), 10)
    flat.pose.orientation.w = 0.0
    rejected = Counter()
    trajectory = Trajectory.from_messages([*good, bad, flat], rejected)
    assert len(trajectory) == 3 and sum(rejected.values()) == 2
    assert any("NaN" in r for r in rejected) and any("zero quaternion" in r for r in rejected)


def test_covariance_is_the_nearest_samples():
    messages = [pose_msg(planar_transform(i, 0, 0), i * 10, covariance=np.eye(6) * (i + 1)) for i in range(3)]
    trajectory = Trajectory.from_messages(messages)
    assert trajectory.covariance_at(4)[0, 0] == 1
    assert trajectory.covariance_at(6)[0, 0] == 2
    assert trajectory.covariance_at(999)[0, 0] == 3
    assert Trajectory.from_messages([pose_msg(planar_transform(0, 0, 0), 1)]).covariance_at(1) is None


@given(st.lists(st.integers(0, 2 * 10**18), min_size=1, max_size=5, unique=True), st.floats(-3, 3))
@settings(max_examples=25, deadline=None)
def test_tum_round_trip_keeps_nanoseconds(tmp_path_factory, stamps, yaw):
    path = tmp_path_factory.mktemp("tum") / "t.tum"
    before = Trajectory(stamps, [planar_transform(i, -i, yaw) for i in range(len(stamps))])
    before.to_tum(path)
    after = Trajectory.from_tum(path)
    assert np.array_equal(before.stamps_ns, after.stamps_ns)
    assert np.allclose(before.T, after.T, atol=1e-8)


def test_tum_reads_comments_commas_and_exponents(tmp_path):
    path = tmp_path / "t.tum"
    path.write_text("# seconds x y z qx qy qz qw\n\n1.5, 1, 2, 3, 0, 0, 0, 1\n2.5e0 4 5 6 0 0 0 2 # twice as long\n")
    trajectory = Trajectory.from_tum(path)
    assert trajectory.stamps_ns.tolist() == [1_500_000_000, 2_500_000_000]
    assert np.allclose(trajectory.T[1], planar_transform(4, 5, 0, 6))


@pytest.mark.parametrize(
    "text,words",
    [
        ("", "holds no pose"),
        ("1 2 3\n", "line 1"),
        ("1 0 0 0 0 0 0 1\nx 0 0 0 0 0 0 1\n", "line 2"),
        ("1 0 0 nan 0 0 0 1\n", "line 1"),
        ("1 0 0 0 0 0 0 0\n", "line 1"),
    ],
)
def test_bad_tum_files_name_the_line(tmp_path, text, words):
    path = tmp_path / "t.tum"
    path.write_text(text)
    with pytest.raises(VprError, match=words):
        Trajectory.from_tum(path)


def test_tum_file_that_is_missing_or_cannot_be_written(tmp_path):
    with pytest.raises(VprError, match="cannot be read"):
        Trajectory.from_tum(tmp_path / "none.tum")
    with pytest.raises(VprError, match="cannot be written"):
        line().to_tum(tmp_path / "no_such_folder" / "t.tum")
