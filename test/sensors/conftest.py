"""Bags that the sensor tests write themselves."""

import numpy as np
import pytest

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import BagWriter, compressed_image_msg, odometry_msg

SECOND = 10**9


def picture(i: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A smooth picture that differs by i and survives JPEG."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5 + i, y * 7, np.full_like(x, 3 * i % 200)], -1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def make_bag(tmp_path):
    """make_bag(messages, storage="mcap", name="bag") writes (topic, message, bag time in ns), returns the path."""

    def write(messages, storage="mcap", name="bag"):
        path = tmp_path / name
        with BagWriter(path, storage) as writer:
            for topic, msg, stamp in messages:
                writer.write(topic, msg, stamp)
        return path

    return write


@pytest.fixture
def image_messages():
    """image_messages(stamps): compressed images with these header stamps, received in the order given, 0.1 s apart."""

    def make(stamps, topic="/camera/image/compressed", format="png"):
        return [
            (topic, compressed_image_msg(picture(i), stamp, format=format), SECOND + i * SECOND // 10)
            for i, stamp in enumerate(stamps)
        ]

    return make


@pytest.fixture
def straight_drive(make_bag, image_messages):
    """30 images at 10 Hz between odometry at 20 Hz, 10 m/s along x."""

    def make(storage="mcap", extra=()):
        images = image_messages([SECOND + i * SECOND // 10 for i in range(30)])
        odometry = [
            ("/odom", odometry_msg(planar_transform(i * 0.5, 0, 0), stamp), stamp)
            for i in range(62)
            for stamp in [SECOND + (i - 1) * SECOND // 20 + 7_000_000]
        ]
        return make_bag(sorted([*images, *odometry, *extra], key=lambda m: m[2]), storage)

    return make
