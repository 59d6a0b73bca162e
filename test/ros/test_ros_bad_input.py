"""What robots send and people type that cannot work: the node stays up, says what is wrong, and goes on."""

import struct
import zlib

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from ros_drives import images_of, pixels
from ros_robot import compressed, odometry, qos, raw_image, until_answered
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection3D

from vpr_ros.geometry import planar_transform
from vpr_ros.place_map import PlaceMap


@pytest.fixture
def jpeg(drives):
    return images_of(drives["second"])[20][1]


def test_cameras_of_both_reliabilities(start, robot, first_map, jpeg):
    node = start(map_path=first_map).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    image = pixels(jpeg)
    for reliable in (True, False):
        camera = robot.publisher(node.topic("image"), Image, qos(5, reliable))
        answer = until_answered(camera, matches, lambda stamp: raw_image(stamp, image))
        assert answer.header.frame_id == "map" and len(answer.results) > 0
        robot.node.destroy_publisher(camera)


def test_camera_that_cannot_be_heard_is_named(start, robot, first_map, jpeg):
    node = start(map_path=first_map, compressed=True, image_reliability="reliable", image_timeout_s=1.0).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage, qos(5, reliable=False))

    def named(health):
        camera.publish(compressed(robot.now_ns(), jpeg))
        return health.level > 0 and "/robot" in health.message and "reliab" in health.message

    health = node.until_health("input", named)
    assert "/image/compressed" in health.message
    assert len(matches) == 0 and node.state == "active"


def test_silence_and_a_camera_of_another_type_are_told(start, robot, first_map, jpeg):
    node = start(map_path=first_map, image_timeout_s=0.5).up()
    assert "/image" in node.until_health("input", lambda h: h.level == 2 and "no image" in h.message).message
    camera = robot.publisher(node.topic("image"), CompressedImage)

    def named(health):
        camera.publish(compressed(robot.now_ns(), jpeg))
        return health.level > 0 and "/robot" in health.message and "CompressedImage" in health.message

    assert "compressed" in node.until_health("input", named).message
    assert node.state == "active"


def huge_png() -> bytes:
    """A small file that claims 30,000 x 30,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(bytes(30_001)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def test_bad_images_between_good_ones(start, robot, first_map, jpeg):
    node = start(map_path=first_map, compressed=True).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
    answered = len(matches)
    bad = [b"", b"no picture", jpeg[: len(jpeg) // 3], bytes(reversed(jpeg)), huge_png()]
    for number, data in enumerate(bad, 1):
        camera.publish(compressed(robot.now_ns(), data))
        node.until_health("input", lambda h, number=number: h.number("image unreadable") == number)
    too_large = "claims 30000x30000 pixels, more than the 64 megapixels"
    health = node.until_health("input", lambda h: too_large in h.message)
    assert health.level > 0
    assert len(matches) == answered
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
    assert "Traceback" not in node.log


def test_frames_that_do_not_fit(start, robot, first_map, jpeg):
    """Odometry of another base frame, and no transform to the camera: matches come, poses say why they do not help."""
    node = start(map_path=first_map, compressed=True, base_frame="base_link").up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    wheels = robot.publisher(node.topic("odom"), Odometry)
    robot.until_heard(wheels)

    def message(stamp):
        wheels.publish(odometry(stamp, planar_transform(1.0, 0.0, 0.0), child="wheel"))
        return compressed(stamp, jpeg, frame="unknown_optical_frame")

    until_answered(camera, matches, message)
    health = node.until_health("input", lambda h: h.number("odometry about another frame") > 0)
    assert health.number("camera frame unknown") > 0
    assert health.level == 1 and ("wheel" in health.message or "unknown_optical_frame" in health.message)
    assert node.state == "active"


def other_model(path):
    with PlaceMap.create(
        path, fingerprint="0123456789ab" * 5, dim=512, preprocessing={}, place_radius_m=10.0, model_name="other"
    ) as place_map:
        place_map.add(place_map.start_session("drive"), 1, np.eye(1, 512)[0])


def torn(path):
    path.write_bytes(b"SQLite format 3\0" + bytes(range(256)) * 20)


def test_maps_that_cannot_be_used(start, robot, first_map, jpeg, tmp_path):
    """Each is refused in a sentence; the same node works with the right map afterwards."""
    torn(tmp_path / "torn.vpr")
    other_model(tmp_path / "other.vpr")
    node = start(map_path=tmp_path / "missing.vpr", compressed=True)
    for name, words in (("missing", "does not exist"), ("torn", "torn.vpr"), ("other", "'other'")):
        path = tmp_path / f"{name}.vpr"
        assert node.set(map_path=str(path)) == [""]
        assert node.configure() is False
        assert node.state == "unconfigured"
        sentence = [line for line in node.log.splitlines() if "configure failed" in line][-1]
        assert str(path) in sentence and words in sentence
        node.until_health("map", lambda h, path=path: h.level == 2 and str(path) in h.message)
    assert "Traceback" not in node.log
    assert node.set(map_path=str(first_map)) == [""]
    node.up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
    node.until_health("map", lambda h: h.level == 0)


def test_values_that_make_no_sense_are_refused_with_the_reason(start, first_map):
    node = start(map_path=first_map, mode="localise")  # British spelling
    assert node.configure() is False
    assert "mode must be one of localize, map, slam" in node.log
    assert node.set(mode="localize") == [""]
    wrong = ({"accept_probability": 1.5}, {"mode": "mapp"}, {"min_margin": 0.99}, {"device": "cpu"})
    reasons = [reason for values in wrong for reason in node.set(**values)]
    assert all(reasons), reasons
    assert "accept_probability" in reasons[2] and "localize, map, slam" in reasons[1]
    assert node.up().state == "active"


def test_parameters_that_the_node_does_not_have_are_named(start, first_map):
    matchs, matches = (f"qos_overrides./vpr/{name}.publisher.depth" for name in ("matchs", "matches"))
    given = {"image_reliabilty": "reliable", "no_such_parameter": 3, matchs: 1, matches: 1}
    node = start(map_path=first_map, use_sim_time=False, **given)
    health = node.until_health("parameters", lambda h: h.level == 1)
    assert "'image_reliabilty' is none of this node's and has no effect: is image_reliability meant?" in health.message
    assert "'no_such_parameter' is none of this node's and has no effect: `ros2 param list /vpr`" in health.message
    assert "use_sim_time" not in health.message and "qos_overrides" not in health.message
    node.up()
    health = node.until_health("parameters", lambda h: matchs in h.message)  # no topic has taken it
    assert matches not in health.message
    assert node.log.count("is image_reliability meant?") == 1


def test_a_node_whose_parameters_are_all_known_says_so(start, first_map):
    node = start(map_path=first_map, top_k=9)
    node.until_health("parameters", lambda h: h.level == 0 and h.message == "all that were given are known")
