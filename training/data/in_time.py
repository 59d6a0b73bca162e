"""Many stamps at once: poses between samples, the travelled distance, and the nearest readings of another sensor."""

import numpy as np

from vpr_ros.geometry import interpolate
from vpr_ros.sensors.poses.trajectory import Trajectory


def poses_at(trajectory: Trajectory, stamps_ns: np.ndarray, max_gap_s: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 4, 4) at stamps (N,) and which of them are covered (N,) bool; the others are the identity.

    The same answers as `Trajectory.at`, stamp by stamp: linear in translation, spherical-linear in rotation, only
    between samples at most `max_gap_s` apart. (The RobotCar kit divides integers here and does not interpolate.)
    """
    stamps, samples = np.asarray(stamps_ns, np.int64), trajectory.stamps_ns
    T = np.tile(np.eye(4), (len(stamps), 1, 1))
    if not len(samples):
        return T, np.zeros(len(stamps), bool)
    after = np.clip(np.searchsorted(samples, stamps), 0, len(samples) - 1)
    exact = samples[after] == stamps
    before = np.where(exact, after, np.maximum(after - 1, 0))
    gap = samples[after] - samples[before]
    inside = (samples[before] <= stamps) & (stamps <= samples[after]) & (gap <= max_gap_s * 1e9)
    fraction = np.where(gap > 0, (stamps - samples[before]) / np.maximum(gap, 1), 0.0)
    rows = np.flatnonzero(inside)
    T[rows] = interpolate(trajectory.T[before[rows]], trajectory.T[after[rows]], fraction[rows])
    return T, inside


def travelled(T: np.ndarray) -> np.ndarray:
    """Metres driven (N,) from the first of the poses (N, 4, 4) to each of them."""
    legs = np.linalg.norm(np.diff(T[:, :3, 3], axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(legs)])[: len(T)]


def nearest(stamps: np.ndarray, of: np.ndarray, count: int = 1) -> np.ndarray:
    """Indices (N, count) of the readings `of` (M,) increasing nearest in time to each stamp (N,), nearest first.

    Of two equally near the earlier comes first. With fewer than `count` readings there are M columns.
    """
    stamps, of = np.asarray(stamps, np.int64), np.asarray(of, np.int64)
    count = min(count, len(of))
    # The nearest `count` are neighbours in time: they lie within `count` places on either side.
    window = min(2 * count, len(of))
    start = np.clip(np.searchsorted(of, stamps) - count, 0, len(of) - window)
    columns = start[:, None] + np.arange(window)
    order = np.argsort(np.abs(of[columns] - stamps[:, None]), axis=1, kind="stable")
    return np.take_along_axis(columns, order[:, :count], axis=1)
