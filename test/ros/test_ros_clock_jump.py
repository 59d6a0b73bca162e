"""A bag in a loop: the clock jumps back, the filter begins anew, and nothing wrong is accepted."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from ros_drives import FRAMES, IMAGE, ODOM, first_drive, second_drive
from ros_process import play
from ros_robot import keyframe_of, stamp_of, wait_until
from vision_msgs.msg import Detection3D

from vpr_ros.place_map import PlaceMap

PLACE_RADIUS_M = 10.0


def test_looped_bag(start, robot, programs, drives, first_map, tmp_path):
    node = start(
        map_path=first_map, compressed=True, use_sim_time=True, remaps={"image/compressed": IMAGE, "odom": ODOM}
    ).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    poses = robot.listen(node.topic("~/pose"), PoseWithCovarianceStamped)
    programs.append(play(drives["lap"], tmp_path / "play.log", "--clock", "200", "--delay", "1", "--loop", rate=2.0))

    def laps():
        stamps = [stamp_of(m) for m in matches.messages]
        return 1 + int(np.sum(np.diff(stamps) < 0))

    wait_until(lambda: laps() >= 3 and len(matches) > 2.5 * FRAMES, 60, "the third lap")
    programs[0].interrupt()
    assert node.until_health("decision", lambda h: "last note" in h.values).values["last note"].startswith("the clock")
    node.until_health("input", lambda h: h.number("clock jumped back") >= 2)
    assert node.deactivate()

    with PlaceMap.open(first_map) as place_map:
        keyframes = place_map.poses()
        stamp_of_keyframe = dict(zip(keyframes.ids.tolist(), keyframes.stamps_ns.tolist(), strict=True))
    true_xy = {
        int(stamp): T[:2, 3]
        for drive in (first_drive(), second_drive())
        for stamp, T in zip(drive.stamps_ns, drive.T_map_base, strict=True)
    }
    accepted = [m for m in matches.messages if m.id]
    errors = [
        float(np.linalg.norm(true_xy[stamp_of_keyframe[keyframe_of(m.id)]] - true_xy[stamp_of(m)])) for m in accepted
    ]
    print(f"\n{laps()} laps, {len(accepted)} of {len(matches)} accepted, at most {max(errors):.1f} m from the truth")
    assert len(accepted) > FRAMES
    assert max(errors) <= PLACE_RADIUS_M
    # Each accepted match has a pose with its stamp; both drives' cameras are mounted alike, so it is the keyframe's.
    assert [stamp_of(pose) for pose in poses.messages] == [stamp_of(match) for match in accepted]
    for pose, match in zip(poses.messages, accepted, strict=True):
        assert pose.header.frame_id == match.header.frame_id == "map"
        p, q = pose.pose.pose.position, match.results[0].pose.pose.position
        assert (p.x, p.y, p.z) == pytest.approx((q.x, q.y, q.z), abs=1e-6)
