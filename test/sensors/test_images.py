"""Every image encoding against naive pixel loops, and every way an image message can be broken."""

from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vpr_ros.errors import FrameError
from vpr_ros.sensors import compressed_image_msg, decode_image, image_msg, stamp_ns
from vpr_ros.sensors.encodings import ENCODINGS, NUMBERS, PLANAR_ENCODINGS
from vpr_ros.sensors.images import to_uint8

RNG = np.random.default_rng(3)


def raw(data: bytes, height, width, encoding, step=None, big=0):
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=big,
        data=data,
        step=len(data) // height if step is None else step,
    )


def padded(rows, padding):
    return b"".join(bytes(row) + b"\xee" * padding for row in rows)


@pytest.mark.parametrize("padding", [0, 1, 5])
@pytest.mark.parametrize(
    "encoding,order",
    [
        ("rgb8", (0, 1, 2)),
        ("bgr8", (2, 1, 0)),
        ("rgba8", (0, 1, 2)),
        ("bgra8", (2, 1, 0)),
        ("mono8", (0, 0, 0)),
        ("8UC1", (0, 0, 0)),
        ("8UC3", (2, 1, 0)),
        ("8UC4", (2, 1, 0)),
    ],
)
def test_eight_bit_encodings_pixel_by_pixel(encoding, order, padding):
    channels = {"rgba8": 4, "bgra8": 4, "8UC4": 4, "mono8": 1, "8UC1": 1}.get(encoding, 3)
    height, width = 4, 7
    rows = [[int(v) for v in RNG.integers(0, 256, width * channels)] for _ in range(height)]
    image = decode_image(raw(padded(rows, padding), height, width, encoding))
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    for y in range(height):
        for x in range(width):
            for c in range(3):
                assert image[y, x, c] == rows[y][x * channels + order[c]]


@pytest.mark.parametrize("big", [0, 1])
@pytest.mark.parametrize("padding", [0, 1, 6])
@pytest.mark.parametrize(
    "encoding,channels,order",
    [
        ("mono16", 1, (0, 0, 0)),
        ("16UC1", 1, (0, 0, 0)),
        ("rgb16", 3, (0, 1, 2)),
        ("bgr16", 3, (2, 1, 0)),
        ("bgra16", 4, (2, 1, 0)),
    ],
)
def test_sixteen_bit_encodings_in_both_byte_orders(encoding, channels, order, padding, big):
    height, width = 3, 5
    values = RNG.integers(0, 65536, (height, width, channels))
    rows = [b"".join(int(v).to_bytes(2, "big" if big else "little") for v in values[y].ravel()) for y in range(height)]
    image = decode_image(raw(padded(rows, padding), height, width, encoding, big=big))
    for y in range(height):
        for x in range(width):
            for c in range(3):
                assert image[y, x, c] == round(int(values[y, x, order[c]]) * 255 / 65535)


def test_sixteen_to_eight_bits_is_rounding_for_every_value():
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_uint8(values), np.round(values.astype(np.float64) * 255 / 65535).astype(np.uint8))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_mosaic_of_a_flat_colour_gives_that_colour(pattern, depth):
    colour = {"r": 200, "g": 90, "b": 30}
    scale = 1 if depth == 8 else 257
    height, width = 8, 10
    mosaic = np.array([[colour[pattern[(y % 2) * 2 + x % 2]] * scale for x in range(width)] for y in range(height)])
    data = mosaic.astype(np.uint8 if depth == 8 else "<u2").tobytes()
    image = decode_image(raw(data, height, width, f"bayer_{pattern}{depth}"))
    assert (image == [200, 90, 30]).all()


def test_bayer_inside_pixel_is_the_mean_of_its_neighbours():
    mosaic = RNG.integers(0, 256, (6, 6), dtype=np.uint8)
    image = decode_image(raw(mosaic.tobytes(), 6, 6, "bayer_rggb8")).astype(int)
    m = mosaic.astype(int)
    # (2, 2) is a red site: its own red, green from the cross, blue from the diagonals.
    assert image[2, 2, 0] == m[2, 2]
    assert abs(image[2, 2, 1] - (m[1, 2] + m[3, 2] + m[2, 1] + m[2, 3]) / 4) <= 1
    assert abs(image[2, 2, 2] - (m[1, 1] + m[1, 3] + m[3, 1] + m[3, 3]) / 4) <= 1


