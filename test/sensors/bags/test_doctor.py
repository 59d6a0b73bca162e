"""The doctor's figures and its verdict for every stage that could starve."""

import json

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform, rigid_transform
from vpr_ros.sensors import (
    DriveConfig,
    DriveTopics,
    camera_info_msg,
    cloud_msg,
    compressed_image_msg,
    doctor,
    image_msg,
    make,
    navsat_msg,
    odometry_msg,
    pose_msg,
    tf_msg,
)

SECOND = 10**9
TENTH = SECOND // 10
STAMPS = [SECOND + i * TENTH for i in range(20)]
PICTURE = np.repeat(np.linspace(0, 255, 32).astype(np.uint8)[None, :, None], 24, 0).repeat(3, 2)
K = np.array([[100.0, 0, 16], [0, 100, 12], [0, 0, 1]])


def images(stamps=STAMPS, receive=None):
    return [
        ("/camera/image/compressed", compressed_image_msg(PICTURE, t), r)
        for t, r in zip(stamps, receive or STAMPS, strict=False)
    ]


def odometry(stamps=STAMPS):
    return [("/odom", odometry_msg(planar_transform(i, 0, 0), t), t) for i, t in enumerate(stamps)]


def clouds(frame_id="lidar_link", points=50):
    return [("/points", cloud_msg(np.ones((points, 3)), t, frame_id=frame_id), t) for t in STAMPS]


TF_STATIC = ("/tf_static", tf_msg([("base_link", "lidar_link", np.eye(4))], 1), 1)
POSES = [("/pose", pose_msg(planar_transform(i, 0, 0), t), t) for i, t in enumerate(STAMPS)]
VIEW = (np.mgrid[:24, :32].sum(0)[..., None] * np.ones(3)).astype(np.uint8)
CAMERA_INFO = ("/camera/camera_info", camera_info_msg(K, 32, 24, SECOND), SECOND)


@pytest.fixture
def examine(make_bag):
    return lambda messages, **options: doctor(make_bag(sorted(messages, key=lambda m: m[2])), **options)


def verdicts(report):
    return {s.stage: s.verdict for s in report.stages}


def test_healthy_bag_is_ok_everywhere_and_its_figures_are_right(examine):
    report = examine([*images(), *odometry(), *POSES, *clouds(), TF_STATIC, CAMERA_INFO])
    assert set(verdicts(report).values()) == {"OK"} and report.ok and report.verdict == "OK"
    camera = next(t for t in report.topics if t.name == "/camera/image/compressed")
    assert (camera.count, camera.order, camera.detail) == (20, "in order", "jpeg 32x24")
    assert np.isclose(camera.rate_hz, 10) and np.isclose(camera.median_dt_s, 0.1) and np.isclose(camera.max_gap_s, 0.1)
    points = next(t for t in report.topics if t.name == "/points")
    assert points.detail == "about 50 points in lidar_link"
    assert report.stage("odometry").sentence == "20 poses on /odom cover 100% of the images"
    assert "plumb_bob 32x24" in report.stage("camera_info").sentence
    json.dumps(report.to_dict())
    text = "\n".join(report.lines())
    assert "OK     image: 20 images on /camera/image/compressed at 10.0 Hz" in text and "/tf_static" in text


def test_gap_rate_and_order_figures(examine):
    stamps = [SECOND + int(s * SECOND) for s in (0, 1, 2, 2, 1.5, 40, 41)]
    report = examine(images(stamps, STAMPS))
    camera = report.topics[0]
    assert (camera.repeated_stamps, camera.backward_stamps, camera.order) == (1, 1, "1 backwards, 1 repeated")
    assert np.isclose(camera.max_gap_s, 38.5) and np.isclose(camera.median_dt_s, 1)
    image = report.stage("image")
    assert image.verdict == "WARN" and "not in order" in image.sentence and "stop for 38.5 s" in image.sentence


def test_slow_camera(examine):
    stamps = [SECOND + i * 5 * SECOND for i in range(4)]
    assert "only 0.2 images per second" in examine(images(stamps, stamps)).stage("image").sentence


def test_bag_without_images_starves_the_image_stage(examine):
    report = examine([("/chatter", make("std_msgs/msg/String", data="hi"), 1), *odometry()])
    assert not report.ok and report.stage("image").verdict == "ERROR"
    assert "/chatter (std_msgs/msg/String, 1 message)" in report.stage("image").sentence


