"""Inputs on real topics: what a Drive tells of a bag, said live of the same messages; and why nothing arrives."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

import ros_robot
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from ros_hearer import Hearer
from ros_robot import Robot, compressed, odometry, qos, raw_image, wait_until
from rosidl_runtime_py.utilities import get_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from tf2_msgs.msg import TFMessage

from vpr_ros.geometry import make_transform, planar_transform, rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.sensors import (
    BagWriter,
    Drive,
    DriveConfig,
    DriveTopics,
    cloud_msg,
    compressed_image_msg,
    image_msg,
    odometry_msg,
    pose_msg,
    tf_msg,
)
from vpr_ros.sensors.bags.messages import camera_info_msg, time_msg, typestore

SECOND, MILLI = 10**9, 10**6
TENTH = SECOND // 10
START = 1_000 * SECOND
IMAGE = np.full((24, 32, 3), 80, np.uint8)
IMAGE[:8, :8] = 200
JPEG = compressed_image_msg(IMAGE, 0).data.tobytes()
STATIC = QoSProfile(depth=100, durability=qos(latched=True).durability)


class Speaker:
    """Publishes messages that were made for a bag."""

    def __init__(self, robot: Robot, topics: dict[str, str]):
        self.robot = robot
        self.publishers = {
            name: robot.publisher(name, get_message(kind), STATIC if name == "/tf_static" else qos(1000))
            for name, kind in topics.items()
        }
        for publisher in self.publishers.values():
            robot.until_heard(publisher)

    def play(self, messages, hearer: Hearer, image_topic="/image/compressed"):
        """One message every few milliseconds; an image waits until the mailbox is free."""
        images = hearer.inputs.received
        for topic, msg, _ in messages:
            if topic == image_topic:
                wait_until(lambda count=images: hearer.taken_up(count))
            self.publishers[topic].publish(bytes(typestore().serialize_cdr(msg, msg.__msgtype__)))
            if topic == image_topic:
                images += 1
            time.sleep(0.004)
        wait_until(lambda: hearer.settled(images))


def images(count=20, step=TENTH):
    return [("/image/compressed", compressed_image_msg(JPEG, START + i * step), START + i * step) for i in range(count)]


def drive_poses(count=45, step=TENTH // 2, shift=-13 * MILLI):
    stamps = [START + i * step + shift for i in range(count)]
    return stamps, [
        make_transform((0.4 * i, 0.02 * i * i, 0.01 * i), (0.01, 0.02, np.sin(0.03 * i), np.cos(0.03 * i)))
        for i in range(count)
    ]


LEVER = make_transform((0.5, -0.2, 0.3), (0.0, 0.0, 0.1, 0.99))
LIDAR = make_transform((0.1, 0.0, 1.7), (0.0, 0.05, 0.0, 0.99))


def odom_messages(child="base_link", gap=()):
    stamps, poses = drive_poses()
    return [
        ("/odom", odometry_msg(T, t, child_frame_id=child), t)
        for i, (t, T) in enumerate(zip(stamps, poses, strict=True))
        if i not in gap
    ]


def tf_messages(moving=True, links=(("base_link", "imu_link", LEVER), ("base_link", "lidar_link", LIDAR))):
    messages = [("/tf_static", tf_msg(list(links), START - SECOND), START - SECOND)]
    if moving:
        stamps, poses = drive_poses()
        messages += [("/tf", tf_msg([("odom", "base_link", T)], t), t) for t, T in zip(stamps, poses, strict=True)]
        # The slower link: every 150 ms, drifting.
        slow = [START - 400 * MILLI + i * 150 * MILLI for i in range(18)]
        messages += [
            ("/tf", tf_msg([("map", "odom", planar_transform(0.05 * i, -0.1 * i, 0.01 * i))], t), t)
            for i, t in enumerate(slow)
        ]
    return messages


def pose_messages():
    stamps, poses = drive_poses(shift=9 * MILLI)
    return [
        ("/pose", pose_msg(planar_transform(7, 8, 1) @ T, t, covariance=np.eye(6) * (i + 1)), t)
        for i, (t, T) in enumerate(zip(stamps, poses, strict=True))
    ]


def cloud_messages(frame="lidar_link"):
    points = np.random.default_rng(3).normal(size=(50, 3)) * 20
    return [
        ("/points", cloud_msg(points + i, START + i * TENTH + 30 * MILLI, frame), START + i * TENTH + 30 * MILLI)
        for i in range(20)
    ]


def depth_messages():
    """Depth images at 20 Hz whose millimetres tell their time, 4 ms after the pictures; one in five is missing."""
    messages = []
    for i in range(40):
        stamp = START + i * TENTH // 2 + 4 * MILLI
        msg = image_msg(np.full((24, 32), 1000 + 10 * i, np.uint16), stamp, encoding="16UC1")
        messages += [("/depth", msg, stamp)] if i % 5 else []
    return messages


def camera_info():
    K = np.array([[30.0, 0, 16], [0, 31, 12], [0, 0, 1]])
    return [("/camera_info", camera_info_msg(K, 32, 24, START, distortion=[-0.1, 0.01, 0, 0, 0]), START - SECOND // 2)]


def rolled(roll_deg):
    """The fixed mounting of the camera, rolled clockwise as seen from behind."""
    R = roll_pitch_yaw_to_matrix(np.radians(roll_deg), 0, 0) @ np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    return tf_messages(moving=False, links=[("base_link", "camera_optical_frame", rigid_transform(R, [0, 0, 1]))])


def of_another_clock(messages, ahead_ns):
    """The same messages at the same times, stamped by a clock that is ahead."""
    for _, msg, t in messages:
        for stamped in getattr(msg, "transforms", [msg]):
            stamped.header.stamp = time_msg(t + ahead_ns)
    return messages


CASES = {
    "odometry": ([odom_messages()], {}),
    "odometry with a gap": ([odom_messages(gap=range(10, 34))], {}),
    "odometry of another frame": ([odom_messages("imu_link"), tf_messages(moving=False)], {}),
    "tf": ([tf_messages()], {"mapping": True}),
    "pose with covariance": (
        [odom_messages(), pose_messages()],
        {"mapping": True, "pose_source": "pose_with_covariance"},
    ),
    "clouds": ([odom_messages(), tf_messages(moving=False), cloud_messages()], {"clouds": True}),
    "odometry of another clock": ([of_another_clock(odom_messages(), -3200 * MILLI)], {"odom_offset_s": 3.2}),
    "clouds of another clock": (
        [odom_messages(), tf_messages(moving=False), of_another_clock(cloud_messages(), 37 * SECOND)],
        {"clouds": True, "points_offset_s": -37.0},
    ),
    "depth images": ([odom_messages(), depth_messages()], {"depth": True}),
    "a calibrated camera on its side": (
        [odom_messages(), rolled(90), camera_info(), depth_messages()],
        {"depth": True},
    ),
    "nothing but images": ([], {"mapping": True}),
    "a camera on its side": ([odom_messages(), rolled(90)], {}),
    "a camera upside down": ([odom_messages(), rolled(182)], {}),
    "a camera upside down, told otherwise": ([odom_messages(), rolled(180)], {"rotate": "270"}),
}


@pytest.mark.parametrize("case", CASES)
def test_live_tells_what_a_drive_tells(case, hear, robot, tmp_path):
    streams, settings = CASES[case]
    messages = sorted([m for stream in [images(), *streams] for m in stream], key=lambda m: m[2])
    with BagWriter(tmp_path / "bag") as writer:
        for topic, msg, stamp in messages:
            writer.write(topic, msg, stamp)
    how = {name: settings[name] for name in ("rotate", "odom_offset_s", "points_offset_s") if name in settings}
    depth = settings.get("depth", False)
    config = DriveConfig(load_clouds=settings.get("clouds", False), load_depth=depth, **how)
    topics = DriveTopics(depth="/depth" if depth else None)
    with Drive(tmp_path / "bag", topics, config) as drive:
        recorded = list(drive)
    hearer = hear(mount=True, **settings)
    topics = {topic: msg.__msgtype__ for topic, msg, _ in messages}
    Speaker(robot, topics).play(messages, hearer)

    live = hearer.observations
    assert [o.stamp_ns for o in live] == [o.stamp_ns for o in recorded] and len(live) == 20
    for i, (a, b) in enumerate(zip(live, recorded, strict=True)):
        assert np.array_equal(a.image, b.image) and a.rotation == b.rotation
        same(a.T_odom_base, b.T_odom_base, f"T_odom_base of image {i}")
        same(a.covariance, b.covariance, f"covariance of image {i}")
        same(a.T_map_base, b.T_map_base, f"T_map_base of image {i}")
        same(a.cloud, b.cloud, f"cloud of image {i}", atol=1e-4)
        same(a.depth, b.depth, f"depth of image {i}")
        same(a.T_base_camera, b.T_base_camera, f"T_base_camera of image {i}")
        assert (a.camera and a.camera.to_dict()) == (b.camera and b.camera.to_dict()), f"camera of image {i}"
    assert sum(o.depth is not None for o in recorded) == (16 if depth else 0)
    assert any(o.camera is not None for o in recorded) == ("calibrated" in case)
    if streams:
        assert sum(o.T_odom_base is not None for o in recorded) >= 8
    assert max(hearer.waits_s) < 1.0


def same(live, recorded, what, atol=1e-9):
    assert (live is None) == (recorded is None), f"{what}: live {live}, recorded {recorded}"
    if live is not None:
        assert np.allclose(live, recorded, atol=atol), what


def test_a_looped_bag_goes_on_with_the_poses_of_its_own_lap(hear, robot):
    hearer = hear(mapping=True)
    lap = sorted([*images(), *tf_messages()], key=lambda m: m[2])
    second = [
        ("/tf", tf_msg([("odom", "base_link", planar_transform(500 + i, 0, 0))], t), t)
        for i, t in enumerate(drive_poses()[0])
    ]
    speaker = Speaker(
        robot,
        {
            "/image/compressed": "sensor_msgs/msg/CompressedImage",
            "/tf": "tf2_msgs/msg/TFMessage",
            "/tf_static": "tf2_msgs/msg/TFMessage",
        },
    )
    speaker.play(lap, hearer)
    del hearer.observations[:]
    speaker.play(sorted([*images(), *second], key=lambda m: m[2]), hearer)
    poses = [o.T_odom_base for o in hearer.observations if o.T_odom_base is not None]
    assert len(poses) >= 18 and all(T[0, 3] > 499 for T in poses)
    # The link from the map is of the lap before: it has the same stamps and must not be used.
    assert all(o.T_map_base is None for o in hearer.observations[1:])
    assert hearer.counts()["clock jumped back"] == 1


def test_tf_with_two_parents_gives_no_pose_and_is_named(hear, robot):
    """odom -> base_link x = i, and map -> base_link x = 100, y = i at the same rate: tf2 would mix the two."""
    hearer = hear(mapping=True)
    stamps = [START + i * TENTH // 2 for i in range(-2, 45)]
    odom = [("/tf", tf_msg([("odom", "base_link", planar_transform(i, 0, 0))], t), t) for i, t in enumerate(stamps)]
    others = [
        ("/tf", tf_msg([("map", "base_link", planar_transform(100, i, 1.57))], t + 20 * MILLI), t + 20 * MILLI)
        for i, t in enumerate(stamps)
    ]
    speaker = Speaker(robot, {"/image/compressed": "sensor_msgs/msg/CompressedImage", "/tf": "tf2_msgs/msg/TFMessage"})
    speaker.play(sorted([*images(), *odom, *others], key=lambda m: m[2]), hearer)
    assert len(hearer.observations) == 20
    assert all(o.T_odom_base is None and o.T_map_base is None for o in hearer.observations[1:])
    assert hearer.counts()["TF with two parents"] >= 30
    assert "TF gives base_link 2 parents, map and odom" in hearer.health.newest("input")
    del hearer.observations[:]
    later = of_another_clock([*images(), *odom], 40 * SECOND)
    speaker.play(sorted(later, key=lambda m: m[2]), hearer)  # the other one is silent
    assert sum(o.T_odom_base is not None for o in hearer.observations) >= 18


@pytest.mark.parametrize("other_first", [False, True])
def test_of_two_publishers_on_one_topic_the_fitting_one_is_taken(hear, robot, other_first):
    hearer = hear()
    others = [
        ("/odom", odometry_msg(planar_transform(1000, i, 0), t, frame_id="map", child_frame_id="imu"), t)
        for i, t in enumerate(START + i * TENTH + (1 - 20 * other_first) * MILLI for i in range(20))
    ]
    messages = sorted([*images(), *odom_messages(), *others], key=lambda m: m[2])
    Speaker(robot, {topic: msg.__msgtype__ for topic, msg, _ in messages}).play(messages, hearer)
    poses = [o.T_odom_base for o in hearer.observations]
    assert all(T is not None and T[0, 3] < 50 for T in poses[1:])
    assert hearer.counts()["odom in two frames"] == 20
    assert "poses of odom -> base_link are used, those of map -> imu are not" in hearer.health.newest("input")


def test_poses_in_the_odometry_frame_are_none_of_the_map(hear, robot):
    hearer = hear(mapping=True, pose_source="pose")
    poses = [("/pose", pose_msg(planar_transform(1, 2, 0), t, frame_id="odom"), t) for _, _, t in images()]
    messages = sorted([*images(), *poses], key=lambda m: m[2])
    Speaker(robot, {topic: msg.__msgtype__ for topic, msg, _ in messages}).play(messages, hearer)
    assert all(o.T_map_base is None for o in hearer.observations)
    assert hearer.counts()["pose unusable"] == 20 and "--map-frame odom" in hearer.health.newest("input")


def test_bad_messages_are_counted_and_the_next_good_one_is_heard(hear, robot):
    hearer = hear(clouds=True)
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage))
    odom = robot.until_heard(robot.publisher("/odom", Odometry))
    points = robot.until_heard(robot.publisher("/points", PointCloud2))
    stamps = iter(range(START, START + 100 * TENTH, TENTH))

    def send(jpeg, stamp=None):
        sent = hearer.inputs.received + 1
        publisher.publish(compressed(next(stamps) if stamp is None else stamp, jpeg))
        wait_until(lambda: hearer.settled(sent))

    nan = odometry(START, np.eye(4))
    nan.pose.pose.position.x = float("nan")
    odom.publish(nan)
    strange = get_message("sensor_msgs/msg/PointCloud2")(height=1, width=5, point_step=12, row_step=60, data=bytes(60))
    strange.header.stamp, strange.header.frame_id = ros_robot.time_msg(START), "nowhere"
    points.publish(strange)
    for payload in (JPEG[:200], b"", b"no picture at all", JPEG):
        send(payload)
    send(JPEG, START + 3 * TENTH)
    send(JPEG, START + TENTH)
    send(JPEG, 0)
    send(JPEG)
    assert [o.stamp_ns for o in hearer.observations] == [START + 3 * TENTH, START + 4 * TENTH]
    counts = hearer.counts()
    assert counts["image unreadable"] == 3 and counts["odom unusable"] == 1
    assert counts["image stamp repeated"] == counts["image stamp went backwards"] == counts["image stamp zero"] == 1
    cloud = cloud_msg(np.ones((3, 3)), START + 5 * TENTH, "nowhere")
    points.publish(bytes(typestore().serialize_cdr(cloud, cloud.__msgtype__)))
    send(JPEG)
    assert hearer.counts()["cloud frame unknown"] == 1 and hearer.observations[-1].cloud is None


def test_waits_for_odometry_that_flows_and_never_for_long(hear, robot):
    hearer = hear()
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage))
    odom = robot.until_heard(robot.publisher("/odom", Odometry))
    odom.publish(odometry(START, np.eye(4)))
    wait_until(lambda: "odom" in hearer.health._arrivals)
    threading.Timer(0.1, lambda: odom.publish(odometry(START + TENTH, planar_transform(1, 0, 0)))).start()
    publisher.publish(compressed(START + TENTH // 2, JPEG))
    wait_until(lambda: hearer.seen == 1)
    assert np.allclose(hearer.observations[0].T_odom_base, planar_transform(0.5, 0, 0)) and hearer.waits_s[0] > 0.05
    publisher.publish(compressed(START + 2 * TENTH, JPEG))  # odometry stays behind
    wait_until(lambda: hearer.seen == 2)
    assert hearer.observations[1].T_odom_base is None and 0.25 < hearer.waits_s[1] < 0.6
    assert hearer.counts()["odom late"] == 1 and "100 ms older" in hearer.health.newest("input")
    publisher.publish(compressed(START + 100 * SECOND, JPEG))  # held: the next one tells that it was no slip
    publisher.publish(compressed(START + 100 * SECOND + TENTH, JPEG))
    wait_until(lambda: hearer.observations[-1].stamp_ns == START + 100 * SECOND + TENTH)
    silent = hearer.seen
    assert hearer.waits_s[-1] < 0.1 and "two clocks" in hearer.health.newest("input")
    time.sleep(2.0)  # odometry has fallen silent
    publisher.publish(compressed(START + 101 * SECOND, JPEG))
    wait_until(lambda: hearer.seen == silent + 1)
    assert hearer.waits_s[-1] < 0.1


def test_the_first_image_waits_for_the_mounting_and_what_tf_said_stays(hear, robot):
    hearer = hear()
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage))
    static = robot.until_heard(robot.publisher("/tf_static", TFMessage, STATIC))

    def say(roll_deg):
        ((_, links, _),) = rolled(roll_deg)
        static.publish(bytes(typestore().serialize_cdr(links, links.__msgtype__)))

    def send(number):
        publisher.publish(bytes(typestore().serialize_cdr(images()[number][1], "sensor_msgs/msg/CompressedImage")))
        wait_until(lambda: hearer.seen == number + 1)
        return hearer.observations[number].rotation

    threading.Timer(0.1, say, [180]).start()
    assert send(0) == 180 and 0.05 < hearer.waits_s[0] < 0.6
    assert hearer.inputs.mounting.reason == "TF"
    say(0)
    time.sleep(0.2)
    assert send(1) == 180


def test_stop_wakes_the_worker_and_start_begins_anew(hear, robot):
    hearer = hear(pose_wait_s=10.0)
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage))
    odom = robot.until_heard(robot.publisher("/odom", Odometry))
    odom.publish(odometry(START, np.eye(4)))
    wait_until(lambda: hearer.health.age_s("odom") is not None)
    publisher.publish(compressed(START + TENTH, JPEG))
    wait_until(lambda: hearer.health.age_s("image") is not None)
    time.sleep(0.2)
    assert hearer.seen == 0
    begin = time.monotonic()
    hearer.inputs.stop()
    wait_until(lambda: hearer.seen == 1)
    assert time.monotonic() - begin < 0.5 and publisher.get_subscription_count() in (0, 1)
    hearer.inputs.start()
    wait_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(compressed(START + TENTH, JPEG))  # the same stamp: what was before is forgotten
    wait_until(lambda: hearer.seen == 2)
    assert not hearer.errors and hearer.waits_s[-1] < 1


def test_fifty_cycles_leave_no_subscription(hear, robot):
    hearer = hear(clouds=True, mapping=True, mount=True)
    subscriptions = len(list(hearer.robot.node.subscriptions))
    for _ in range(50):
        hearer.inputs.stop()
        assert len(list(hearer.robot.node.subscriptions)) == subscriptions - 6  # image, camera_info, odom, points, TF
        hearer.inputs.start()
    assert len(list(hearer.robot.node.subscriptions)) == subscriptions
    publisher = robot.until_heard(robot.publisher("/image/compressed", CompressedImage))
    publisher.publish(compressed(START, JPEG))
    wait_until(lambda: hearer.seen == 1)


def test_problems_name_what_is_wrong_and_what_to_change(hear, robot):
    hearer = hear(compressed=False, odom_source="topic", odom_reliability="reliable", image_reliability="reliable")
    wait_until(lambda: len(hearer.inputs.problems()) == 2)
    assert "nobody publishes /image (sensor_msgs/msg/Image)" in hearer.inputs.problems()[0]
    assert "nobody publishes /odom" in hearer.inputs.problems()[1]

    twin = robot.publisher("/image/compressed", CompressedImage)
    wait_until(lambda: "compressed:=true" in hearer.inputs.problems()[0])
    wrong = robot.publisher("/image", CompressedImage)
    wait_until(lambda: "node /robot publishes /image as sensor_msgs/msg/CompressedImage" in hearer.inputs.problems()[0])
    assert "compressed:=true" in hearer.inputs.problems()[0]
    robot.node.destroy_publisher(wrong)
    robot.node.destroy_publisher(twin)
    weak = robot.publisher("/image", Image, qos(reliable=False))
    robot.publisher("/odom", Odometry, qos(reliable=False))

    def both_told():
        problems = hearer.inputs.problems()
        return problems if [p.startswith("QoS") for p in problems] == [True, True] else None

    problems = wait_until(both_told)
    assert "QoS of node /robot on /image" in problems[0] and "best_effort" in problems[0]
    assert "set image_reliability to auto or best_effort" in problems[0] and "set odom_reliability" in problems[1]
    robot.publisher("/image", Image, qos(1))  # one that can be heard is enough
    wait_until(lambda: len(hearer.inputs.problems()) == 1)
    assert weak is not None


def broken(**changes):
    """A link odom to base_link with other frames or numbers."""
    link = ros_robot.transform(START, "odom", "base_link", np.eye(4))
    for name, value in changes.items():
        *path, last = name.split("__")
        part = link
        for attribute in path:
            part = getattr(part, attribute)
        setattr(part, last, value)
    return link


@pytest.mark.parametrize("topic", ["/tf", "/tf_static"])
def test_links_that_tf2_refuses_are_named_once_and_do_not_flood_the_log(hear, robot, capfd, topic):
    hearer = hear(mount=True)
    tf = robot.until_heard(robot.publisher(topic, TFMessage, STATIC if topic == "/tf_static" else qos(100)))
    faults = {
        "a frame that is its own parent": broken(child_frame_id="/odom"),
        "an empty frame name": broken(child_frame_id=""),
        "numbers that are not finite": broken(transform__translation__x=float("nan")),
        "a quaternion that is no rotation": broken(transform__rotation__w=0.5),
    }
    good = ros_robot.transform(START, "base_link", "camera_optical_frame", LEVER)
    for _ in range(10):
        tf.publish(TFMessage(transforms=[*faults.values(), good]))
    wait_until(lambda: all(hearer.counts().get(f"TF link with {fault}") == 10 for fault in faults))
    sentences = hearer.health.newest("input", 1e9)
    for fault in faults:
        assert sentences.count(f"is left out: {fault}") == 1
    assert "TF 'odom' to '/odom' is left out: a frame that is its own parent; mend its publisher" in sentences
    seen = hearer.inputs.observe(raw_image(START, IMAGE))
    assert np.allclose(seen.T_base_camera, LEVER)  # the good one is heard
    captured = capfd.readouterr()
    log = captured.out + captured.err
    assert "TF_" not in log and log.count("is left out") == len(faults)


def test_mount_and_intrinsics(hear, robot):
    hearer = hear(compressed=False, mount=True)
    tf = robot.publisher("/tf_static", TFMessage, STATIC)
    tf.publish(TFMessage(transforms=[ros_robot.transform(0, "base_link", "camera_optical_frame", LEVER)]))
    info = robot.until_heard(robot.publisher("/camera_info", CameraInfo))
    msg = raw_image(START, IMAGE)
    wait_until(lambda: hearer.inputs.observe(msg).T_base_camera is not None)
    assert np.allclose(hearer.inputs.observe(msg).T_base_camera, LEVER)
    for frame in ("nowhere", ""):
        assert hearer.inputs.observe(raw_image(START, IMAGE, frame)).T_base_camera is None
    assert hearer.inputs.observe(msg).camera is None
    K = np.array([[30.0, 0, 16], [0, 30, 12], [0, 0, 1]])
    for matrix in (K, np.zeros((3, 3))):
        message = camera_info_msg(matrix, 32, 24, START)
        info.publish(bytes(typestore().serialize_cdr(message, message.__msgtype__)))
        wait_until(lambda: hearer.inputs.observe(msg).camera is not None)
    assert np.array_equal(hearer.inputs.observe(msg).camera.K, K)  # an uncalibrated one does not replace it
    message = camera_info_msg(K, 32, 32, START)
    info.publish(bytes(typestore().serialize_cdr(message, message.__msgtype__)))
    wait_until(lambda: hearer.inputs.observe(msg).camera is None)
    assert hearer.counts()["camera_info unusable"] >= 1
    assert hearer.health.newest("input", 1e9).count("of 32x32 pixels, and they have 32x24") == 1
