"""Image and CompressedImage messages to RGB pixels, without cv_bridge (its binary breaks under numpy 2)."""

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError
from vpr_ros.sensors.encodings import (
    ENCODINGS,
    NUMBERS,
    PLANAR_ENCODINGS,
    PlanarEncoding,
    demosaiced,
    planar_to_rgb,
)
from vpr_ros.sensors.payload import payload, rows_of

_VIDEO = {
    "h264": "H.264",
    "avc": "H.264",
    "hevc": "H.265",
    "h265": "H.265",
    "av1": "AV1",
    "vp8": "VP8",
    "vp9": "VP9",
}
VIDEO_CURE = (
    "have it decoded to Image or JPEG before recording (image_transport's republish), or make pictures with ffmpeg and "
    "'vpr_ros bag FOLDER'"
)
_ANNEX_B = (b"\0\0\0\1", b"\0\0\1")  # how H.264 and H.265 units begin


def decode_image(msg, least: tuple[int, int] | None = None) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of an Image or CompressedImage (ROS 1 or 2, rclpy or rosbags objects).

    With `least` (height, width), those of a JPEG may be fewer, as `pictures.pixels_of` has it. 16-bit pixels are scaled
    so that 65535 becomes 255; Bayer mosaics are interpolated bilinearly.
    Raises FrameError, one sentence, when the message cannot be shown as a picture.
    """
    try:
        if hasattr(msg, "encoding"):
            return _decode_raw(msg)
        return decode_compressed(payload(msg.data), str(msg.format), least)
    except cv2.error as error:
        reason = str(error.err or error).strip().splitlines()[0]
        raise FrameError(f"image could not be converted to RGB ({reason}); check the camera driver") from None


def source_encoding(format: str) -> str:
    """What `CompressedImage.format` says was compressed, in lower case: `bayer_rggb8` of `bayer_rggb8; png compressed`.

    A text without `;` that is an encoding counts as one; "" where none is named.
    """
    before, separator, _ = format.lower().partition(";")
    name = before.strip()
    return name if separator or name in ENCODINGS else ""


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """uint16 0..65535 to uint8 0..255, rounded to nearest; uint8 passes unchanged."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _decode_raw(msg) -> np.ndarray:
    name = str(msg.encoding).strip()
    encoding = ENCODINGS.get(name.lower()) or PLANAR_ENCODINGS.get(name.lower())
    if name.lower() in NUMBERS:
        raise FrameError(
            f"image encoding '{name}' holds numbers (distances, labels, flow), not a picture; choose the colour "
            "camera's topic"
        )
    if encoding is None:
        raise FrameError(
            f"image encoding '{name}' is not a picture this package reads; supported are "
            f"{', '.join((*ENCODINGS, *PLANAR_ENCODINGS))}"
        )
    height, width = int(msg.height), int(msg.width)
    if height <= 0 or width <= 0:
        raise FrameError(f"image of {width}x{height} pixels is empty; check the camera driver")
    pictures.refuse_large(width, height)
    what = f"{name} image of {width}x{height} pixels"
    data, step = payload(msg.data), int(msg.step)
    if isinstance(encoding, PlanarEncoding):
        return _decode_planes(data, height, width, step, encoding, what)
    if encoding.even_width and width % 2:
        raise FrameError(f"image encoding '{name}' needs an even width but the image is {width} pixels wide")
    rows = np.ascontiguousarray(rows_of(data, height, width * encoding.channels * encoding.depth, step, what))
    if encoding.depth == 2:
        rows = to_uint8(rows.view(">u2" if msg.is_bigendian else "<u2"))
    pixels = rows.reshape(height, width, encoding.channels)
    # Bayer and 4:2:2 are converted from 8 bits: the network sees 8 bits anyway and one path serves both depths.
    return pixels.copy() if encoding.to_rgb is None else cv2.cvtColor(pixels, encoding.to_rgb)


def _decode_planes(
    data: np.ndarray, height: int, width: int, step: int, encoding: PlanarEncoding, what: str
) -> np.ndarray:
    if encoding.halved and (width % 2 or height % 2):
        raise FrameError(f"{what} has an odd side, but its colours are shared by 2x2 pixels; check the driver")
    rows, columns = (height // 2, width // 2) if encoding.halved else (height, width)
    if data.size == height * width + 2 * rows * columns:
        step = width  # without padding, whatever drivers take for the step of two planes
    luma = rows_of(data, height, width, step, what)
    pair_step = step if encoding.halved else 2 * step
    pairs = rows_of(data[step * height :], rows, 2 * columns, pair_step, f"colour plane of the {what}")
    return planar_to_rgb(np.ascontiguousarray(luma), np.ascontiguousarray(pairs).reshape(rows, columns, 2), encoding)


def decode_compressed(data: np.ndarray, format: str = "", least: tuple[int, int] | None = None) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of a picture file in memory, as `pictures.pixels_of`.

    `format` is CompressedImage.format; the bytes decide between JPEG, PNG and the others. The text behind `compressed`
    names what the publisher fed its encoder, and where there is none, the text before `;` does: of a Bayer camera
    image_transport compresses the mosaic itself, which is interpolated here. Raises FrameError.
    """
    lowered = format.lower()
    if "compresseddepth" in lowered:
        raise FrameError("compressedDepth carries distances, not a picture; choose the colour camera's topic")
    if data.size == 0:
        raise FrameError("compressed image has zero bytes; the camera driver sent an empty message")
    _refuse_video(data, lowered)
    fed = lowered.partition("compressed")[2].strip()
    encoding = ENCODINGS.get(fed or source_encoding(format))
    mosaic = encoding if encoding is not None and encoding.is_mosaic else None
    what = f"compressed image (format '{format}')"
    pixels = pictures.pixels_of(data, what, "stored" if mosaic else "deep_rgb", least)
    pixels = to_uint8(pixels) if pixels.dtype == np.uint16 else pixels
    if pixels.dtype != np.uint8:
        raise FrameError(f"compressed image holds {pixels.dtype} pixels; only 8 and 16 bits are pictures")
    if pixels.ndim == 2:
        return demosaiced(pixels, mosaic) if mosaic else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    # "rgb8; jpeg compressed rgb8": the publisher gave RGB to an encoder that takes BGR, so red and blue are swapped
    # in the file and have to be swapped back.
    pixels = pixels[..., :3]
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if fed.startswith("rgb") else np.ascontiguousarray(pixels)


def _refuse_video(data: np.ndarray, lowered: str) -> None:
    """FrameError for a stream's packet: one alone shows nothing, since it tells what changed from the ones before."""
    named = next((name for key, name in _VIDEO.items() if key in lowered), None)
    if named is None and bytes(data[:4]).startswith(_ANNEX_B):
        named = "H.264 or H.265"
    if named is not None and pictures.header_of(data) is None:
        raise FrameError(
            f"CompressedImage (format '{lowered}') carries {named} video, not single pictures; {VIDEO_CURE}"
        )
