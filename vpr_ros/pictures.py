"""Pictures as files and bytes: the one place that decodes and encodes them, and that knows OpenCV's colour order.

Arrays are RGB everywhere else in the package.
"""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from vpr_ros.errors import FrameError

Reading = Literal["rgb", "deep_rgb", "stored"]
_FLAGS: dict[Reading, int] = {
    "rgb": cv2.IMREAD_COLOR,  # (H, W, 3) uint8
    "deep_rgb": cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH,  # (H, W, 3) uint8 or uint16
    "stored": cv2.IMREAD_UNCHANGED,  # as it lies in the file: one channel for Bayer mosaics and grey pictures
}


def decode(data: bytes | np.ndarray | None, reading: Reading = "rgb") -> np.ndarray | None:
    """Pixels of a JPEG or PNG file in memory; None where there are no bytes or they are no picture.

    Of a torn picture a decoder may fill the missing part with grey or black: `is_whole` tells.
    """
    if data is None or len(data) == 0:
        return None
    buffer = np.frombuffer(data, np.uint8) if isinstance(data, (bytes, bytearray, memoryview)) else data
    pixels = cv2.imdecode(buffer, _FLAGS[reading])
    if pixels is None or pixels.ndim == 2:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def read(path: str | Path, reading: Reading = "rgb") -> np.ndarray | None:
    """Pixels of a picture file; None where it is missing, unreadable or no picture."""
    try:
        return decode(Path(path).read_bytes(), reading)
    except OSError:
        return None


def read_png(path: Path, reading: Reading = "rgb") -> np.ndarray:
    """Pixels of a PNG of a data set; FrameError where the file is missing or torn."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FrameError(f"picture {path} cannot be read ({error.strerror})") from None
    # A decoder fills a missing part with black, silently.
    pixels = decode(data, reading) if is_whole(data) else None
    if pixels is None:
        raise FrameError(f"picture {path} is torn or no PNG; fetch it again")
    return pixels


def encode(image: np.ndarray, format: Literal["jpeg", "png"] = "jpeg", quality: int = 90) -> bytes:
    """A file's bytes of pixels (H, W, 3) uint8 RGB or (H, W) uint8 or uint16; `quality` (1 to 100) is JPEG's.

    FrameError where they cannot be written so.
    """
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if format == "jpeg" else []
    done, data = cv2.imencode(".jpg" if format == "jpeg" else ".png", pixels, options)
    if not done:
        raise FrameError(f"the image cannot be written as {format.upper()}: the frame is skipped")
    return data.tobytes()


def is_whole(data: bytes | np.ndarray) -> bool:
    """Whether a JPEG or PNG has its end; other formats count as whole."""
    tail = bytes(data[-4096:]).rstrip(b"\0")
    if bytes(data[:2]) == b"\xff\xd8":
        return b"\xff\xd9" in tail[-1024:]
    return bytes(data[:4]) != b"\x89PNG" or b"IEND" in tail[-64:]
