"""The own decoders beside those that other packages use: cv_bridge for images, sensor_msgs_py for clouds."""

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField

from vpr_ros import pictures
from vpr_ros.sensors import decode_cloud, decode_cloud_fields, decode_image
from vpr_ros.sensors.encodings import ENCODINGS

RNG = np.random.default_rng(34)
HEIGHT, WIDTH = 6, 8
# cv_bridge knows the two older names of 4:2:2 only, and gives generic encodings as they are.
ALIASES = {"uyvy": "yuv422", "yuyv": "yuv422_yuy2", "yuy2": "yuv422_yuy2"}
GENERIC = {"8uc1": "mono8", "8uc3": "bgr8", "8uc4": "bgra8", "16uc1": "mono16", "16uc3": "bgr16", "16uc4": "bgra16"}


@pytest.fixture(scope="module")
def bridge():
    pytest.importorskip("cv_bridge.boost.cv_bridge_boost", exc_type=ImportError)  # built for another numpy it fails
    return pytest.importorskip("cv_bridge").CvBridge()


@pytest.fixture(scope="module")
def point_cloud2():
    return pytest.importorskip("sensor_msgs_py.point_cloud2")


def image(encoding: str, step: int, data: bytes, big: bool = False) -> Image:
    return Image(height=HEIGHT, width=WIDTH, encoding=encoding, is_bigendian=int(big), step=step, data=data)


@pytest.mark.parametrize("padding", [0, 1, 3], ids="padded by {} pixels".format)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_images_are_decoded_as_cv_bridge_decodes_them(bridge, encoding, padding):
    channels, depth = ENCODINGS[encoding].channels, ENCODINGS[encoding].depth
    step = (WIDTH + padding) * channels * depth
    data = RNG.integers(0, 256, HEIGHT * step, dtype=np.uint8)
    name = GENERIC.get(encoding, ALIASES.get(encoding, encoding))
    theirs = bridge.imgmsg_to_cv2(image(name, step, data.tobytes()), "rgb8").astype(int)
    named = encoding.upper() if encoding in GENERIC else encoding
    # A deep mosaic is interpolated there before it is scaled to 8 bits, here afterwards.
    tolerance = 1 if ENCODINGS[encoding].is_mosaic and depth == 2 else 0
    assert np.abs(decode_image(image(named, step, data.tobytes())) - theirs).max() <= tolerance
    swapped = data.reshape(-1, depth)[:, ::-1].tobytes()  # cv_bridge swaps bytes by a method that numpy 2 has not
    assert np.abs(decode_image(image(named, step, swapped, big=True)) - theirs).max() <= tolerance


@pytest.mark.parametrize("encoding", GENERIC)
def test_generic_encodings_have_the_layout_that_cv_bridge_reads(bridge, encoding):
    depth = ENCODINGS[encoding].depth
    step = WIDTH * ENCODINGS[encoding].channels * depth
    message = image(encoding.upper(), step, RNG.integers(0, 256, HEIGHT * step, dtype=np.uint8).tobytes())
    theirs = bridge.imgmsg_to_cv2(message).reshape(HEIGHT, WIDTH, -1)  # as it lies there: OpenCV's colour order
    order = [0, 0, 0] if theirs.shape[2] == 1 else [2, 1, 0]
    expected = np.round(theirs[..., order] / (257 if depth == 2 else 1)).astype(np.uint8)
    assert np.array_equal(decode_image(message), expected)


def test_cv_bridge_refuses_what_is_refused_here(bridge):
    from cv_bridge import CvBridgeError

    for encoding in ("32FC1", "16SC2", "8UC2"):
        message = image(encoding, WIDTH * 4, bytes(HEIGHT * WIDTH * 4))
        with pytest.raises(CvBridgeError):
            bridge.imgmsg_to_cv2(message, "rgb8")
        with pytest.raises(Exception, match="holds numbers"):
            decode_image(message)


