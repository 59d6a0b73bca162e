"""PointCloud2 messages of any layout to arrays."""

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.sensors.payload import payload, rows_of

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

    Points with a NaN or infinite coordinate are left out. Raises FrameError without x, y and z fields.
    """
    fields = decode_cloud_fields(msg)
    missing = [axis for axis in "xyz" if axis not in fields]
    if missing:
        raise FrameError(f"cloud has no field {', '.join(missing)}; its fields are {', '.join(fields) or 'none'}")
    if any(fields[axis].ndim != 1 for axis in "xyz"):
        raise FrameError("cloud fields x, y, z hold several values per point; one each is needed")
    with np.errstate(over="ignore", invalid="ignore"):
        points = np.stack([fields[axis].astype(np.float32) for axis in "xyz"], axis=1)
    return points[np.isfinite(points).all(axis=1)]
