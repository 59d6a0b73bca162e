"""A camera that does not stand upright, live: the node turns its pictures by TF or as told, and says so."""

import numpy as np
import pytest
from ros_drives import FRAMES, IMAGE, ODOM, pixels
from ros_process import Process, play
from test_ros_same_as_offline import REMAPS, assert_same_answers
from vision_msgs.msg import Detection3D

from vpr_ros.geometry import rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import Bag, BagWriter, compressed_image_msg, tf_msg
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.upright import turned

TURNED = "pictures are turned by (degrees)"
OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def rolled_copy(source, target, rotation, tf):
    """The drive as a camera records it that is rolled by so many degrees; with `tf`, /tf_static says so."""
    R = roll_pitch_yaw_to_matrix(np.radians(rotation), 0, 0) @ OPTICAL
    with Bag(source) as bag, BagWriter(target) as writer:
        if tf:
            links = tf_msg([("base_link", "camera_optical_frame", rigid_transform(R, [1.5, 0, 1.2]))], bag.start_ns)
            writer.write("/tf_static", links, bag.start_ns)
        for topic, at_ns, msg in bag.messages([IMAGE, ODOM]):
            if topic == IMAGE:
                raw = turned(pixels(bytes(msg.data)), (360 - rotation) % 360)
                msg = compressed_image_msg(raw, stamp_ns(msg), "camera_optical_frame", format="png")
            writer.write(topic, msg, at_ns)
    return target


def test_a_camera_that_hangs_upside_down_is_answered_as_the_upright_one(
    start, robot, programs, drives, first_map, answers, tmp_path
):
    bag = rolled_copy(drives["lap"], tmp_path / "hanging", 180, tf=True)
    heard_well = {"image_reliability": "reliable", "odom_reliability": "reliable", "pose_wait_s": 2.0}
    node = start(map_path=first_map, compressed=True, image_depth=100, remaps=REMAPS, **heard_well).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    programs.append(play(bag, tmp_path / "play.log", "--delay", "1", rate=0.5))
    assert programs[0].wait(90) == 0, programs[0].log
    health = node.until_health("input", lambda h: h.number("received") == FRAMES == len(matches))
    assert health.values[TURNED] == "180 (TF)"
    assert_same_answers(matches.by_stamp(), answers(drives["lap"]))


def test_launched_with_a_rotation_the_map_is_the_upright_one(programs, drives, first_map, tmp_path):
    bag = rolled_copy(drives["first"], tmp_path / "side", 90, tf=False)
    path = tmp_path / "side.vpr"
    command = ["ros2", "launch", "vpr_ros", "map.launch.py", f"bag:={bag}", f"map:={path}", "rotate:=90"]
    programs.append(Process(command, tmp_path / "map.log"))
    assert programs[0].wait(60) == 0, programs[0].log
    with PlaceMap.open(path) as live, PlaceMap.open(first_map) as offline:
        a, b = live.keyframes(), offline.keyframes()
        assert live.cameras[1].rotation == 90
    np.testing.assert_array_equal(a.stamps_ns, b.stamps_ns)
    assert np.abs(a.descriptors.astype(float) - b.descriptors).max() < 1e-3


@pytest.mark.parametrize("rotate", ["45", 45, "upright"])
def test_another_angle_is_refused_in_one_sentence(start, first_map, rotate):
    node = start(map_path=first_map, rotate=rotate)
    assert not node.configure()
    assert f"parameter rotate must be one of auto, 0, 90, 180, 270, not '{rotate}'" in node.log
    assert node.set(rotate=33) == ["rotate must be one of auto, 0, 90, 180, 270, not '33'"]
    assert node.set(rotate="90") == [""] and node.configure(), node.log


def test_a_number_is_taken_as_the_shell_and_yaml_make_one_of_it(start, first_map):
    node = start(map_path=first_map, rotate=180)
    assert node.configure(), node.log
    assert node.set(rotate=270) == [""] and node.set(rotate="auto") == [""]
    assert node.cleanup() and node.configure(), node.log
