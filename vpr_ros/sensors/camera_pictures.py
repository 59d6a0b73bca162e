"""A camera's picture for the network: upright, and decoded small where it is much larger than the network's input."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vpr_ros import pictures
from vpr_ros.observation import Rotation
from vpr_ros.sensors.images import decode_image
from vpr_ros.sensors.payload import payload
from vpr_ros.sensors.upright import turned


@dataclass(frozen=True, slots=True)
class CameraPicture:
    """What one message shows."""

    pixels: np.ndarray  # (H, W, 3) uint8 RGB, upright
    size: tuple[int, int]  # (width, height) of the message's picture, neither turned nor reduced
    whole: Callable[[], np.ndarray] | None  # decodes all its pixels, upright; None where `pixels` are all


def camera_picture(msg: Any, rotation: Rotation, least: tuple[int, int] | None = None) -> CameraPicture:
    """The picture of an Image or CompressedImage turned clockwise by `rotation`.

    A JPEG may be reduced as `pictures.fraction_for` says, to upright sides of `least` (height, width) pixels or more:
    what is made of a recording is the same as live, because the picture's own size decides. FrameError as
    `decode_image`.
    """
    sideways = rotation in (90, 270)
    asked = (least[1], least[0]) if least is not None and sideways else least
    pixels = decode_image(msg, asked)
    height, width = pixels.shape[:2]
    header = None if asked is None or hasattr(msg, "encoding") else pictures.header_of(payload(msg.data))
    if header is None or {height, width} == {header.height, header.width}:
        return CameraPicture(turned(pixels, rotation), (width, height), None)
    assert asked is not None
    fraction = pictures.fraction_for(header, asked)
    as_stored = height == -(-header.height // fraction) and width == -(-header.width // fraction)
    size = (header.width, header.height) if as_stored else (header.height, header.width)  # EXIF had it turned
    return CameraPicture(turned(pixels, rotation), size, partial(_whole, msg, rotation))


def _whole(msg: Any, rotation: Rotation) -> np.ndarray:
    return turned(decode_image(msg), rotation)
