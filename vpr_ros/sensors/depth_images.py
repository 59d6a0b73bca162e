"""Depth images that are aligned with a camera's pictures, in metres."""

from collections.abc import Callable

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import FrameError
from vpr_ros.sensors.payload import payload, rows_of

MAX_DEPTH_GAP_S = 0.02  # a depth image belongs to a picture this near in time: less than a period of 30 Hz
_MILLIMETRES, _METRES = "16UC1", "32FC1"  # REP 118


def decode_depth(msg) -> np.ndarray:
    """Depth (H, W) float32 along the optical axis in metres, NaN where it is unknown; FrameError for another image."""
    encoding, height, width = str(msg.encoding).strip().upper(), int(msg.height), int(msg.width)
    if encoding not in (_MILLIMETRES, _METRES):
        raise FrameError(
            f"a depth image has the encoding '{msg.encoding}'; it is {_MILLIMETRES} (millimetres) or {_METRES} (metres)"
        )
    if height <= 0 or width <= 0:
        raise FrameError(f"depth image of {width}x{height} pixels is empty; check the camera driver")
    pictures.refuse_large(width, height)
    kind = "u2" if encoding == _MILLIMETRES else "f4"
    what = f"depth image of {width}x{height} pixels"
    rows = np.ascontiguousarray(rows_of(payload(msg.data), height, width * int(kind[1]), int(msg.step), what))
    depth = rows.view((">" if msg.is_bigendian else "<") + kind).reshape(height, width).astype(np.float32)
    if encoding == _MILLIMETRES:
        depth /= 1000
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def aligned_depth(msg, size: tuple[int, int], skip: Callable[[str, str], object]) -> np.ndarray | None:
    """Depth (H, W) of a message for pictures of `size` (width, height), or None where `skip(reason, sentence)` was told
    why."""
    try:
        depth = decode_depth(msg)
    except FrameError as error:
        skip("depth unusable", str(error))
        return None
    height, width = depth.shape
    if (width, height) != size:
        skip(
            "depth unusable",
            f"the depth image has {width}x{height} pixels and the picture {size[0]}x{size[1]}: take the topic that is "
            "aligned with the pictures",
        )
        return None
    return depth
