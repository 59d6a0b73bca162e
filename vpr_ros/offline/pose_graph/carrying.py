"""From corrected poses at some stamps to poses at all: odometry leads from one to the next."""

import numpy as np

from vpr_ros.geometry import interpolate, invert
from vpr_ros.sensors import Trajectory


def carried(
    stamps_ns: np.ndarray,
    T_odom: np.ndarray,
    at_ns: np.ndarray,
    T_odom_at: np.ndarray,
    T: np.ndarray,
    part: np.ndarray,
) -> Trajectory:
    """Poses at `stamps_ns` (P,), where odometry was at T_odom (P, 4, 4), as far as they are known.

    Known are the corrected poses T (N, 4, 4), NaN where there is none, at the increasing stamps `at_ns` (N,), where
    odometry was at T_odom_at (N, 4, 4). A stamp is carried from those before and behind it, the nearer one more, beyond
    the first and the last from that one. Between two that are in different parts (N,) there is no pose.
    """
    known = np.asarray(np.isfinite(T).all(axis=(1, 2)))
    after = np.asarray(np.searchsorted(at_ns, stamps_ns)).clip(max=len(at_ns) - 1)
    before = np.asarray(np.searchsorted(at_ns, stamps_ns, side="right") - 1).clip(min=0)
    usable = known[before] & known[after] & (part[before] == part[after])
    before, after, stamps, odometry = (x[usable] for x in (before, after, stamps_ns, T_odom))
    ends = [T[row] @ invert(T_odom_at[row]) @ odometry for row in (before, after)]
    share = (stamps - at_ns[before]) / np.maximum(at_ns[after] - at_ns[before], 1)
    return Trajectory(stamps, interpolate(ends[0], ends[1], share))
