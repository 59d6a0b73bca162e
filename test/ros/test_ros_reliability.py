"""The subscriptions follow their publishers' reliability, and what does not arrive is told."""

import time

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from ros_robot import compressed, odometry, qos, raw_image, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

SECOND = 10**9
START = 1_000 * SECOND


def asked(robot, topic):
    """The reliabilities with which a topic is subscribed."""
    return [info.qos_profile.reliability.name for info in robot.node.get_subscriptions_info_by_topic(topic)]


@pytest.mark.parametrize(
    "topic, kind", [("/image", Image), ("/camera_info", CameraInfo), ("/odom", Odometry), ("/points", PointCloud2)]
)
def test_every_input_follows_its_publishers(hear, robot, topic, kind):
    hearer = hear(compressed=False, clouds=True)
    wait_until(lambda: asked(robot, topic) == ["BEST_EFFORT"])  # nobody publishes yet
    publisher = robot.publisher(topic, kind, qos(10, reliable=True))
    wait_until(lambda: "RELIABLE" in asked(robot, topic))
    wait_until(lambda: not [p for p in hearer.inputs.problems() if topic in p])
    weak = robot.publisher(topic, kind, qos(10, reliable=False))
    wait_until(lambda: asked(robot, topic)[-1:] == ["BEST_EFFORT"] or asked(robot, topic).count("BEST_EFFORT") == 1)
    assert publisher.get_subscription_count() >= 1 and weak is not None


def test_a_node_that_starts_after_its_camera_is_reliable_at_once(hear, robot):
    robot.publisher("/image", Image, qos(10, reliable=True))
    other = robot.publisher("/odom", Odometry, qos(10, reliable=False))
    hearer = hear(compressed=False, start=False)
    wait_until(lambda: hearer.robot.node.count_publishers("/image") and hearer.robot.node.count_publishers("/odom"))
    hearer.start()
    assert [(t.name, t.reliable) for t in hearer.inputs.topics][::2] == [("image", True), ("odom", False)]
    assert other is not None


def test_nothing_is_lost_or_heard_twice_while_the_reliability_changes(hear, robot):
    hearer = hear(odom_source="topic")
    heard = []
    hearer.inputs._poses._odom.input._callback = lambda msg: heard.append(msg.pose.pose.position.x)
    publisher = robot.until_heard(robot.publisher("/odom", Odometry, qos(200)))
    robot.until_heard(publisher)
    sent = 0
    while sent < 20 or len(asked(robot, "/odom")) > 1 or "RELIABLE" not in asked(robot, "/odom"):
        T = np.eye(4)
        T[0, 3] = sent
        publisher.publish(odometry(START + sent * SECOND // 100, T))
        sent += 1
        time.sleep(0.01)
        assert sent < 2000, f"subscribed {asked(robot, '/odom')}, heard {len(heard)}, {hearer.inputs.problems()}"
    wait_until(lambda: heard and heard[-1] == sent - 1)
    assert heard == list(range(int(heard[0]), sent)) and heard[0] < 20


def test_large_images_of_a_reliable_camera_arrive(hear, robot):
    """Raw 1280x720 at 30 Hz, 2.7 MB each: of 400 the node answered 1 to 118 as best effort."""
    hearer = hear(compressed=False)
    publisher = robot.publisher("/image", Image, qos(10, reliable=True))
    wait_until(lambda: asked(robot, "/image") == ["RELIABLE"] or len(asked(robot, "/image")) == 2)
    robot.until_heard(publisher)
    picture = np.full((720, 1280, 3), 90, np.uint8)
    for i in range(90):
        publisher.publish(raw_image(START + i * SECOND // 30, picture))
        time.sleep(1 / 30)
    wait_until(lambda: hearer.inputs.received >= 30)
    print(f"\n{hearer.inputs.received} of 90 images arrived")


def test_what_does_not_arrive_is_told(hear, robot):
    """Two of three messages of a 30 Hz camera are missing."""
    hearer = hear(image_reliability="best_effort")
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage, qos(100)))
    wait_until(lambda: hearer.robot.node.count_publishers("/image/compressed"))
    kept = [i for i in range(150) if i % 7 in (0, 1)]
    for i in kept:
        publisher.publish(compressed(START + i * SECOND // 30, b"no picture"))
        time.sleep(0.005)
    (sentence,) = wait_until(hearer.inputs.problems)
    assert "about 30 messages/s are published on /image/compressed" in sentence
    assert "set image_reliability to auto or reliable" in sentence
    for i in range(200, 320):
        publisher.publish(compressed(START + i * SECOND // 30, b"no picture"))
        time.sleep(0.005)
    wait_until(lambda: not hearer.inputs.problems())
