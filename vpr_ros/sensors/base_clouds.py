"""Clouds as the robot's base sees them, at the time of an image: one way for bags and for live topics."""

from collections.abc import Callable

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import invert
from vpr_ros.sensors.clouds import decode_cloud
from vpr_ros.sensors.payload import frame_of


def base_cloud(
    msg, base_frame: str, lookup: Callable[[str, str], np.ndarray], skip: Callable[[str, str], object]
) -> np.ndarray | None:
    """Points (N, 3) float32 of a PointCloud2 in the base frame, or None where `skip(reason, sentence)` was told why.

    `lookup(base frame, cloud frame)` gives T_base_lidar (4, 4) at the cloud's time, or raises VprError.
    """
    try:
        points = decode_cloud(msg)
    except FrameError as error:
        skip("cloud unusable", str(error))
        return None
    frame = frame_of(msg)
    if frame == base_frame:
        return points
    try:
        return transformed(points, lookup(base_frame, frame))
    except VprError as error:
        skip("cloud frame unknown", str(error))
        return None


def transformed(points: np.ndarray, T: np.ndarray) -> np.ndarray:
    """Points (N, 3) float32 after a transform (4, 4)."""
    return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def moved(points: np.ndarray, T_odom_from: np.ndarray | None, T_odom_to: np.ndarray | None) -> np.ndarray:
    """Points (N, 3) of the base at one time as the base sees them at another: at 15 m/s half a scan period is 0.75 m.

    Poses (4, 4) of the base at both times; where one is None the points stay as they are. Always a copy.
    """
    if T_odom_from is None or T_odom_to is None:
        return points.copy()
    return transformed(points, invert(T_odom_to) @ T_odom_from)
