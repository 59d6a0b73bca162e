"""Image and CompressedImage messages to RGB pixels, without cv_bridge (its binary breaks under numpy 2)."""

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError
from vpr_ros.sensors.payload import payload, rows_of

MAX_PIXELS = 1 << 28  # a header may claim any size; more than 268 megapixels is a broken header, not a camera


@dataclass(frozen=True)
class Encoding:
    """How one `sensor_msgs/Image.encoding` stores a pixel and which conversion makes it RGB."""

    channels: int
    depth: int  # bytes per channel
    to_rgb: int | None  # OpenCV conversion code; None when the channels are RGB already
    even_width: bool = False  # 4:2:2 shares colour between two pixels


_GRAY, _BGR, _RGBA, _BGRA = cv2.COLOR_GRAY2RGB, cv2.COLOR_BGR2RGB, cv2.COLOR_RGBA2RGB, cv2.COLOR_BGRA2RGB
_UYVY = Encoding(2, 1, cv2.COLOR_YUV2RGB_UYVY, even_width=True)
_YUYV = Encoding(2, 1, cv2.COLOR_YUV2RGB_YUYV, even_width=True)

ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, 1, None),
    "bgr8": Encoding(3, 1, _BGR),
    "rgba8": Encoding(4, 1, _RGBA),
    "bgra8": Encoding(4, 1, _BGRA),
    "rgb16": Encoding(3, 2, None),
    "bgr16": Encoding(3, 2, _BGR),
    "rgba16": Encoding(4, 2, _RGBA),
    "bgra16": Encoding(4, 2, _BGRA),
    "mono8": Encoding(1, 1, _GRAY),
    "8uc1": Encoding(1, 1, _GRAY),
    "mono16": Encoding(1, 2, _GRAY),
    "16uc1": Encoding(1, 2, _GRAY),
    # Generic names carry no colour order; OpenCV's own order (BGR) is what their publishers use.
    "8uc3": Encoding(3, 1, _BGR),
    "8uc4": Encoding(4, 1, _BGRA),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "yuy2": _YUYV,
    **{
        f"bayer_{pattern.lower()}{8 * depth}": Encoding(1, depth, getattr(cv2, f"COLOR_Bayer{pattern}2RGB"))
        for pattern in ("RGGB", "BGGR", "GBRG", "GRBG")
        for depth in (1, 2)
    },
}


def decode_image(msg) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of an Image or CompressedImage (ROS 1 or 2, rclpy or rosbags objects).

    16-bit pixels are scaled so that 65535 becomes 255; Bayer mosaics are interpolated bilinearly.
    Raises FrameError, one sentence, when the message cannot be shown as a picture.
    """
    try:
        if hasattr(msg, "encoding"):
            return _decode_raw(msg)
        return decode_compressed(payload(msg.data), str(msg.format))
    except cv2.error as error:
        reason = str(error.err or error).strip().splitlines()[0]
        raise FrameError(f"image could not be converted to RGB ({reason}); check the camera driver") from None


def image_size(msg) -> tuple[int, int] | None:
    """(width, height) of a raw image from its header, or None for a compressed one."""
    return (int(msg.width), int(msg.height)) if hasattr(msg, "encoding") else None


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint16 0..65535 to uint8 0..255, rounded to nearest; uint8 passes unchanged."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decode_raw(msg) -> np.ndarray:
    name = str(msg.encoding).strip()
    encoding = ENCODINGS.get(name.lower())
    if encoding is None:
        raise FrameError(
            f"image encoding '{name}' is not a picture this package reads; supported are {', '.join(ENCODINGS)}"
        )
    height, width = int(msg.height), int(msg.width)
    if height <= 0 or width <= 0:
        raise FrameError(f"image of {width}x{height} pixels is empty; check the camera driver")
    if height * width > MAX_PIXELS:
        raise FrameError(f"image claims {width}x{height} pixels, which no camera has; the message is damaged")
    if encoding.even_width and width % 2:
        raise FrameError(f"image encoding '{name}' needs an even width but the image is {width} pixels wide")
    row_bytes = width * encoding.channels * encoding.depth
    rows = rows_of(payload(msg.data), height, row_bytes, int(msg.step), f"{name} image of {width}x{height} pixels")
    rows = np.ascontiguousarray(rows)
    if encoding.depth == 2:
        rows = to_uint8(rows.view(">u2" if msg.is_bigendian else "<u2"))
    pixels = rows.reshape(height, width, encoding.channels)
    # Bayer and 4:2:2 are converted from 8 bits: the network sees 8 bits anyway and one path serves both depths.
    return pixels.copy() if encoding.to_rgb is None else cv2.cvtColor(pixels, encoding.to_rgb)


def decode_compressed(data: np.ndarray, format: str = "") -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of a JPEG or PNG file in memory.

    `format` is CompressedImage.format; the bytes decide between JPEG and PNG, the text only tells a depth
    image and the colour order that the publisher fed its encoder. Raises FrameError.
    """
    if "compresseddepth" in format.lower():
        raise FrameError("compressedDepth carries distances, not a picture; choose the colour camera's topic")
    if data.size == 0:
        raise FrameError("compressed image has zero bytes; the camera driver sent an empty message")
    if data.size > 2 and data[0] == 0xFF and data[1] == 0xD8 and not pictures.is_whole(data):
        raise FrameError(f"JPEG of {data.size} bytes is cut short; its lower part is missing")
    pixels = pictures.decode(data, "deep_rgb")
    if pixels is None:
        raise FrameError(f"compressed image of {data.size} bytes (format '{format}') is no readable JPEG or PNG")
    pixels = to_uint8(pixels) if pixels.dtype == np.uint16 else pixels
    if pixels.dtype != np.uint8:
        raise FrameError(f"compressed image holds {pixels.dtype} pixels; only 8 and 16 bits are pictures")
    # "rgb8; jpeg compressed rgb8": the publisher gave RGB to an encoder that takes BGR, so red and blue are swapped
    # in the file and have to be swapped back.
    fed = format.lower().partition("compressed")[2].strip()
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if fed.startswith("rgb") else pixels
