from dataclasses import replace

import numpy as np
import pytest
from scan_bags import START_NS, write_scan_bag
from scanned_streets import box_street, drive_on

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.offline.align.scans import SPACING_M, moved_along, read_scans
from vpr_ros.offline.crossing.course import course_of
from vpr_ros.sensors import DriveConfig, DriveTopics

LINE = np.array([(0, 0), (60, 0)])
POSES = drive_on(LINE, 0, 12, step_m=0.4)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_scan_bag(tmp_path_factory.mktemp("bag") / "drive", box_street(LINE, 1), POSES, POSES, 1)


def test_scans_are_spaced_by_odometry_and_come_back_as_they_were(bag, tmp_path):
    scans = read_scans(bag, tmp_path / "a", DriveTopics(), DriveConfig())
    kept = scans.drive.T_odom_base
    steps = np.linalg.norm(np.diff(kept[:, :3, 3], axis=0), axis=1)
    assert scans.has_odometry and len(scans.stamps_ns) == len(POSES)
    assert (steps >= SPACING_M - 1e-9).all() and (steps < SPACING_M + 0.4).all()
    clouds = scans.drive.clouds
    assert len(clouds) == len(kept) == len(list(clouds)) and clouds[3].shape[1] == 3 and clouds[3].dtype == np.float32
    with pytest.raises(IndexError):
        clouds[len(clouds)]


def test_pictures_follow_the_scans_before_and_behind_them(bag, tmp_path):
    scans = read_scans(bag, tmp_path / "a", DriveTopics(), DriveConfig())
    course = course_of(scans.drive)
    drift = np.array([planar_transform(0.1 * n, 5.0, 0.0) for n in range(len(scans.drive))])
    trajectory = moved_along(scans, course, drift @ course.T)
    assert len(trajectory) == len(POSES)
    at = np.interp(scans.stamps_ns, scans.drive.stamps_ns, np.arange(len(scans.drive)))  # held at both ends
    expected = scans.T_odom_base[:, :3, 3] + np.column_stack([0.1 * at, np.full(len(at), 5.0), 0 * at])
    np.testing.assert_allclose(trajectory.T[:, :3, 3], expected, atol=1e-6)
    unknown = drift @ course.T
    unknown[4] = np.nan
    part = (np.arange(len(course.part)) >= 7).astype(int)
    left = moved_along(scans, replace(course, part=part), unknown).stamps_ns
    row_of = np.searchsorted(scans.drive.stamps_ns, left, side="right") - 1
    assert set(row_of) & {4} == set() and (left[row_of == 3] == scans.drive.stamps_ns[3]).all()
    assert (left[row_of == 6] == scans.drive.stamps_ns[6]).all()


def test_a_bag_without_odometry_has_poses_at_its_scans(tmp_path):
    bag = write_scan_bag(tmp_path / "bag", box_street(LINE, 1), POSES[:6], None, 1)
    scans = read_scans(bag, tmp_path / "a", DriveTopics(), DriveConfig())
    assert not scans.has_odometry and scans.drive.T_odom_base is None and len(scans.drive) == 6
    T = np.tile(np.eye(4), (6, 1, 1))
    T[2] = np.nan
    found = moved_along(scans, course_of(replace(scans.drive, T_odom_base=POSES[:6])), T)
    np.testing.assert_array_equal(found.stamps_ns, START_NS + 250_000_000 * np.array([0, 1, 3, 4, 5]))


def test_a_bag_without_clouds_is_refused(tmp_path):
    bag = write_scan_bag(tmp_path / "bag", None, POSES[:4], POSES[:4], 1)
    with pytest.raises(VprError, match="no picture with a cloud and odometry|no LiDAR"):
        read_scans(bag, tmp_path / "a", DriveTopics(), DriveConfig())
