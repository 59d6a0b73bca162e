"""Encodings of `sensor_msgs/Image`: how each stores a pixel, and the conversion that makes it RGB."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Encoding:
    """One encoding whose rows hold whole pixels."""

    channels: int
    depth: int  # bytes per channel
    to_rgb: int | None  # OpenCV conversion code; None when the channels are RGB already
    even_width: bool = False  # 4:2:2 shares colour between two pixels
    is_mosaic: bool = False  # Bayer: one colour per pixel


@dataclass(frozen=True)
class PlanarEncoding:
    """A plane of luma in rows of `step` bytes, behind it a plane of colour pairs."""

    halved: bool  # one pair for 2x2 pixels in rows of `step` bytes (4:2:0), else one for each in rows of twice `step`
    to_rgb: int  # OpenCV's code of the 4:2:0 form


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
    "16uc3": Encoding(3, 2, _BGR),
    "16uc4": Encoding(4, 2, _BGRA),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
    "yuy2": _YUYV,
    **{
        f"bayer_{pattern.lower()}{8 * depth}": Encoding(
            1, depth, getattr(cv2, f"COLOR_Bayer{pattern}2RGB"), is_mosaic=True
        )
        for pattern in ("RGGB", "BGGR", "GBRG", "GRBG")
        for depth in (1, 2)
    },
}
PLANAR_ENCODINGS: dict[str, PlanarEncoding] = {
    "nv12": PlanarEncoding(True, cv2.COLOR_YUV2RGB_NV12),
    "nv21": PlanarEncoding(True, cv2.COLOR_YUV2RGB_NV21),
    "nv24": PlanarEncoding(False, cv2.COLOR_YUV2RGB_NV12),
}
NUMBERS = ("8uc2", "16uc2", *(f"{kind}c{n}" for kind in ("8s", "16s", "32s", "32f", "64f") for n in (1, 2, 3, 4)))
"""What `sensor_msgs` names beside pictures: distances, labels, flow."""


def demosaiced(mosaic: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Pixels (H, W, 3) of a Bayer mosaic (H, W), interpolated bilinearly; uint8 or uint16 as given."""
    assert encoding.is_mosaic and encoding.to_rgb is not None
    return cv2.cvtColor(mosaic, encoding.to_rgb)


def planar_to_rgb(luma: np.ndarray, pairs: np.ndarray, encoding: PlanarEncoding) -> np.ndarray:
    """Pixels (H, W, 3) uint8 RGB of luma (H, W) and colour pairs (H / 2, W / 2, 2), or (H, W, 2), uint8 (BT.601)."""
    if encoding.halved:
        return cv2.cvtColorTwoPlane(luma, pairs, encoding.to_rgb)
    # OpenCV has no 4:4:4: at twice the size the pairs are those of a 4:2:0 image.
    return cv2.cvtColorTwoPlane(luma.repeat(2, axis=0).repeat(2, axis=1), pairs, encoding.to_rgb)[::2, ::2].copy()