def test_unusable_images_some_and_all(examine, make_bag):
    bad = [("/camera", compressed_image_msg(b"", t), t) for t in STAMPS]
    report = examine(bad)
    assert report.stage("image").verdict == "ERROR" and "zero bytes" in report.stage("image").sentence
    mixed = [("/camera", image_msg(PICTURE, t), t) for t in STAMPS[:12]]
    mixed[3][1].encoding = "32FC1"
    report = doctor(make_bag(mixed, name="mixed"))
    assert report.stage("image").verdict == "WARN"
    assert "1 of 12 sampled images are unusable: image encoding '32FC1'" in report.stage("image").sentence


def test_zero_stamps(examine):
    report = examine(images([0] * 20))
    assert report.topics[0].order == "all zero" and np.isclose(report.topics[0].rate_hz, 10)
    assert "all zero" in report.stage("image").sentence


def test_ambiguous_topics_name_the_option(examine, make_bag):
    two = [
        ("/left", image_msg(PICTURE, 1), 1),
        ("/right", image_msg(PICTURE, 1), 2),
    ]
    report = examine(two)
    assert report.stage("image").verdict == "ERROR" and "--image-topic NAME" in report.stage("image").sentence
    chosen = doctor(make_bag(two, name="two"), topics=DriveTopics(image="/left"))
    assert chosen.stage("image").topic == "/left"


def test_without_odometry_pose_and_tf(examine):
    report = examine(images())
    assert verdicts(report) == {
        "recording": "OK",
        "image": "OK",
        "odometry": "WARN",
        "pose": "WARN",
        "points": "OK",
        "tf": "OK",
        "camera_info": "OK",
        "mounting": "OK",
    }
    assert "nav_msgs/Odometry" in report.stage("odometry").sentence and report.ok


def test_clocks_that_do_not_meet(examine):
    later = [t + 100 * SECOND for t in STAMPS]
    report = examine([*images(), *odometry(later)])
    assert report.stage("odometry").verdict == "ERROR"
    assert "begins +100.0 s from the first image" in report.stage("odometry").sentence


def test_odometry_that_covers_half(examine):
    report = examine([*images(), *odometry(STAMPS[:10])])
    assert report.stage("odometry").verdict == "WARN" and "only 50%" in report.stage("odometry").sentence


def test_odometry_of_nan_only(examine):
    messages = odometry()
    for _, msg, _ in messages:
        msg.pose.pose.position.x = float("nan")
    stage = examine([*images(), *messages]).stage("odometry")
    assert stage.verdict == "ERROR" and "NaN" in stage.sentence


def test_gnss_that_never_moved(examine):
    fixes = [("/fix", navsat_msg(1, 2, 3, t), t) for t in STAMPS]
    stage = examine([*images(), *fixes]).stage("pose")
    assert stage.verdict == "ERROR" and "never moved" in stage.sentence


def test_looped_odometry_is_told(examine):
    stamps = [*STAMPS, *STAMPS]
    messages = [("/odom", odometry_msg(planar_transform(i, 0, 0), t), SECOND + i * TENTH) for i, t in enumerate(stamps)]
    assert "jumped back 1 times" in examine([*images(), *messages]).stage("odometry").sentence


def test_clouds_that_no_transform_reaches_or_without_points(examine, make_bag):
    report = examine([*images(), *clouds("radar"), TF_STATIC])
    assert report.stage("points").verdict == "ERROR" and "no frame radar" in report.stage("points").sentence
    empty = doctor(make_bag(sorted([*images(), *clouds(points=0), TF_STATIC], key=lambda m: m[2]), name="empty"))
    assert empty.stage("points").verdict == "ERROR" and "no finite point" in empty.stage("points").sentence
    no_tf = doctor(make_bag(sorted([*images(), *clouds()], key=lambda m: m[2]), name="no_tf"))
    assert no_tf.stage("tf").verdict == "WARN" and "record /tf" in no_tf.stage("tf").sentence


def test_clouds_at_other_times_than_the_images(examine):
    sparse = [m for i, m in enumerate(clouds("base_link")) if i in (0, 19)]
    stage = examine([*images(), *sparse]).stage("points")
    assert stage.verdict == "WARN" and "of the images have a cloud within 0.1 s" in stage.sentence


def test_moving_tf_without_tf_static(examine):
    tf = [("/tf", tf_msg([("odom", "base_link", planar_transform(i, 0, 0))], t), t) for i, t in enumerate(STAMPS)]
    report = examine([*images(), *tf])
    assert report.stage("odometry").sentence == "20 poses on TF cover 100% of the images"
    assert report.stage("tf").verdict == "WARN" and "no messages on /tf_static" in report.stage("tf").sentence


def test_uncalibrated_camera(examine):
    info = ("/camera/camera_info", camera_info_msg(np.zeros((3, 3)), 32, 24, SECOND), SECOND)
    stage = examine([*images(), info]).stage("camera_info")
    assert stage.verdict == "WARN" and "never calibrated" in stage.sentence