@pytest.mark.parametrize(
    "encoding,place",
    [
        ("yuv422", "uyvy"),
        ("uyvy", "uyvy"),
        ("yuv422_yuy2", "yuyv"),
        ("yuyv", "yuyv"),
    ],
)
def test_yuv_four_two_two_pixel_by_pixel(encoding, place):
    height, width = 4, 6
    data = RNG.integers(16, 236, (height, width * 2), dtype=np.uint8)
    image = decode_image(raw(padded(data.tolist(), 3), height, width, encoding)).astype(float)
    for y in range(height):
        for pair in range(width // 2):
            four = data[y, pair * 4 : pair * 4 + 4].astype(float)
            u, v = four[place.index("u")], four[place.index("v")]
            lumas = [four[i] for i in range(4) if place[i] == "y"]
            for k, luma in enumerate(lumas):
                base = 1.164 * (luma - 16)
                expected = np.clip(
                    [base + 1.596 * (v - 128), base - 0.813 * (v - 128) - 0.391 * (u - 128), base + 2.018 * (u - 128)],
                    0,
                    255,
                )
                assert np.abs(image[y, pair * 2 + k] - expected).max() <= 1.5


def bt601(luma, u, v):
    base = 1.164 * (luma - 16)
    return np.clip(
        [base + 1.596 * (v - 128), base - 0.813 * (v - 128) - 0.391 * (u - 128), base + 2.018 * (u - 128)], 0, 255
    )


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize("encoding", ["nv12", "NV21", "nv24"])
def test_planes_of_luma_and_colour_pixel_by_pixel(encoding, padding):
    height, width = 4, 6
    shared = 1 if encoding == "nv24" else 2  # pixels on a side that share a pair of colours
    luma = RNG.integers(16, 236, (height, width), dtype=np.uint8)
    pairs = RNG.integers(16, 241, (height // shared, width // shared, 2), dtype=np.uint8)
    colours = padded(pairs.reshape(len(pairs), -1).tolist(), 2 * padding if encoding == "nv24" else padding)
    data = padded(luma.tolist(), padding) + colours
    image = decode_image(raw(data, height, width, encoding, step=width + padding)).astype(float)
    assert image.shape == (height, width, 3)
    for y in range(height):
        for x in range(width):
            pair = pairs[y // shared, x // shared].astype(float)
            u, v = pair if encoding != "NV21" else pair[::-1]
            assert np.abs(image[y, x] - bt601(float(luma[y, x]), u, v)).max() <= 1.5


def test_planes_without_padding_are_read_whatever_the_step_says():
    data = RNG.integers(0, 256, 6 * 4 * 3 // 2, dtype=np.uint8).tobytes()
    expected = decode_image(raw(data, 4, 6, "nv21", step=6))
    for step in (0, 9, 12):  # bytes per row of both planes, or sensor_msgs' two channels
        assert np.array_equal(decode_image(raw(data, 4, 6, "nv21", step=step)), expected)


@pytest.mark.parametrize("encoding,channels,order", [("16UC3", 3, (2, 1, 0)), ("16UC4", 4, (2, 1, 0))])
def test_deep_generic_encodings_are_in_opencv_order(encoding, channels, order):
    values = RNG.integers(0, 65536, (3, 5, channels), dtype=np.uint16)
    image = decode_image(raw(values.astype(">u2").tobytes(), 3, 5, encoding, big=1))
    assert np.array_equal(image, to_uint8(values[..., list(order)]))


@pytest.mark.parametrize(
    "wrap", [bytes, bytearray, memoryview, list, lambda b: array("B", b), lambda b: np.frombuffer(b, np.uint8)]
)
def test_any_kind_of_payload(wrap):
    pixels = RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(raw(wrap(pixels.tobytes()), 3, 4, "rgb8", step=12)), pixels)


def test_missing_padding_after_the_last_row_is_accepted():
    pixels = RNG.integers(0, 256, (3, 4), dtype=np.uint8)
    data = padded(pixels.tolist(), 2)[:-2]
    assert np.array_equal(decode_image(raw(data, 3, 4, "mono8", step=6))[..., 0], pixels)


def test_decoded_image_owns_writable_memory():
    pixels = np.zeros((2, 2, 3), np.uint8)
    image = decode_image(image_msg(pixels, 1))
    image[0, 0] = 9
    assert pixels.max() == 0


@pytest.mark.parametrize(
    "msg,words",
    [
        (raw(bytes(16), 2, 2, "32FC1", step=8), "encoding '32FC1' holds numbers .* choose the colour camera's topic"),
        (raw(bytes(8), 2, 2, "8SC2", step=4), "encoding '8SC2' holds numbers"),
        (raw(bytes(8), 2, 2, "8UC2", step=4), "encoding '8UC2' holds numbers"),
        (raw(bytes(12), 2, 2, "mono12", step=8), "encoding 'mono12' is not a picture .* supported are rgb8.*nv24"),
        (raw(bytes(12), 3, 2, "nv12", step=2), "nv12 image of 2x3 pixels has an odd side"),
        (raw(bytes(11), 4, 2, "nv12", step=2), "colour plane of the nv12 image of 2x4 pixels carries 3 bytes"),
        (raw(bytes(7), 4, 2, "nv21", step=2), "nv21 image of 2x4 pixels carries 7 bytes"),
        (raw(bytes(12), 10_000, 20_000, "mono8", step=20_000), "20000x10000 pixels, more than the 64 megapixels"),
        (raw(bytes(12), 20_000, 20_000, "nv12", step=20_000), "more than the 64 megapixels"),
        (raw(bytes(12), 2, 2, "", step=8), "encoding ''"),
        (raw(bytes(12), 2, 2, "rgb8", step=5), "step of 5 bytes but a row needs 6"),
        (raw(bytes(12), 2, 2, "rgb8", step=0), "step of 0"),
        (raw(bytes(11), 2, 2, "rgb8", step=6), "11 bytes"),
        (raw(b"", 2, 2, "rgb8", step=6), "0 bytes"),
        (raw(b"", 0, 4, "rgb8", step=12), "4x0"),
        (raw(bytes(12), 2**31, 2**31, "rgb8", step=6), "more than the 64 megapixels"),
        (raw(bytes(12), 2, 3, "yuv422", step=6), "even width"),
    ],
)
def test_broken_raw_images_are_told_in_one_sentence(msg, words):
    with pytest.raises(FrameError, match=words) as caught:
        decode_image(msg)
    assert "\n" not in str(caught.value)


def test_png_is_exact_in_colour_grey_and_sixteen_bits():
    colour = RNG.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    assert np.array_equal(decode_image(compressed_image_msg(colour, 1, format="png")), colour)
    grey = colour[..., 0]
    assert np.array_equal(decode_image(compressed_image_msg(grey, 1, format="png")), np.repeat(grey[..., None], 3, 2))
    deep = RNG.integers(0, 65536, (5, 6), dtype=np.uint16)
    data = cv2.imencode(".png", deep)[1].tobytes()
    image = decode_image(SimpleNamespace(format="mono16; png compressed mono16", data=data))
    assert np.array_equal(image, np.repeat(to_uint8(deep)[..., None], 3, 2))


def test_png_with_transparency_loses_only_the_transparency():
    bgra = RNG.integers(0, 256, (4, 4, 4), dtype=np.uint8)
    image = decode_image(SimpleNamespace(format="png", data=cv2.imencode(".png", bgra)[1].tobytes()))
    assert np.array_equal(image, bgra[..., 2::-1])


@pytest.mark.parametrize("format", ["jpeg", "jpg", "rgb8; jpeg compressed bgr8", "bgr8; jpeg compressed bgr8", ""])
def test_jpeg_colours_keep_their_order(format):
    pixels = np.full((16, 16, 3), [220, 120, 20], np.uint8)
    msg = compressed_image_msg(pixels, 1, quality=95)
    assert np.abs(decode_image(SimpleNamespace(format=format, data=msg.data)).astype(int) - [220, 120, 20]).max() < 8


def test_publisher_that_fed_rgb_to_the_encoder_is_undone():
    swapped = compressed_image_msg(np.full((16, 16, 3), [20, 120, 220], np.uint8), 1, format="png")
    image = decode_image(SimpleNamespace(format="rgb8; png compressed rgb8", data=swapped.data))
    assert (image == [220, 120, 20]).all()


def broken_files():
    whole = compressed_image_msg(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), 1).data.tobytes()
    png = compressed_image_msg(np.zeros((8, 8, 3), np.uint8), 1, format="png").data.tobytes()
    return [
        ("jpeg", b"", "zero bytes"),
        ("jpeg", b"\xff\xd8\xff", "cut short"),
        ("jpeg", whole[: len(whole) // 2], "cut short"),
        ("png", png[:20], "cut short"),
        ("webp", cv2.imencode(".webp", np.zeros((8, 8, 3), np.uint8))[1].tobytes()[:20], "no readable"),
        ("jpeg", b"hello, I am no picture", "no readable"),
        ("16UC1; compressedDepth png", b"\0" * 12 + png, "distances"),
    ]


@pytest.mark.parametrize("format,data,words", broken_files())
def test_broken_compressed_images(format, data, words):
    with pytest.raises(FrameError, match=words):
        decode_image(SimpleNamespace(format=format, data=data))


def test_jpeg_followed_by_driver_padding_is_read():
    msg = compressed_image_msg(np.full((16, 16, 3), 90, np.uint8), 1)
    padded_file = msg.data.tobytes() + b"\0" * 3000
    assert decode_image(SimpleNamespace(format="jpeg", data=padded_file)).shape == (16, 16, 3)


def test_stamps_of_both_ros_generations():
    ros2 = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(sec=5, nanosec=7)))
    ros1 = SimpleNamespace(header=SimpleNamespace(stamp=SimpleNamespace(secs=5, nsecs=7)))
    assert stamp_ns(ros2) == stamp_ns(ros1) == 5_000_000_007


def test_every_encoding_of_sensor_msgs_is_read_or_named():
    asked = {f"{order}{depth}" for order in ("rgb", "bgr", "rgba", "bgra", "mono") for depth in (8, 16)}
    asked |= {f"bayer_{p}{depth}" for p in ("rggb", "bggr", "gbrg", "grbg") for depth in (8, 16)}
    asked |= {"yuv422", "yuv422_yuy2", "yuyv", "uyvy", "nv12", "nv21", "nv24"}
    read = {*ENCODINGS, *PLANAR_ENCODINGS}
    assert asked <= read
    generic = {
        f"{b}{t}c{n}" for b, ts in ((8, "us"), (16, "us"), (32, "sf"), (64, "f")) for t in ts for n in range(1, 5)
    }
    assert generic == (generic & read) | set(NUMBERS) and not read & set(NUMBERS)
