"""Many stamps at once: poses between samples, the travelled distance, and the nearest readings of another sensor."""

import numpy as np

from vpr_ros.geometry import matrix_to_quaternion
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
    needed = np.unique(np.concatenate([before[rows], after[rows]]))
    quaternions = np.zeros((len(samples), 4))
    quaternions[needed] = [matrix_to_quaternion(R) for R in trajectory.T[needed, :3, :3]] if len(needed) else 0
    f = fraction[rows][:, None]
    position = trajectory.T[:, :3, 3]
    T[rows, :3, 3] = position[before[rows]] * (1 - f) + position[after[rows]] * f
    T[rows, :3, :3] = _matrices(_slerp(quaternions[before[rows]], quaternions[after[rows]], f))
    return T, inside


def _slerp(a: np.ndarray, b: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) between a and b (N, 4) at fractions f (N, 1)."""
    dot = (a * b).sum(axis=1, keepdims=True)
    b, dot = np.where(dot < 0, -b, b), np.minimum(np.abs(dot), 1.0)
    angle = np.arccos(dot)
    close = dot > 0.9995  # the sines lose their digits; the chord is the arc
    sine = np.where(close, 1.0, np.sin(angle))
    q = np.where(close, a + f * (b - a), (np.sin((1 - f) * angle) * a + np.sin(f * angle) * b) / sine)
    return q / np.linalg.norm(q, axis=1, keepdims=True) if len(q) else q


def _matrices(q: np.ndarray) -> np.ndarray:
    """Rotation matrices (N, 3, 3) of unit quaternions (N, 4) x, y, z, w."""
    x, y, z, w = q.T
    return np.stack(
        [
            np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=-1),
            np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=-1),
            np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=-1),
        ],
        axis=-2,
    )


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
