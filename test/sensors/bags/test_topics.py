"""Which topic plays which role."""

from itertools import count
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.sensors import (
    Bag,
    DriveTopics,
    TopicInfo,
    choose_topic,
    cloud_msg,
    compressed_image_msg,
    image_msg,
    navsat_msg,
    odometry_msg,
    pose_msg,
)
from vpr_ros.sensors.bags.topics import is_ground_truth, resolve_topics, sort_out

GREY = np.zeros((4, 4, 3), np.uint8)
RAW, JPEG = image_msg(GREY, 1), compressed_image_msg(GREY, 1)
ODOM, POSE, FIX = odometry_msg(np.eye(4), 1), pose_msg(np.eye(4), 1), navsat_msg(1, 2, 3, 1)
COVARIANCE = pose_msg(np.eye(4), 1, covariance=np.eye(6))


@pytest.fixture
def choose(make_bag):
    numbers = count()

    def run(role, messages, name=None):
        path = make_bag([(topic, msg, i + 1) for i, (topic, msg) in enumerate(messages)], name=f"bag{next(numbers)}")
        with Bag(path) as bag:
            return choose_topic(bag, role, name)

    return run


@pytest.mark.parametrize(
    "role,messages,expected",
    [
        ("image", [("/a", RAW)], "/a"),
        ("image", [("/a", RAW), ("/a/compressed", JPEG)], "/a/compressed"),
        ("image", [("/a", RAW), ("/a/compressed", JPEG), ("/a/compressedDepth", JPEG)], "/a/compressed"),
        ("odom", [("/odom", ODOM), ("/ground_truth/odom", ODOM)], "/odom"),
        ("odom", [("/ground_truth/odom", ODOM)], None),
        ("odom", [("/a", RAW)], None),
        ("pose", [("/p", POSE), ("/goal_pose", POSE), ("/initialpose", COVARIANCE)], "/p"),
        ("pose", [("/ground_truth/pose", POSE)], None),
        ("pose", [("/goal_pose", POSE)], None),
        ("pose", [("/fix", FIX)], "/fix"),
        ("pose", [("/fix", FIX), ("/p", COVARIANCE)], "/p"),
        ("points", [("/cloud", cloud_msg(np.zeros((1, 3)), 1))], "/cloud"),
    ],
)
def test_found_by_type(choose, role, messages, expected):
    assert choose(role, messages) == expected


DEPTH = image_msg(GREY, 1)
DEPTH.encoding = "16UC1"


@pytest.mark.parametrize(
    "messages,expected,left",
    [
        (
            [("/image", RAW)] * 20 + [("/image/compressed", JPEG)] * 2,
            "/image",
            {"/image/compressed": "it has only 2 of the 20 pictures on /image"},
        ),
        (
            [("/image", RAW)] * 20 + [("/image/compressed", JPEG)] * 18,
            "/image/compressed",
            {"/image": "/image/compressed has the same pictures in fewer bytes"},
        ),
        (
            [("/image", RAW)] * 2 + [("/image/compressed", JPEG)] * 20,
            "/image/compressed",
            {"/image": "/image/compressed has the same pictures in fewer bytes"},
        ),
        (
            [("/color/image_raw", RAW), ("/aligned_depth_to_color/image_raw", RAW)],
            "/color/image_raw",
            {"/aligned_depth_to_color/image_raw": "it holds distances, not pictures"},
        ),
        ([("/a", RAW), ("/b", DEPTH)], "/a", {"/b": "it holds distances, not pictures"}),
        ([("/depth/image", DEPTH)], "/depth/image", {}),  # what it is worth is the doctor's to say
        (
            [("/a", RAW), ("/a/zstd", JPEG), ("/ground_truth/image", RAW)],
            "/a",
            {"/a/zstd": "its transport is not read", "/ground_truth/image": "its name says ground truth"},
        ),
    ],
)
def test_cameras_by_what_they_hold(make_bag, messages, expected, left):
    path = make_bag([(topic, msg, i + 1) for i, (topic, msg) in enumerate(messages)])
    with Bag(path) as bag:
        assert choose_topic(bag, "image") == expected
        assert sort_out(bag, "image") == ([bag.topic(expected)], left)


