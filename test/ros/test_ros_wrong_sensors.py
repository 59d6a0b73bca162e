"""Sensors beside the camera that say nothing, or what does not fit, and extras that are not installed: the images are
answered all the same, and one sentence says what is wrong."""

import numpy as np
import pytest
from ros_drives import images_of, pixels
from ros_robot import compressed, raw_image, until_answered, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection3D

from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.schema import put_meta

SECOND = 10**9
# Hides packages from the interpreter that finds this on its path, as if they were not installed.
HIDING = """
from importlib.machinery import PathFinder
found = PathFinder.find_spec
PathFinder.find_spec = lambda name, path=None, target=None: (
    None if name.partition(".")[0] in {hidden!r} else found(name, path, target)
)
"""


@pytest.fixture
def pictures(drives):
    return [jpeg for _, jpeg in images_of(drives["first"])]


@pytest.fixture
def without(tmp_path, monkeypatch):
    """without(*packages): the nodes that are started from now on have none of these."""

    def hide(*packages):
        (tmp_path / "hiding").mkdir(exist_ok=True)
        (tmp_path / "hiding" / "sitecustomize.py").write_text(HIDING.format(hidden=packages))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hiding"), prepend=":")

    return hide


def depth_image(stamp_ns: int, size: tuple[int, int], encoding="16UC1") -> Image:
    width, height = size
    msg = raw_image(stamp_ns, np.zeros((height, width, 3), np.uint8))
    msg.encoding, msg.step = encoding, 2 * width
    msg.data = np.full((height, width), 5000, np.uint16).tobytes()
    return msg


def test_depth_that_is_missing_or_does_not_fit_costs_no_keyframe(start, robot, pictures, tmp_path):
    node = start(
        mode="map", map_path=tmp_path / "m.vpr", compressed=True, keyframe_every=1, remaps={"depth": "/aligned"}
    ).up()
    told = node.until_health("input", lambda h: "/aligned" in h.message)
    assert (
        "nobody publishes /aligned (sensor_msgs/msg/Image); check depth_topic (the remapping of depth)" in told.message
    )
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    depth = robot.until_heard(robot.publisher("/aligned", Image))
    wait_until(lambda: camera.get_subscription_count() == 2)  # the one that was there, and the reliable one
    height, width = pixels(pictures[0]).shape[:2]
    begin, sent = robot.now_ns() - 60 * SECOND, 0

    def drive(make, condition):
        """A picture with the depth image that `make(stamp)` makes, until the condition holds for the diagnostics."""
        nonlocal sent
        stamp = begin + sent * SECOND // 2
        if (image := make(stamp)) is not None:
            depth.publish(image)
        camera.publish(compressed(stamp, pictures[sent % len(pictures)]))
        sent += 1
        health = node.until_health("input", lambda h: h.number("received") == sent and condition(h))
        assert health.level <= 1
        return health.message

    unusable = [
        (lambda stamp: depth_image(stamp, (2 * width, 2 * height)), "take the topic that is aligned with the pictures"),
        (lambda stamp: depth_image(stamp, (width, height), "8UC3"), "has the encoding '8UC3'; it is 16UC1"),
        (lambda stamp: depth_image(stamp, (0, 0)), "depth image of 0x0 pixels is empty"),
    ]
    for number, (make, sentence) in enumerate(unusable, 1):
        message = drive(make, lambda h, number=number: h.number("depth unusable") == number)
        assert message.count(sentence) == 1, message
    drive(lambda stamp: depth_image(stamp, (width, height)), lambda h: True)
    message = drive(lambda stamp: None, lambda h: h.number("no depth image") == 1)
    assert "the nearest depth image is 0.50 s from the image, more than 0.02 s" in message
    assert node.deactivate() and node.cleanup() and "Traceback" not in node.log
    with PlaceMap.open(tmp_path / "m.vpr") as place_map:
        assert len(place_map) == sent
        assert all(place_map.features(int(i)) is not None for i in place_map.poses().ids)


def test_a_camera_info_of_other_pictures_leaves_the_matches_as_they_are(start, robot, first_map, pictures):
    node = start(map_path=first_map, compressed=True, verify="camera").up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    info = robot.until_heard(robot.publisher(node.topic("camera_info"), CameraInfo))
    height, width = pixels(pictures[0]).shape[:2]
    K = [100.0, 0.0, width / 2, 0.0, 100.0, width / 2, 0.0, 0.0, 1.0]
    told = {
        "CameraInfo has no focal length; the camera was never calibrated": CameraInfo(width=width, height=height),
        f"CameraInfo is of pictures of {width}x{width} pixels, and they have {width}x{height}": CameraInfo(
            width=width, height=width, distortion_model="plumb_bob", k=K
        ),
    }
    for sentence, message in told.items():

        def said(health, sentence=sentence, message=message):
            info.publish(message)
            camera.publish(compressed(robot.now_ns(), pictures[5]))
            return sentence in health.message

        health = node.until_health("input", said)
        assert health.level == 1 and health.message.count(sentence) == 1
        until_answered(camera, matches, lambda stamp: compressed(stamp, pictures[5]))
    assert "Traceback" not in node.log


def test_extras_that_are_missing_are_one_sentence(start, robot, first_map, pictures, without, tmp_path):
    without("kornia", "small_gicp")
    node = start(mode="map", map_path=tmp_path / "m.vpr", compressed=True)
    assert node.configure() and node.cleanup()
    line = "local features: SIFT; XFeat cannot be used (kornia is not installed): pip install 'vpr_ros[features]'"
    assert node.log.count(line) == 1
    by_xfeat = tmp_path / "xfeat.vpr"
    by_xfeat.write_bytes(first_map.read_bytes())
    with PlaceMap.open(by_xfeat, writable=True) as place_map, place_map.edit() as db:
        put_meta(db, "local_features", "xfeat")
    assert node.set(mode="localize", map_path=str(by_xfeat)) == ["", ""]
    node.up()
    assert "the map's local features are not used: XFeat cannot be used (kornia is not installed)" in node.log
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, pictures[5]))
    assert node.deactivate() and node.cleanup()
    for verify, sentence in (
        ("camera", "there is nothing to verify against"),
        ("lidar", "pip install 'vpr_ros[lidar]'"),
    ):
        assert node.set(verify=verify) == [""]
        assert not node.configure()
        (refusal,) = [line for line in node.log.splitlines() if "configure failed" in line and sentence in line]
        assert "vpr_ros[" in refusal
    assert "Traceback" not in node.log
