import sys

import numpy as np
import pytest
from command_line import assert_sentence
from crossing_drives import near_errors_m
from scan_bags import START_NS, write_scan_bag
from scanned_streets import box_street, drifting, drive_on

from vpr_ros.sensors import Trajectory

pytest.importorskip("small_gicp")

LINE = np.array([(0, 0), (50, 0), (50, 70)])
FIRST, SECOND = drive_on(LINE, 14, 64), drive_on(LINE, 24, 94, beside_m=0.7)
DAY_NS = 86_400_000_000_000


@pytest.fixture(scope="module")
def lidar_bags(tmp_path_factory):
    folder, world = tmp_path_factory.mktemp("lidar"), box_street(LINE, 1)
    odometry = drifting(FIRST, 1, 1.02), drifting(SECOND, 2, 0.98)
    return {
        "first": write_scan_bag(folder / "first", world, FIRST, odometry[0], 1),
        "second": write_scan_bag(folder / "second", world, SECOND, odometry[1], 2, START_NS + DAY_NS),
        "elsewhere": write_scan_bag(
            folder / "elsewhere", box_street(LINE, 2), SECOND[:16], odometry[1][:16], 3, START_NS + 2 * DAY_NS
        ),
        "no odometry": write_scan_bag(folder / "clouds alone", world, FIRST, None, 1),
    }


def test_align_by_lidar_says_what_holds_and_draws_it(vpr, lidar_bags, tmp_path):
    pytest.importorskip("gtsam")
    second, picture = tmp_path / "second.tum", tmp_path / "tie.png"
    result = vpr("align", lidar_bags["first"], lidar_bags["second"], "-o", second, "--picture", picture)
    assert result.exit_code == 0, result.output
    assert "constraints hold, along" in result.output and "left unexplained: median 0.0" in result.output
    assert "no constraint along metres" in result.output  # where the first drive has ended
    assert picture.read_bytes()[:4] == b"\x89PNG"
    T, odometry = Trajectory.from_tum(second).T, drifting(FIRST, 1, scale=1.02)
    assert len(T) == len(SECOND)
    assert np.percentile(near_errors_m(FIRST, SECOND, odometry, T, 3.0), 90) < 0.3


def test_a_first_drive_without_odometry_gets_poses_of_its_own(vpr, lidar_bags, tmp_path):
    pytest.importorskip("gtsam")
    second, first = tmp_path / "second.tum", tmp_path / "first.tum"
    result = vpr("align", lidar_bags["no odometry"], lidar_bags["second"], "-o", second, "--first", first)
    assert result.exit_code == 0, result.output
    assert "frame: first cloud of" in result.output and f"{len(FIRST)} poses of" in result.output
    poses = [Trajectory.from_tum(path).T for path in (first, second)]
    assert np.percentile(near_errors_m(FIRST, SECOND[: len(poses[1])], *poses, 3.0), 90) < 0.3


def test_align_refuses_what_does_not_hold_together(vpr, lidar_bags, tmp_path):
    pytest.importorskip("gtsam")
    out = tmp_path / "x.tum"
    assert_sentence(
        vpr("align", lidar_bags["first"], lidar_bags["elsewhere"], "-o", out), "one frame", "share a street"
    )
    assert_sentence(
        vpr("align", lidar_bags["no odometry"], lidar_bags["second"], "-o", out), "has no odometry", "--first"
    )
    assert not out.exists()


def test_align_by_lidar_without_gtsam_names_the_extra(vpr, lidar_bags, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gtsam", None)
    result = vpr("align", lidar_bags["first"], lidar_bags["second"], "-o", tmp_path / "x.tum")
    assert_sentence(result, "gtsam", "pip install 'vpr_ros[slam]'")
