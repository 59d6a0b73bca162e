"""Numbers that are finite and still no place on Earth: refused where they are read, so that nothing overflows later."""

import warnings

import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import Drive, Trajectory, compressed_image_msg, odometry_msg, pose_msg, tf_msg
from vpr_ros.sensors.poses.trajectory import pose_of

SECOND = 10**9
STAMPS = [SECOND + i * SECOND // 10 for i in range(10)]
RNG = np.random.default_rng(23)


def far(metres: float) -> np.ndarray:
    T = planar_transform(0, 0, 0)
    T[:3, 3] = metres, -metres, 0
    return T


@pytest.mark.parametrize("metres", [1e9, 1e200, -1e308])
def test_a_pose_beyond_the_earth_is_refused(metres):
    with pytest.raises(FrameError, match="farther than the Earth is wide"):
        pose_of(odometry_msg(far(metres), SECOND))
    assert np.array_equal(pose_of(pose_msg(far(6.4e6), SECOND))[0], far(6.4e6))  # ECEF


def test_a_quaternion_of_huge_numbers_is_refused():
    message = pose_msg(planar_transform(0, 0, 0), SECOND)
    message.pose.orientation.w = 1e300
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FrameError, match="farther than the Earth"):
            pose_of(message)


def test_a_trajectory_with_such_a_line_is_refused(tmp_path):
    (tmp_path / "a.tum").write_text("1 0 0 0 0 0 0 1\n2 1e300 0 0 0 0 0 1\n")
    with pytest.raises(VprError, match=r"a\.tum, line 2, is not"):
        Trajectory.from_tum(tmp_path / "a.tum")


@pytest.mark.parametrize("source", ["odometry", "pose", "tf"])
def test_drives_leave_such_poses_out_and_count_them(make_bag, source):
    def pose(i, stamp):
        T = far(1e200 * (-1) ** i) if i % 2 else planar_transform(i * 0.1, 0, 0)
        if source == "tf":
            return "/tf", tf_msg([("odom", "base_link", T)], stamp), stamp
        return (
            ("/odom", odometry_msg(T, stamp), stamp) if source == "odometry" else ("/pose", pose_msg(T, stamp), stamp)
        )

    picture = RNG.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    messages = [("/camera/compressed", compressed_image_msg(picture, t), t) for t in STAMPS]
    messages += [pose(i, t) for i, t in enumerate(STAMPS)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with Drive(make_bag(sorted(messages, key=lambda m: m[2]))) as drive:
            seen = list(drive)
    assert drive.skipped["TF link unusable" if source == "tf" else "pose unusable"] == 5
    poses = [o.T_map_base if source == "pose" else o.T_odom_base for o in seen]
    assert all(T is None or np.abs(T).max() < 2 for T in poses) and any(T is not None for T in poses)
