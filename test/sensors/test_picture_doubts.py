"""Cameras whose pictures can be read and show nothing: the doctor says so."""

import json

import cv2
import numpy as np
import pytest

from vpr_ros.sensors import compressed_image_msg, doctor, image_msg
from vpr_ros.sensors.picture_doubts import doubt_of

RNG = np.random.default_rng(11)
SECOND = 10**9
SCENE = cv2.GaussianBlur(RNG.integers(0, 256, (48, 64), dtype=np.uint8), (5, 5), 1)
COLOUR = np.dstack([SCENE, SCENE[::-1], SCENE[:, ::-1]])


def deep(bits: int) -> np.ndarray:
    """What a sensor of so many bits puts into 16 without scaling."""
    return np.round(SCENE / SCENE.max() * (2**bits - 1)).astype(np.uint16)


@pytest.fixture
def image_stage(make_bag):
    """The doctor's verdict on pictures, one each 0.1 s."""

    def examine(pictures, encoding="rgb8", **fields):
        messages = [
            image_msg(np.asarray(p), SECOND + i * SECOND // 10, encoding=encoding) for i, p in enumerate(pictures)
        ]
        report = doctor(make_bag([("/camera", m, SECOND + i * SECOND // 10) for i, m in enumerate(messages)]))
        json.dumps(report.to_dict())
        return report.stage("image")

    return examine


def test_pictures_that_show_something_are_fine(image_stage):
    assert image_stage([COLOUR] * 5).verdict == "OK"
    assert doubt_of(COLOUR, "rgb8") is doubt_of(COLOUR // 8, "bayer_rggb8") is doubt_of(COLOUR, "mono16") is None


def test_depth_is_no_camera(image_stage):
    stage = image_stage([RNG.integers(400, 9000, (24, 32), dtype=np.uint16) for _ in range(5)], "16UC1")
    assert stage.verdict == "WARN"
    assert (
        "5 of 5 sampled images are 16UC1, as depth cameras send distances: choose the colour camera's" in stage.sentence
    )


@pytest.mark.parametrize("bits", [10, 12, 14])
@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bayer_grbg16"])
def test_few_bits_in_sixteen_are_named(image_stage, bits, encoding):
    pixels = deep(bits) if encoding != "rgb16" else np.repeat(deep(bits)[..., None], 3, 2)
    stage = image_stage([pixels] * 3, encoding)
    assert stage.verdict == "WARN"
    assert f"3 of 3 sampled images hold {bits} bits in 16 and are almost black" in stage.sentence


def test_sixteen_bits_in_sixteen_are_fine(image_stage):
    assert image_stage([deep(16)] * 3, "mono16").verdict == "OK"


@pytest.mark.parametrize("encoding,shape,dtype", [("rgb8", (24, 32, 3), np.uint8), ("mono16", (24, 32), np.uint16)])
def test_black_pictures_are_an_error_when_all_are(image_stage, encoding, shape, dtype):
    stage = image_stage([np.zeros(shape, dtype)] * 6, encoding)
    assert stage.verdict == "ERROR" and "6 of 6 sampled images are black: a covered lens" in stage.sentence


def test_some_black_pictures_are_a_warning(image_stage):
    noise = RNG.integers(0, 8, (48, 64, 3), dtype=np.uint8)
    stage = image_stage([COLOUR, noise, COLOUR, noise])
    assert stage.verdict == "WARN" and "2 of 4 sampled images are black" in stage.sentence


@pytest.mark.parametrize("value", [255, 90, (200, 30, 30)])
def test_white_or_grey_walls_are_of_one_colour(image_stage, value):
    stage = image_stage([np.full((24, 32, 3), value, np.uint8)] * 3)
    assert stage.verdict == "ERROR" and "3 of 3 sampled images are of one colour" in stage.sentence


def test_compressed_depth_and_dark_files_are_named_too(make_bag):
    for format, pixels, words in (
        ("16UC1; png compressed ", deep(12), "as depth cameras send distances"),
        ("mono16; png compressed ", deep(12), "hold 12 bits in 16"),
        ("rgb8; png compressed bgr8", np.zeros((24, 32, 3), np.uint8), "are black"),
    ):
        data = cv2.imencode(".png", pixels)[1].tobytes()
        messages = [
            ("/camera/compressed", compressed_image_msg(data, t, format=format), t) for t in (SECOND, 2 * SECOND)
        ]
        assert words in doctor(make_bag(messages, name=words.split()[1])).stage("image").sentence
