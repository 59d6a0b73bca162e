"""Point clouds: PointCloud2 messages of any layout to arrays, moved between frames and times, and as grid cells."""

from collections.abc import Callable

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import FARTHEST_M, invert
from vpr_ros.sensors.payload import frame_of, payload, rows_of

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}  # sensor_msgs/PointField


def decode_cloud_fields(msg) -> dict[str, np.ndarray]:
    """All fields of a PointCloud2 as arrays (N,), or (N, count) for vector fields, N = height x width.

    Point order is row by row for organised clouds. Any offsets, padding, row padding and byte order.
    Raises FrameError when the layout contradicts itself.
    """
    point_step, height, width = int(msg.point_step), int(msg.height), int(msg.width)
    order = ">" if msg.is_bigendian else "<"
    names, formats, offsets = [], [], []
    for field in msg.fields:
        kind, count = _TYPES.get(int(field.datatype)), max(int(field.count), 1)  # some drivers leave count at 0
        if kind is None:
            raise FrameError(f"cloud field '{field.name}' has the unknown type number {field.datatype}")
        if not field.name or field.name in names:
            continue
        dtype = np.dtype(f"{order}{kind}") if count == 1 else np.dtype((f"{order}{kind}", (count,)))
        if int(field.offset) + dtype.itemsize > point_step:
            raise FrameError(
                f"cloud field '{field.name}' ends at byte {int(field.offset) + dtype.itemsize} of points "
                f"that are {point_step} bytes long; the message is damaged"
            )
        names.append(str(field.name))
        formats.append(dtype)
        offsets.append(int(field.offset))
    if height * width == 0:
        return {
            name: np.empty((0, *dtype.shape), dtype.base.newbyteorder("="))
            for name, dtype in zip(names, formats, strict=True)
        }
    row_bytes = width * point_step
    # An unorganised cloud needs no row step, and some drivers leave it at 0.
    step = row_bytes if height == 1 else int(msg.row_step)
    rows = rows_of(payload(msg.data), height, row_bytes, step, f"cloud of {height * width} points")
    layout = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": point_step})
    points = np.ascontiguousarray(rows).reshape(-1).view(layout)
    return {name: points[name].astype(dtype.base.newbyteorder("=")) for name, dtype in zip(names, formats, strict=True)}


def decode_cloud(msg) -> np.ndarray:
    """Finite points (N, 3) float32 x, y, z in metres, in the frame of the message's header; N may be 0.

    Points with a coordinate that is NaN, infinite or beyond any on Earth are left out. Raises FrameError without x, y
    and z fields.
    """
    fields = decode_cloud_fields(msg)
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise FrameError(f"cloud has no field {', '.join(missing)}; its fields are {', '.join(fields) or 'none'}")
    if any(fields[axis].ndim != 1 for axis in "xyz"):
        raise FrameError("cloud fields x, y, z hold several values per point; one each is needed")
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.stack([fields[axis].astype(np.float32) for axis in "xyz"], axis=1)
        return points[(np.abs(points) < FARTHEST_M).all(axis=1)]


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
    """Points (N, 3) float32 after a transform (4, 4); infinite where they leave what 32 bits hold."""
    with np.errstate(over="ignore", invalid="ignore"):
        return (points @ T[:3, :3].T + T[:3, 3]).astype(np.float32)


def moved(points: np.ndarray, T_odom_from: np.ndarray | None, T_odom_to: np.ndarray | None) -> np.ndarray:
    """Points (N, 3) of the base at one time as the base sees them at another: at 15 m/s half a scan period is 0.75 m.

    Poses (4, 4) of the base at both times; where one is None the points stay as they are. Always a copy.
    """
    if T_odom_from is None or T_odom_to is None:
        return points.copy()
    return transformed(points, invert(T_odom_to) @ T_odom_from)


def cell_numbers(points: np.ndarray, cell_m: float, corner: np.ndarray | float = 0.0) -> np.ndarray:
    """Number (N,) int64 of the cubic cell of edge `cell_m` that each point (N, 3) lies in, ascending by x, y, z.

    A cell begins at `corner`, (3,) or one value for all axes. The occupied box must have fewer than 2^63 cells.
    """
    if not len(points):
        return np.empty(0, np.int64)
    index = np.floor((points - corner) / cell_m).astype(np.int64)
    index -= index.min(axis=0)
    extent = index.max(axis=0) + 1
    return (index[:, 0] * extent[1] + index[:, 1]) * extent[2] + index[:, 2]


def cell_means(points: np.ndarray, cell_m: float, corner: np.ndarray | float = 0.0) -> np.ndarray:
    """Mean (M, 3) of the points (N, 3) in each occupied cell of `cell_numbers`, in the order of the numbers."""
    _, cell, count = np.unique(cell_numbers(points, cell_m, corner), return_inverse=True, return_counts=True)
    return np.stack([np.bincount(cell, points[:, axis]) / count for axis in range(3)], axis=1)
