"""What CompressedImage.format says of its bytes: the encoding before `;`, what the encoder was fed, and video."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vpr_ros import pictures
from vpr_ros.errors import FrameError
from vpr_ros.sensors import decode_image
from vpr_ros.sensors.images import source_encoding

COLOUR = {"r": 200, "g": 90, "b": 30}
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")


def compressed(data: bytes, format: str):
    return SimpleNamespace(format=format, data=data)


def mosaic_of(pattern: str, depth: int = 8, height=16, width=20) -> np.ndarray:
    """What a Bayer sensor sees of a wall of one colour."""
    values = [[COLOUR[pattern[y % 2 * 2 + x % 2]] for x in range(width)] for y in range(height)]
    return np.array(values, np.uint8) if depth == 8 else np.array(values, np.uint16) * 257


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("format", ["bayer_{}{}; png compressed ", "bayer_{}{}; png compressed", "Bayer_{}{} ;png"])
def test_a_mosaic_in_a_png_is_interpolated(format, pattern, depth):
    data = pictures.encode(mosaic_of(pattern, depth), "png")
    image = decode_image(compressed(data, format.format(pattern, depth)))
    assert image.shape == (16, 20, 3) and (image == [200, 90, 30]).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_mosaic_in_a_jpeg_is_interpolated(pattern):
    data = pictures.encode(mosaic_of(pattern), "jpeg", quality=100)
    image = decode_image(compressed(data, f"bayer_{pattern}8; jpeg compressed "))
    assert np.abs(image[2:-2, 2:-2].astype(int) - [200, 90, 30]).max() <= 12


def test_a_mosaic_in_a_file_is_the_mosaic_in_an_image():
    mosaic = np.random.default_rng(4).integers(0, 256, (12, 14), dtype=np.uint8)
    raw = SimpleNamespace(height=12, width=14, encoding="bayer_grbg8", is_bigendian=0, step=14, data=mosaic.tobytes())
    file = compressed(pictures.encode(mosaic, "png"), "bayer_grbg8; png compressed ")
    assert np.array_equal(decode_image(file), decode_image(raw))


@pytest.mark.parametrize("fed", ["bgr8", "rgb8", "mono8"])
def test_what_was_interpolated_before_is_left_alone(fed):
    pixels = np.full((8, 8, 3), (200, 90, 30), np.uint8)
    shown = pixels[..., 0] if fed == "mono8" else pixels[..., ::-1] if fed == "rgb8" else pixels
    data = pictures.encode(np.ascontiguousarray(shown), "png")
    image = decode_image(compressed(data, f"bayer_rggb8; png compressed {fed}"))
    assert (image == (200 if fed == "mono8" else [200, 90, 30])).all()


def test_a_colour_file_of_a_bayer_camera_is_colour():
    pixels = np.full((8, 8, 3), (200, 90, 30), np.uint8)
    for image in (pixels, np.dstack([pixels, np.full((8, 8), 128, np.uint8)])):
        code = cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
        data = cv2.imencode(".png", cv2.cvtColor(image, code))[1].tobytes()
        assert (decode_image(compressed(data, "bayer_rggb8; png compressed ")) == [200, 90, 30]).all()


@pytest.mark.parametrize(
    "format",
    [
        "rgb8; png compressed bgr8",
        "bgr8; png compressed bgr8",
        "rgba8; png compressed bgr8",
        "bgra8; png compressed bgra8",
        "yuv422; png compressed bgr8",
        "yuv422_yuy2; png compressed bgr8",
        "uyvy; png compressed bgr8",
        "nv12; png compressed bgr8",
        "8UC3; png compressed ",
        "png",
        "",
    ],
)
def test_the_source_of_a_colour_file_changes_nothing(format):
    pixels = np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(compressed(pictures.encode(pixels, "png"), format)), pixels)


@pytest.mark.parametrize("format", ["mono8; png compressed ", "mono8; png compressed mono8", "8UC1; png compressed"])
def test_a_grey_source_is_grey(format):
    grey = np.random.default_rng(6).integers(0, 256, (6, 8), dtype=np.uint8)
    image = decode_image(compressed(pictures.encode(grey, "png"), format))
    assert np.array_equal(image, np.repeat(grey[..., None], 3, 2))


def test_deep_sources_are_scaled():
    deep = np.random.default_rng(7).integers(0, 65536, (6, 8), dtype=np.uint16)
    image = decode_image(compressed(pictures.encode(deep, "png"), "mono16; png compressed "))
    assert np.array_equal(image[..., 1], np.round(deep / 257).astype(np.uint8))


def test_the_name_before_the_semicolon():
    assert source_encoding("Bayer_RGGB8 ; png compressed ") == "bayer_rggb8"
    assert source_encoding("bayer_rggb8") == "bayer_rggb8"
    assert source_encoding("16UC1; compressedDepth png") == "16uc1"
    assert source_encoding("jpeg") == source_encoding("") == ""


@pytest.mark.parametrize(
    "format,data,named",
    [
        ("h264", b"\0\0\0\1\x67\x42\0\x1f", "H.264"),
        ("H264; video", b"\0\0\1\x65" + bytes(40), "H.264"),
        ("hevc", b"\0\0\0\1\x40\1", "H.265"),
        ("h265", b"anything", "H.265"),
        ("av1", b"\x12\0\x0a\x0b", "AV1"),
        ("vp9", b"\x82\x49\x83\x42", "VP9"),
        ("jpeg", b"\0\0\0\1\x67\x42\0\x1f", "H.264 or H.265"),
        ("", b"\0\0\1\x40\1" + bytes(40), "H.264 or H.265"),
    ],
)
def test_video_is_named_with_the_conversion_to_make(format, data, named):
    with pytest.raises(FrameError, match=rf"carries {named} video.*republish.*ffmpeg and 'vpr_ros bag FOLDER'"):
        decode_image(compressed(data, format))


def test_pictures_that_are_called_video_are_pictures():
    pixels = np.full((8, 8, 3), 70, np.uint8)
    assert np.array_equal(decode_image(compressed(pictures.encode(pixels, "png"), "h264")), pixels)


def test_other_picture_files_are_read():
    pixels = np.random.default_rng(8).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    for ending in (".tif", ".bmp", ".ppm"):
        data = cv2.imencode(ending, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
        assert np.array_equal(decode_image(compressed(data, f"rgb8; {ending[1:]} compressed bgr8")), pixels)
