"""Large JPEGs come as small as the network needs, upright, whoever reads them; the whole picture stays at hand."""

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vpr_ros import pictures
from vpr_ros.sensors import Drive, DriveTopics, compressed_image_msg, decode_image
from vpr_ros.sensors.camera_pictures import camera_picture
from vpr_ros.sensors.upright import turned

SECOND = 10**9
RIGHT_TOP = 6  # EXIF: the picture is stored turned, and is shown turned by 90 degrees clockwise


def scene(width, height):
    """A smooth picture in all colours, of which no two sides are alike."""
    y, x = np.mgrid[:height, :width].astype(float) / max(width, height)
    return (127 + 120 * np.stack([np.sin(9 * x + 2 * y), np.cos(7 * y), np.sin(5 * x * y)], -1)).astype(np.uint8)


def message(width, height, format="jpeg", data=None):
    encoder = "png" if format.startswith("png") else "jpeg"
    return SimpleNamespace(format=format, data=data or pictures.encode(scene(width, height), encoder, quality=98))


def with_orientation(jpeg, orientation):
    """The file with an EXIF segment that tells how it is to be shown."""
    entry = struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0)
    body = b"Exif\0\0" + b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


@pytest.mark.parametrize(
    ("size", "least", "expected"),
    [
        ((640, 480), (192, 192), (320, 240)),
        ((639, 481), (192, 192), (320, 241)),
        ((640, 383), (192, 192), (640, 383)),
        ((640, 384), (192, 192), (320, 192)),
        ((383, 640), (192, 192), (383, 640)),
        ((1280, 720), (90, 160), (160, 90)),
        ((1280, 720), (91, 160), (320, 180)),
        ((1280, 720), (20, 20), (160, 90)),
        ((640, 480), None, (640, 480)),
    ],
)
def test_sides_stay_at_least_as_long_as_the_network_needs_them(size, least, expected):
    picture = camera_picture(message(*size), 0, least)
    assert picture.pixels.shape == (*expected[::-1], 3) and picture.size == size
    assert (picture.whole is None) == (expected == size)
    whole = picture.pixels if picture.whole is None else picture.whole()
    assert np.array_equal(whole, decode_image(message(*size)))


@pytest.mark.parametrize("format", ["jpeg", "bgr8; jpeg compressed bgr8", "rgb8; jpeg compressed rgb8"])
def test_what_is_reduced_shows_the_same(format):
    small = camera_picture(message(640, 480, format), 0, (100, 100)).pixels
    averaged = cv2.resize(decode_image(message(640, 480, format)), (160, 120), interpolation=cv2.INTER_AREA)
    assert small.shape == averaged.shape and np.abs(small.astype(int) - averaged).mean() < 1.0


@pytest.mark.parametrize(
    "msg",
    [
        message(640, 480, "png"),
        message(640, 480, data=pictures.encode(scene(640, 480)[..., 0]), format="bayer_rggb8; jpeg compressed"),
        SimpleNamespace(
            height=480, width=640, encoding="rgb8", step=1920, is_bigendian=0, data=scene(640, 480).tobytes()
        ),
    ],
    ids=["png", "mosaic", "raw"],
)
def test_what_cannot_be_decoded_smaller_stays_whole(msg):
    picture = camera_picture(msg, 0, (16, 16))
    assert picture.pixels.shape == (480, 640, 3) and picture.whole is None


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_turned_camera_is_asked_for_upright_sides(rotation):
    msg, least = message(800, 400), (400, 200) if rotation != 180 else (200, 400)
    picture = camera_picture(msg, rotation, least)
    assert picture.pixels.shape[:2] == least and picture.size == (800, 400)
    assert np.array_equal(picture.whole(), turned(decode_image(msg), rotation))
    assert camera_picture(msg, rotation, least[::-1]).whole is None


def test_the_size_of_a_picture_that_its_file_has_turned():
    msg = message(500, 320, data=with_orientation(pictures.encode(scene(500, 320)), RIGHT_TOP))
    picture = camera_picture(msg, 0, (40, 40))
    assert decode_image(msg).shape == (500, 320, 3) and picture.size == (320, 500)
    assert picture.pixels.shape == (63, 40, 3)


def test_a_drive_reads_them_alike_and_counts_sizes_as_they_come(make_bag):
    sizes = [(640, 480), (640, 480), (320, 240)]
    messages = [
        ("/camera/image/compressed", compressed_image_msg(scene(*size), SECOND * (i + 1)), SECOND * (i + 1))
        for i, size in enumerate(sizes)
    ]
    with Drive(make_bag(messages), DriveTopics(odom="none", pose="none"), least=(200, 200)) as drive:
        frames = list(drive)
        assert drive.notes["image size changed"] == 1
    assert [frame.image.shape[:2] for frame in frames] == [(240, 320)] * 3
    assert [frame.whole_image().shape[:2] for frame in frames] == [(480, 640), (480, 640), (240, 320)]
    live = camera_picture(messages[0][1], 0, (200, 200))
    assert np.array_equal(frames[0].image, live.pixels) and np.array_equal(frames[0].whole_image(), live.whole())
