"""Robots that put their name before frames and TF topics: found where one is meant, named where several could be."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import make_transform, planar_transform, rigid_transform
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics, doctor, odometry_msg, tf_msg
from vpr_ros.sensors.bags.robot_names import Frames

SECOND = 10**9
TENTH = SECOND // 10
STAMPS = [SECOND + i * TENTH for i in range(10)]
HANGS = rigid_transform(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), [0, 0, 1])  # optical, upside down


def robot(name, x_m=0.0, map_frame="map", topics=True):
    """TF of one robot, its frames and its topics with its name before them."""
    at = f"/{name}" if topics and name else ""
    name = f"{name}/" if name else ""
    out = [(f"{at}/tf_static", tf_msg([(f"{name}base_link", "camera_optical_frame", HANGS)], 1), 1)]
    for i, t in enumerate(STAMPS):
        links = [
            (f"{name}odom", f"{name}base_link", planar_transform(i + x_m, 0, 0)),
            (map_frame, f"{name}odom", planar_transform(100, 0, np.pi / 2)),
        ]
        out.append((f"{at}/tf", tf_msg(links, t), t))
    return out


@pytest.fixture
def bag(make_bag, image_messages):
    def write(*parts, name="bag"):
        return make_bag(
            sorted([*image_messages(STAMPS), *(m for part in parts for m in part)], key=lambda m: m[2]), name=name
        )

    return write


@pytest.mark.parametrize(
    "prefixed",
    [robot("robot1"), robot("robot1", map_frame="robot1/map"), robot("robot1", topics=False), robot("fleet/robot1")],
)
def test_one_prefixed_robot_is_read_as_if_it_had_no_prefix(bag, prefixed):
    with Drive(bag(robot(""), name="plain")) as plain, Drive(bag(prefixed, name="prefixed")) as drive:
        for a, b in zip(plain, drive, strict=True):
            assert np.array_equal(a.T_odom_base, b.T_odom_base) and np.array_equal(a.T_map_base, b.T_map_base)
            assert a.rotation == b.rotation == 180
        assert not plain.notes
        assert any("robot1/base_link for base_link" in note for note in drive.notes)
        assert drive.poses.base_frame.endswith("robot1/base_link")
    report = doctor(drive.bag.path)
    tf = report.stage("tf")
    assert tf.verdict == "OK" and "robot1/base_link for base_link, " in tf.sentence
    assert report.rotation == 180 and report.stage("odometry").verdict == report.stage("pose").verdict == "OK"
    if prefixed[0][0] != "/tf_static":
        assert f"TF is read from {prefixed[1][0]} and {prefixed[0][0]}" in tf.sentence


def test_of_two_robots_one_has_to_be_named(bag):
    path = bag(robot("robot1"), robot("robot2", x_m=50))
    report = doctor(path)
    assert report.stage("odometry").verdict == report.stage("pose").verdict == "WARN"
    tf = report.stage("tf").sentence
    for name in ("/robot1/tf", "/robot2/tf_static", "--tf-topic"):
        assert name in tf
    with Drive(path) as drive:
        assert all(o.T_odom_base is None for o in drive)
        assert any("/robot1/tf" in note and "--tf-topic" in note for note in drive.notes)
    with Drive(path, DriveTopics(tf="/robot2/tf")) as drive:  # its fixed links and its frames follow
        assert [o.T_odom_base[0, 3] for o in drive] == [50 + i for i in range(10)]
        assert drive.mounting.rotation == 180


def test_of_two_robots_on_one_topic_the_frame_has_to_be_named(bag):
    path = bag(robot("robot1", topics=False), robot("robot2", x_m=50, topics=False))
    sentence = "there is no frame base_link, but robot1/base_link, robot2/base_link: name one with --base-frame"
    assert sentence in doctor(path).stage("tf").sentence
    with Drive(path, config=DriveConfig(base_frame="robot2/base_link")) as drive:  # its other frames follow
        assert [o.T_odom_base[0, 3] for o in drive] == [50 + i for i in range(10)]
        assert all(o.T_map_base is not None for o in drive)


def test_tf_without_the_base_says_how_to_name_it(bag):
    links = [("/tf", tf_msg([("odom", "chassis", planar_transform(i, 0, 0))], t), t) for i, t in enumerate(STAMPS)]
    path = bag(links)
    sentence = "TF of chassis, odom has no frame base_link: name the robot's own with --base-frame"
    assert sentence in doctor(path).stage("tf").sentence
    with Drive(path, config=DriveConfig(base_frame="chassis")) as drive:
        assert [o.T_odom_base[0, 3] for o in drive] == list(range(10)) and not drive.notes


def test_odometry_about_the_prefixed_base_needs_no_tf(bag):
    odometry = [
        ("/robot1/odom", odometry_msg(planar_transform(i, 0, 0), t, "robot1/odom", "robot1/base_link"), t)
        for i, t in enumerate(STAMPS)
    ]
    with Drive(bag(odometry)) as drive:
        assert [o.T_odom_base[0, 3] for o in drive] == list(range(10))
        assert not any("taken as the base" in note for note in drive.notes)


def test_the_usual_names_win_and_the_others_are_named(bag):
    path = bag(robot("", x_m=7), robot("robot1"))
    with Drive(path) as drive:
        assert next(iter(drive)).T_odom_base[0, 3] == 7
    assert "TF is read from /tf and /tf_static, not /robot1/tf" in doctor(path).stage("tf").sentence


def test_a_topic_that_is_no_tf_is_refused(bag):
    path = bag(robot("robot1"))
    with pytest.raises(VprError, match=r"/camera/image/compressed is not TF .*--tf-topic.*TF is on /robot1/tf"):
        Drive(path, DriveTopics(tf="/camera/image/compressed")).poses  # noqa: B018
    with pytest.raises(VprError, match="has no topic /tf_statics"):
        doctor(path, DriveTopics(tf_static="/tf_statics"))


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"base_link", "odom", "a/base_link"}, ("base_link", "odom", "map")),
        ({"a/base_link", "a/odom", "map"}, ("a/base_link", "a/odom", "map")),
        ({"a/base_link", "a/odom", "odom", "a/map", "b/map"}, ("a/base_link", "a/odom", "a/map")),
        ({"a/base_link", "b/base_link", "odom", "a/odom", "b/odom"}, ("base_link", "odom", "map")),
        ({"sensor_kit_base_link"}, ("base_link", "odom", "map")),  # another link of a car, not a robot of that name
        (set(), ("base_link", "odom", "map")),
    ],
)
def test_frames_by_their_last_name(known, expected):
    frames = Frames.found(DriveConfig(), known)
    assert (frames.base, frames.odom, frames.map) == expected


def test_clouds_reach_a_prefixed_base(bag, make_bag, image_messages):
    from vpr_ros.sensors import cloud_msg

    link = ("/robot1/tf_static", tf_msg([("robot1/base_link", "robot1/lidar", make_transform([0, 0, 2]))], 1), 2)
    clouds = [("/points", cloud_msg(np.ones((3, 3)), t, frame_id="robot1/lidar"), t) for t in STAMPS]
    path = bag(robot("robot1"), [link], clouds)
    assert doctor(path).stage("points").verdict == "OK"
    with Drive(path, load_clouds=True) as drive:
        assert all(np.allclose(o.cloud, [1, 1, 3]) for o in drive)
