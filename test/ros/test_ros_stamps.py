"""Images whose stamps jump, and clocks that do not run: refused or followed as of a bag, and told."""

from collections import Counter

import numpy as np
import pytest
from ros_drives import images_of
from ros_robot import compressed, qos, until_answered, wait_until
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from vision_msgs.msg import Detection3D

from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import BagWriter, Drive, compressed_image_msg

SECOND = 10**9
START = 1_000 * SECOND
EPOCH_S = 95_896_921
JPEG = compressed_image_msg(np.arange(24 * 32 * 3, dtype=np.uint8).reshape(24, 32, 3), 0).data.tobytes()


def stamps(shift_s):
    return [START + i * SECOND // 10 + round(shift_s(i) * SECOND) for i in range(40)]


CASES = {
    "every tenth of another epoch": stamps(lambda i: EPOCH_S if i % 10 == 4 else 0),
    "every tenth an hour ahead": stamps(lambda i: 3600 if i % 10 == 4 else 0),
    "every tenth 5 s back": stamps(lambda i: -5 if i % 10 == 4 else 0),
    "every tenth 60 s back": stamps(lambda i: -60 if i % 10 == 4 else 0),
    "set back by 5 s": stamps(lambda i: -5 if i >= 20 else 0),
    "set back by 60 s": stamps(lambda i: -60 if i >= 20 else 0),
    "set an hour ahead": stamps(lambda i: 3600 if i >= 20 else 0),
    "zero, repeated and a little back": [*stamps(lambda i: 0)[:9], 0, START + SECOND // 2, START + 8 * SECOND // 10],
}


@pytest.mark.parametrize("case", CASES)
def test_stamps_that_jump_are_taken_live_as_of_a_bag(case, hear, robot, tmp_path):
    with BagWriter(tmp_path / "bag") as writer:
        for i, stamp in enumerate(CASES[case]):
            writer.write("/image/compressed", compressed_image_msg(JPEG, stamp), START + i * SECOND // 10)
    with Drive(tmp_path / "bag") as drive:
        recorded = [o.stamp_ns for o in drive]
        told = Counter(drive.skipped) + Counter(drive.notes)
    hearer = hear()
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage, qos(100)))
    for i, stamp in enumerate(CASES[case], 1):
        publisher.publish(compressed(stamp, JPEG))
        wait_until(lambda sent=i: hearer.settled(sent))
    live = [o.stamp_ns for o in hearer.observations]
    # The image that was held until the next one confirmed it is overwritten by that one, as newer ones are.
    assert set(live) <= set(recorded) and len(recorded) - len(live) == hearer.inputs.dropped <= 1
    assert live == [stamp for stamp in recorded if stamp in set(live)]
    assert hearer.counts() == dict(told) and told


def test_a_map_whose_camera_has_another_epoch_now_and_then_is_one_session(start, robot, drives, tmp_path):
    node = start(mode="map", map_path=tmp_path / "m.vpr", compressed=True, keyframe_every=1).up()
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    wait_until(lambda: camera.get_subscription_count() == 2)  # the one that was there, and the reliable one
    pictures = [jpeg for _, jpeg in images_of(drives["first"])]
    begin = robot.now_ns() - 60 * SECOND
    for i in range(20):
        camera.publish(compressed(begin + i * SECOND // 2 - (EPOCH_S * SECOND if i % 10 == 4 else 0), pictures[i]))
        node.until_health("input", lambda h, sent=i + 1: h.number("received") == sent)
    health = node.until_health("input", lambda h: h.number("image stamp slipped") == 2)
    assert health.level == 1 and "left out" in health.message
    assert "repair the driver's clock" in node.log
    assert node.deactivate() and node.cleanup()
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        keyframes = place_map.keyframes()
        assert len(place_map.sessions()) == 1 and np.ptp(keyframes.stamps_ns) <= 10 * SECOND


def test_images_ahead_of_the_clock_are_told(start, robot, first_map, drives):
    jpeg = images_of(drives["first"])[5][1]
    node = start(map_path=first_map, compressed=True).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)

    def told(health):
        camera.publish(compressed(robot.now_ns() + 3600 * SECOND, jpeg))
        return "ahead of this node's clock" in health.message and len(matches) > 0

    health = node.until_health("input", told)
    assert health.level == 1
    wait_until(lambda: "ahead of this node's clock" in node.log)  # looked at twice a second
    assert health.values["last image's stamp against the node's clock (s)"].startswith(("+3599", "+3600"))


def test_simulated_time_without_a_clock_is_told(start, robot, first_map, drives):
    jpeg = images_of(drives["first"])[5][1]
    node = start(map_path=first_map, compressed=True, use_sim_time=True).up()
    told = node.until_health("input", lambda h: "use_sim_time is true and /clock brings no time" in h.message)
    assert told.level > 0
    wait_until(lambda: "use_sim_time is true and /clock" in node.log)
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))  # it answers all the same
    clock = robot.until_heard(robot.publisher("/clock", Clock))

    def runs(health):
        now = Clock()
        now.clock.sec, now.clock.nanosec = divmod(robot.now_ns(), SECOND)
        clock.publish(now)
        return "/clock" not in health.message

    node.until_health("input", runs)
    node.until_health("input", lambda h: "has stood still" in h.message)