@pytest.mark.parametrize("format", ["jpeg", "png"])
@pytest.mark.parametrize("padding", [b"", bytes(5_000)], ids=["whole", "padded"])
def test_compressed_images_are_decoded_as_cv_bridge_decodes_them(bridge, format, padding):
    pixels = RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    message = CompressedImage(format=f"rgb8; {format} compressed bgr8")
    message.data = pictures.encode(pixels, format) + padding
    assert np.array_equal(decode_image(message), bridge.compressed_imgmsg_to_cv2(message, "rgb8"))
    message.data = pictures.encode(pixels[..., 0], format) + padding
    theirs = bridge.compressed_imgmsg_to_cv2(message)
    assert theirs.ndim == 2 and np.array_equal(decode_image(message), theirs[..., None].repeat(3, 2))


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_a_mosaic_in_a_png_is_what_cv_bridge_makes_of_the_mosaic(bridge, pattern):
    mosaic = RNG.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
    theirs = bridge.imgmsg_to_cv2(image(f"bayer_{pattern}8", WIDTH, mosaic.tobytes()), "rgb8")
    message = CompressedImage(format=f"bayer_{pattern}8; png compressed ", data=pictures.encode(mosaic, "png"))
    assert np.array_equal(decode_image(message), theirs)


def field(name: str, offset: int, datatype: int, count: int = 1) -> PointField:
    return PointField(name=name, offset=offset, datatype=datatype, count=count)


LAYOUTS = {
    "velodyne": (
        [field("x", 0, 7), field("y", 4, 7), field("z", 8, 7), field("intensity", 16, 7), field("ring", 20, 4)],
        32,
    ),
    "packed": ([field("x", 0, 7), field("y", 4, 7), field("z", 8, 7)], 12),
    "double": ([field("x", 0, 8), field("y", 8, 8), field("z", 16, 8), field("t", 24, 6)], 28),
    "unaligned and out of order": ([field("z", 9, 7), field("x", 1, 7), field("tag", 0, 2), field("y", 5, 7)], 14),
    "every type": ([field(f"f{kind}", 8 * kind, kind) for kind in range(1, 9)], 80),
    "vectors": ([field("x", 0, 7), field("normal", 4, 7, 3), field("rgb", 16, 6), field("flags", 20, 2, 4)], 24),
}


def cloud(fields, point_step, height, width, big) -> PointCloud2:
    kinds = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
    rows = np.zeros((height * width, point_step), np.uint8)
    for one in fields:
        kind = np.dtype(kinds[one.datatype]).newbyteorder(">" if big else "<")
        values = (
            RNG.normal(0, 30, (height * width, one.count))
            if one.datatype > 6
            else RNG.integers(0, 100, (height * width, one.count))
        )
        data = np.ascontiguousarray(values.astype(kind)).view(np.uint8).reshape(height * width, -1)
        rows[:, one.offset : one.offset + data.shape[1]] = data
    return PointCloud2(
        height=height,
        width=width,
        fields=fields,
        is_bigendian=big,
        point_step=point_step,
        row_step=point_step * width,
        data=rows.tobytes(),
        is_dense=True,
    )


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("height,width", [(1, 50), (5, 9)])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_clouds_are_decoded_as_sensor_msgs_py_decodes_them(point_cloud2, layout, height, width, big):
    fields, point_step = LAYOUTS[layout]
    message = cloud(fields, point_step, height, width, big)
    ours = decode_cloud_fields(message)
    theirs = point_cloud2.read_points(message)
    assert list(ours) == [one.name for one in fields]
    for one in fields:
        columns = ours[one.name].reshape(len(theirs), -1)
        names = [one.name] if one.count == 1 else [f"{one.name}_{i}" for i in range(one.count)]
        for i, name in enumerate(names):
            assert np.array_equal(columns[:, i], theirs[name].astype(columns.dtype)) and len(columns) == height * width


def test_finite_points_are_those_that_sensor_msgs_py_keeps(point_cloud2):
    fields, point_step = LAYOUTS["packed"]
    message = cloud(fields, point_step, 4, 10, False)
    values = np.frombuffer(bytes(message.data), "<f4").reshape(40, 3).copy()
    values[3, 0] = values[17, 2] = np.nan
    message.data, message.is_dense = values.tobytes(), False
    assert np.array_equal(
        decode_cloud(message), point_cloud2.read_points_numpy(message, ["x", "y", "z"], skip_nans=True)
    )