def test_what_is_left_out_of_the_poses_and_why(make_bag):
    messages = [("/p", POSE), ("/goal_pose", POSE), ("/ground_truth/pose", POSE), ("/fix", FIX), ("/odom", ODOM)]
    path = make_bag([(topic, msg, i + 1) for i, (topic, msg) in enumerate(messages)])
    with Bag(path) as bag:
        assert sort_out(bag, "pose")[1] == {
            "/goal_pose": "it commands a pose and measures none",
            "/ground_truth/pose": "its name says ground truth",
            "/fix": "a position has no heading, /p says more",
        }


def test_two_candidates_are_listed_with_the_option(choose):
    with pytest.raises(VprError, match=r"2 topics that could be the image: /left .*, /right .*pass --image-topic NAME"):
        choose("image", [("/left", RAW), ("/right", RAW)])
    with pytest.raises(VprError, match="--odom-topic none"):
        choose("odom", [("/wheel", ODOM), ("/visual", ODOM)])


def test_asked_for_by_name(choose):
    cameras = [("/left", RAW), ("/right", RAW)]
    assert choose("image", cameras, "/right") == "/right"
    assert choose("pose", [("/ground_truth/pose", POSE)], "/ground_truth/pose") == "/ground_truth/pose"
    assert choose("pose", [("/global", ODOM)], "/global") == "/global"
    assert choose("odom", [("/wheel", ODOM)], "none") is None
    with pytest.raises(VprError, match="has no topic /middle; it has /left"):
        choose("image", cameras, "/middle")
    with pytest.raises(VprError, match="has type nav_msgs/msg/Odometry, but --image-topic needs sensor_msgs/msg/Image"):
        choose("image", [("/odom", ODOM)], "/odom")


def test_no_images_lists_topics_and_types(choose):
    with pytest.raises(VprError, match=r"no camera images.*it holds /odom \(nav_msgs/msg/Odometry, 1 message\)"):
        choose("image", [("/odom", ODOM)])


@pytest.mark.parametrize(
    "msgtype",
    ["foxglove_msgs/msg/CompressedVideo", "foxglove.CompressedVideo", "ffmpeg_image_transport_msgs/msg/FFMPEGPacket"],
)
def test_video_topics_are_named_with_the_conversion_to_make(msgtype):
    topics = [TopicInfo("/front/video", msgtype, 7), TopicInfo("/odom", "nav_msgs/msg/Odometry", 7)]
    bag = cast("Bag", SimpleNamespace(path="drive", topics=topics))
    with pytest.raises(VprError, match=r"no camera images.*; /front/video is video: have it decoded .*republish"):
        choose_topic(bag, "image")


def test_all_roles_at_once(make_bag):
    path = make_bag([("/a", RAW, 1), ("/odom", ODOM, 2), ("/cloud", cloud_msg(np.zeros((1, 3)), 1), 3)])
    with Bag(path) as bag:
        names = resolve_topics(bag, DriveTopics(odom="none"), load_clouds=False)
        assert (names.image, names.odom, names.pose, names.points) == ("/a", None, None, None)
        assert resolve_topics(bag, DriveTopics(), load_clouds=True).points == "/cloud"


@pytest.mark.parametrize(
    "name,truth",
    [
        ("/ground_truth/pose", True),
        ("/robot/groundtruth", True),
        ("/gt/pose", True),
        ("/GT_pose", True),
        ("/odom", False),
        ("/length", False),
        ("/right/pose", False),
    ],
)
def test_names_that_say_ground_truth(name, truth):
    assert is_ground_truth(name) == truth
