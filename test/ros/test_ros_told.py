"""What the node says of what it was given: images that are no pictures of a place, uncalibrated cameras, a map file
that is another one meanwhile, and at its end what came of it all."""

import os
import re
import shutil
import struct
import zlib

import numpy as np
from ros_drives import images_of, pixels
from ros_robot import compressed, raw_image, until_answered, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection3D

SECOND = 10**9


def png_of(width, height):
    """The head of a PNG file that claims a size, and hardly any pixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def test_pictures_of_absurd_sizes(start, robot, first_map, drives):
    """One PNG of 30000x30000 pixels took 5,970 MB and 21 s, and diagnostics said OK; 1x1 was answered."""
    jpeg = images_of(drives["first"])[5][1]
    node = start(map_path=first_map, compressed=True).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
    before_mb, answered = node.rss_mb, len(matches)
    camera.publish(compressed(robot.now_ns(), png_of(30_000, 30_000)))
    health = node.until_health("input", lambda h: h.number("image unreadable") == 1)
    assert health.level == 1 and "30000x30000 pixels" in health.message and "30000x30000 pixels" in node.log
    assert node.rss_mb < before_mb + 100
    import cv2

    tiny = cv2.imencode(".png", np.full((1, 1, 3), 77, np.uint8))[1].tobytes()
    camera.publish(compressed(robot.now_ns(), tiny))
    health = node.until_health("input", lambda h: h.number("image unusable") == 1)
    assert health.level == 1 and "1x1 pixels shows no place" in health.message
    assert len(matches) == answered
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))


def test_raw_images_of_absurd_sizes(start, robot, first_map, drives):
    picture = pixels(images_of(drives["first"])[5][1])
    node = start(map_path=first_map).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image"), Image)
    until_answered(camera, matches, lambda stamp: raw_image(stamp, picture))
    answered, before_mb = len(matches), node.rss_mb
    large = Image(height=10_000, width=20_000, encoding="mono8", step=20_000)
    large.header = raw_image(robot.now_ns(), picture).header
    camera.publish(large)
    health = node.until_health("input", lambda h: h.number("image unreadable") == 1)
    assert health.level == 1 and "20000x10000 pixels" in health.message and node.rss_mb < before_mb + 100
    camera.publish(raw_image(robot.now_ns(), picture[:1, :1].copy()))
    node.until_health("input", lambda h: "1x1 pixels shows no place" in h.message)
    assert len(matches) == answered


def test_an_uncalibrated_camera_is_told_once(start, robot, first_map, drives):
    """A CameraInfo of zeros beside good images kept the stage at WARN for ever."""
    jpeg = images_of(drives["first"])[5][1]
    node = start(map_path=first_map, compressed=True).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    info = robot.until_heard(robot.publisher(node.topic("camera_info"), CameraInfo))
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))

    def send(health):
        info.publish(CameraInfo(width=640, height=480, distortion_model="plumb_bob", d=[0.0] * 5))
        camera.publish(compressed(robot.now_ns(), jpeg))
        return health

    node.until_health("input", lambda h: send(h).number("camera_info unusable") >= 1 and h.level == 1)
    told = node.until_health("input", lambda h: send(h).level == 0 and h.number("camera_info unusable") > 5, 40)
    assert "images/s" in told.message


def test_the_map_file_is_another_one_meanwhile(start, robot, first_map, drives, tmp_path):
    jpeg = images_of(drives["first"])[5][1]
    own, other = tmp_path / "own.vpr", tmp_path / "other.vpr"
    shutil.copyfile(first_map, own)
    shutil.copyfile(first_map, other)
    node = start(map_path=own, compressed=True).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
    assert node.until_health("map", lambda h: h.level == 0)
    os.replace(other, own)
    health = node.until_health("map", lambda h: h.level == 1)
    assert f"{own} was replaced by another file" in health.message and "replaced by another file" in node.log
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))  # from what it has loaded
    assert node.deactivate() and node.cleanup() and node.up()
    node.until_health("map", lambda h: h.level == 0)
    size = own.stat().st_size
    os.truncate(own, size // 2)
    cut = f"was cut from {size} to {size // 2} bytes"
    assert node.until_health("map", lambda h: cut in h.message).level > 0
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpeg))
    own.unlink()
    assert "was removed" in node.until_health("map", lambda h: "removed" in h.message).message


def test_at_its_end_it_says_what_came_of_the_images(start, robot, drives, tmp_path):
    frames = images_of(drives["first"])[:12]
    node = start(mode="map", map_path=tmp_path / "m.vpr", compressed=True, keyframe_every=2).up()
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    wait_until(lambda: camera.get_subscription_count() == 2)  # the one that was there, and the reliable one
    for i, (stamp, jpeg) in enumerate(frames, 1):
        camera.publish(compressed(stamp, b"" if i == 7 else jpeg))
        node.until_health("input", lambda h, sent=i: h.number("received") == sent)
    wait_until(lambda: node.health("map").number("frame: every so many frames") >= 0)
    node.interrupt()
    (line,) = re.findall(r"(\d+) images came: (\d+) answered, (\d+) dropped as newer came first, (\d+) .*", node.log)
    came, answered, dropped, others = map(int, line)
    assert came == 12 and answered + dropped == 11 and others == 1
    saved = re.search(r"(\d+) keyframes saved in (\S+m\.vpr)", node.log)
    assert int(saved[1]) >= 3 and saved[2] == str(tmp_path / "m.vpr")


def test_localizing_says_what_it_accepted(start, robot, first_map, drives):
    node = start(map_path=first_map, compressed=True).up()
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, images_of(drives["first"])[5][1]))
    assert node.deactivate()
    wait_until(lambda: "images came" in node.log)
    accepted = sum(bool(m.id) for m in matches.messages)
    assert f"{len(matches)} answered" in node.log and f"{accepted} places accepted, map {first_map}" in node.log
    assert node.activate() and node.deactivate() and node.log.count("images came") == 2