def test_the_roll_of_the_camera_is_named(examine, make_bag):
    hangs = rigid_transform(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), [0, 0, 1])  # optical, upside down
    report = examine([*images(), ("/tf_static", tf_msg([("base_link", "camera_optical_frame", hangs)], 1), 1)])
    stage = report.stage("mounting")
    assert stage.verdict == "OK" and "upside down" in stage.sentence and "turned by 180 degrees" in stage.sentence
    assert report.rotation == report.to_dict()["rotation"] == 180
    looks_down = np.eye(4)
    looks_down[:3, :3] = np.array([[0.0, -1, 0], [-1, 0, 0], [0, 0, -1]])
    down = [*images(), ("/tf_static", tf_msg([("base_link", "camera_optical_frame", looks_down)], 1), 1)]
    path = make_bag(sorted(down, key=lambda m: m[2]), name="down")
    stage = doctor(path).stage("mounting")
    assert stage.verdict == "WARN" and "look down by 90 degrees" in stage.sentence
    assert doctor(path, config=DriveConfig(rotate="90")).rotation == 90


def test_without_tf_the_doctor_guesses_no_roll(examine):
    stage = examine(images()).stage("mounting")
    assert stage.verdict == "OK" and "no fixed TF" in stage.sentence and "--map" in stage.sentence


def test_unreadable_bag_is_one_sentence(tmp_path):
    with pytest.raises(VprError, match="does not exist"):
        doctor(tmp_path / "nowhere")


def test_what_is_left_out_of_the_cameras_is_told(examine):
    """Of /image/compressed only 2 of 20 pictures were recorded: the raw topic is taken."""
    raw = [("/image", image_msg(np.full((24, 32, 3), i, np.uint8) + VIEW, t), t) for i, t in enumerate(STAMPS)]
    few = [("/image/compressed", compressed_image_msg(VIEW, t), t) for t in STAMPS[:2]]
    stage = examine([*raw, *few]).stage("image")
    assert (
        stage.verdict == "OK" and stage.topic == "/image" and stage.sentence.startswith("20 images on /image at 10.0")
    )
    assert (
        "left out: /image/compressed (2 CompressedImage), it has only 2 of the 20 pictures on /image; "
        "--image-topic /image/compressed takes it" in stage.sentence
    )


def test_depth_beside_a_camera_is_left_out(examine):
    raw = [("/image", image_msg(VIEW, t), t) for t in STAMPS]
    stage = examine([*raw, *(("/depth/image_raw", message, t) for _, message, t in raw)]).stage("image")
    assert stage.topic == "/image" and "left out: /depth/image_raw (20 Image), it holds distances" in stage.sentence


def test_a_problem_still_names_what_was_taken(examine):
    stamps = [SECOND + i * 5 * SECOND for i in range(4)]
    sentence = examine(images(stamps, stamps)).stage("image").sentence
    assert "only 0.2 images per second" in sentence and "taken: 4 images on /camera/image/compressed" in sentence


@pytest.mark.parametrize("with_odometry", [True, False])
def test_poses_that_are_not_taken_are_named_and_what_becomes_of_a_map(examine, with_odometry):
    """A PoseStamped in frame map on /ground_truth/pose is no missing pose: it is one that has to be asked for."""
    truth = [("/ground_truth/pose", m, t) for _, m, t in POSES]
    goal = [("/goal_pose", m, t) for _, m, t in POSES[:1]]
    report = examine([*images(), *truth, *goal, *(odometry() if with_odometry else [])])
    stage = report.stage("pose")
    assert stage.verdict == "WARN" and "no pose in the map frame (PoseStamped, NavSatFix or map" in stage.sentence
    assert (
        "left out: /ground_truth/pose (20 PoseStamped in frame map), its name says ground truth; "
        "--pose-topic /ground_truth/pose takes it" in stage.sentence
    )
    assert "/goal_pose (1 PoseStamped in frame map), it commands a pose and measures none" in stage.sentence
    by_odometry = "a new map takes this bag's odometry for its frame" in stage.sentence
    assert by_odometry == with_odometry == ("no metric positions" not in stage.sentence)


@pytest.mark.parametrize("topic", ["/amcl_pose", "/slam/pose", "/anything/at/all"])
def test_a_pose_in_the_map_frame_counts_on_any_topic(examine, topic):
    stage = examine([*images(), *((topic, m, t) for _, m, t in POSES)]).stage("pose")
    assert (stage.verdict, stage.topic) == ("OK", topic) and f"20 poses on {topic} cover 100%" in stage.sentence
