"""The byte payload of a message as numpy, whichever middleware delivered it, and the header stamp."""

import numpy as np

from vpr_ros.errors import FrameError


def payload(data) -> np.ndarray:
    """Flat uint8 view (N,) of bytes, bytearray, memoryview, array.array, numpy array or list of integers."""
    if isinstance(data, np.ndarray):
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    if isinstance(data, (list, tuple)):
        return np.array(data, dtype=np.uint8)
    return np.frombuffer(data, dtype=np.uint8)


def rows_of(data: np.ndarray, height: int, row_bytes: int, step: int, what: str) -> np.ndarray:
    """Rows (height, row_bytes) uint8 of a padded 2-D payload whose rows start every `step` bytes.

    The padding after the last row may be missing, as some drivers leave it out.
    Raises FrameError when the step is shorter than a row or the payload shorter than the rows.
    """
    if step < row_bytes:
        raise FrameError(f"{what} has a step of {step} bytes but a row needs {row_bytes}; the driver's step is wrong")
    needed = step * (height - 1) + row_bytes
    if data.size < needed:
        raise FrameError(f"{what} carries {data.size} bytes but its size and step need {needed}; it was cut short")
    if step == row_bytes:
        return data[:needed].reshape(height, row_bytes)
    return np.lib.stride_tricks.as_strided(data, (height, row_bytes), (step, 1), writeable=False)


def time_ns(stamp) -> int:
    """Nanoseconds of a ROS 2 (sec, nanosec) or ROS 1 (secs, nsecs) time."""
    if hasattr(stamp, "sec"):
        return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
    return int(stamp.secs) * 1_000_000_000 + int(stamp.nsecs)


def stamp_ns(msg) -> int:
    """Header stamp of a message in nanoseconds, never the time of arrival."""
    return time_ns(msg.header.stamp)


def frame_of(msg) -> str:
    """Frame id of a message's header without the leading slash of ROS 1 days."""
    return str(msg.header.frame_id).lstrip("/")
