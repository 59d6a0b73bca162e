"""From a picture file's bytes to RGB pixels and back, through OpenCV."""

from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.lfs import is_pointer
from vpr_ros.pictures.headers import FORMATS, Bytes, Header, header_of, is_whole
from vpr_ros.pictures.quiet import quiet_codecs

MAX_PIXELS = 64_000_000
"""More than any robot's camera delivers. A file of some megabytes can claim a hundred times as many, which cost 3 to 8
bytes each."""

Reading = Literal["rgb", "deep_rgb", "stored"]
_FLAGS: dict[Reading, int] = {
    "rgb": cv2.IMREAD_COLOR,  # (H, W, 3) uint8
    "deep_rgb": cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH,  # (H, W, 3) uint8 or uint16
    "stored": cv2.IMREAD_UNCHANGED,  # as it lies in the file: one channel for Bayer mosaics and grey pictures
}
Fraction = Literal[1, 2, 4, 8]  # both sides are divided by it, rounded up
_REDUCED: dict[Fraction, int] = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def fraction_for(header: Header | None, least: tuple[int, int]) -> Fraction:
    """The smallest picture that a JPEG can be decoded to with sides of `least` (height, width) pixels or more.

    Its decoder leaves out the frequencies that the smaller picture cannot show (ITU T.81 codes blocks of 8x8 pixels as
    frequencies), which costs a part of the time and is no worse than shrinking by averages. Other formats stay whole.
    """
    if header is None or header.format != "JPEG":
        return 1
    fits = (f for f in get_args(Fraction) if header.height >= f * least[0] and header.width >= f * least[1])
    return max(fits, default=1)


def refuse_large(width: int, height: int, what: str = "image") -> None:
    """FrameError for more than `MAX_PIXELS` pixels: the one limit for raw images and for picture files."""
    if width * height > MAX_PIXELS:
        raise FrameError(
            f"{what} claims {width}x{height} pixels, more than the {MAX_PIXELS // 1_000_000} megapixels that are read; "
            "it is damaged, or has to be shrunk first"
        )


def pixels_of(
    data: Bytes, what: str = "picture", reading: Reading = "rgb", least: tuple[int, int] | None = None
) -> np.ndarray:
    """Pixels of a picture file in memory: JPEG, PNG, WebP, TIFF, BMP, GIF (its first frame) or PNM.

    With `least` (height, width), a colour JPEG may come smaller, by `fraction_for`; what is `stored` comes whole.
    FrameError, one sentence that begins with `what`, for bytes that are no such picture, a cut JPEG or PNG (a decoder
    fills the missing part, silently), and more than `MAX_PIXELS`.
    """
    data = data if isinstance(data, bytes) else bytes(data)
    if not data:
        raise FrameError(f"{what} has zero bytes")
    if is_pointer(data):
        raise FrameError(f"{what} is a Git LFS pointer, not the picture itself: run 'git lfs pull' in its repository")
    header = header_of(data)
    if header is not None:
        refuse_large(header.width, header.height, what)
    if not is_whole(data):
        raise FrameError(f"{what} of {len(data)} bytes is cut short: its lower part is missing")
    fraction = 1 if least is None or reading == "stored" else fraction_for(header, least)
    pixels = None if header is None else _decoded(data, _REDUCED.get(fraction, _FLAGS[reading]))
    if pixels is None:
        raise FrameError(f"{what} of {len(data)} bytes is no readable {' or '.join(_joined(FORMATS))}")
    return pixels


def decode(data: Bytes | None, reading: Reading = "rgb") -> np.ndarray | None:
    """`pixels_of`, or None where there are no bytes or they are refused."""
    try:
        return None if data is None else pixels_of(data, reading=reading)
    except FrameError:
        return None


def load(path: str | Path, reading: Reading = "rgb") -> np.ndarray:
    """Pixels of a picture file; FrameError where it is missing, no regular file, or refused by `pixels_of`."""
    path = Path(path)
    try:
        if not path.is_file():  # reading from a pipe or a device would never end
            raise FrameError(f"picture {path} {'is no regular file' if path.exists() else 'does not exist'}")
        if path.stat().st_size > 8 * MAX_PIXELS:
            raise FrameError(f"picture {path} is larger than any picture of {MAX_PIXELS // 1_000_000} megapixels")
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise FrameError(f"picture {path} cannot be read ({getattr(error, 'strerror', None) or error})") from None
    return pixels_of(data, f"picture {path}", reading)


def read(path: str | Path, reading: Reading = "rgb") -> np.ndarray | None:
    """`load`, or None where it refuses."""
    try:
        return load(path, reading)
    except FrameError:
        return None


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


def _decoded(data: bytes, flags: int) -> np.ndarray | None:
    try:
        with quiet_codecs():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        if pixels is None or pixels.ndim == 2:
            return pixels
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB, dst=pixels)
    except cv2.error:  # a damaged file, or pixels that are no colours: two channels, 64 bits
        return None


def _joined(names: tuple[str, ...]) -> tuple[str, str]:
    return ", ".join(names[:-1]), names[-1]
