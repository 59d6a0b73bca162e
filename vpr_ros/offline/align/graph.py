"""The pose graph of two drives: odometry along them, confirmed registrations across, the first pose fixed."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.crossing import Constraint, Course, Crossing

FIXED = 1e-5  # metres and radians by which a fixed pose may move
FIRST, SECOND = 0, 1 << 32  # the first keys of both drives' poses


@dataclass(frozen=True)
class GraphConfig:
    """Standard deviations of what the graph is made of, and from where on a constraint is doubted.

    A wheel's scale error of a few per cent is spread evenly over the steps between two constraints, whatever their
    common size; so drift is told by the square root of a metre.
    """

    drift_m: float = 0.1  # after a metre of odometry; after 100 m ten times as much
    drift_rad: float = np.radians(0.5)
    tremble_m: float = 0.01  # of any step
    tremble_rad: float = 0.002
    registration_m: float = 0.05  # beside a registration's own covariance, which knows nothing of what has moved
    registration_rad: float = np.radians(0.3)
    doubted: float = 3.0  # whitened length of a constraint's error: a longer one pulls less and less


@dataclass(frozen=True)
class Optimised:
    """Poses of both drives' rows in one frame: first (N, 4, 4) and second (M, 4, 4), NaN where the graph has none.

    `errors_m` and `errors_rad` (K,) are what it leaves of each of `constraints`, those whose first end is in the part
    of the first drive that most constraints hold: another part has another frame.
    """

    first: np.ndarray
    second: np.ndarray
    constraints: tuple[Constraint, ...]
    errors_m: np.ndarray
    errors_rad: np.ndarray


def optimise(crossing: Crossing, move_first: bool = False, config: GraphConfig | None = None) -> Optimised:
    """The most likely poses of the second drive, and with `move_first` of the first one, too.

    The frame is the first drive's odometry: all its poses stay as they are, or with `move_first` only the first of its
    part. The robust loss is Huber's from the nearest constraints on, then Cauchy's. Raises VprError without
    constraints and where gtsam is not installed.
    """
    gtsam, config = load_gtsam(), config or GraphConfig()
    if not crossing.constraints:
        raise VprError("a pose graph of two drives needs constraints between them")
    parts = crossing.first.part[[c.first for c in crossing.constraints]]
    part = int(np.bincount(parts).argmax())
    used = tuple(c for c, p in zip(crossing.constraints, parts.tolist(), strict=True) if p == part)
    held = np.flatnonzero(crossing.first.part == part)
    tied = np.flatnonzero(np.isin(crossing.second.part, crossing.second.part[[c.second for c in used]]))
    fixed = gtsam.noiseModel.Isotropic.Sigma(6, FIXED)
    base, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    if not move_first:
        held = np.unique([c.first for c in used])
    for row in held.tolist():
        values.insert(FIRST + row, gtsam.Pose3(crossing.first.T[row]))
    for row in held[:1].tolist() if move_first else held.tolist():
        base.add(gtsam.PriorFactorPose3(FIRST + row, gtsam.Pose3(crossing.first.T[row]), fixed))
    if move_first:
        _add_odometry(gtsam, base, FIRST, crossing.first, held, config)
    _add_odometry(gtsam, base, SECOND, crossing.second, tied, config)
    for row, T in zip(tied.tolist(), _laid(tied, used, crossing.first, crossing.second), strict=True):
        values.insert(SECOND + row, gtsam.Pose3(T))
    for loss in (gtsam.noiseModel.mEstimator.Huber, gtsam.noiseModel.mEstimator.Cauchy):
        graph = gtsam.NonlinearFactorGraph(base)
        for c in used:
            noise = gtsam.noiseModel.Gaussian.Covariance(_in_own_axes(c, config))
            noise = gtsam.noiseModel.Robust.Create(loss.Create(config.doubted), noise)
            ends = FIRST + c.first, SECOND + c.second
            graph.add(gtsam.BetweenFactorPose3(*ends, gtsam.Pose3(c.T_first_second), noise))
        values = gtsam.LevenbergMarquardtOptimizer(graph, values).optimize()
    first, second = (np.full_like(course.T, np.nan) for course in (crossing.first, crossing.second))
    for T, key, rows in ((first, FIRST, held), (second, SECOND, tied)):
        for row in rows.tolist():
            T[row] = values.atPose3(key + row).matrix()
    if not move_first:
        own = crossing.first.part == part
        first[own] = crossing.first.T[own]
    measured = first[[c.first for c in used]] @ np.array([c.T_first_second for c in used])
    left = invert(measured) @ second[[c.second for c in used]]
    return Optimised(
        first, second, used, np.linalg.norm(left[:, :3, 3], axis=1), rotation_angle(np.eye(3), left[:, :3, :3])
    )


def load_gtsam() -> Any:
    """The library of pose graphs. Raises VprError where it is not installed."""
    try:
        return import_module("gtsam")
    except ImportError as error:
        raise VprError(
            f"aligning drives by LiDAR needs gtsam ({error}): pip install 'vpr_ros[slam]', with Python 3.11 or later"
        ) from error


def _add_odometry(gtsam: Any, graph: Any, key: int, course: Course, rows: np.ndarray, config: GraphConfig) -> None:
    """Steps between neighbours of rows, but not across a break of odometry."""
    steps = invert(course.T[rows[:-1]]) @ course.T[rows[1:]]
    metres = np.linalg.norm(steps[:, :3, 3], axis=1)
    sigma_m = np.sqrt(config.tremble_m**2 + config.drift_m**2 * metres)
    sigma_rad = np.sqrt(config.tremble_rad**2 + config.drift_rad**2 * metres)
    for at in np.flatnonzero(course.part[rows[:-1]] == course.part[rows[1:]]).tolist():
        noise = gtsam.noiseModel.Diagonal.Sigmas(np.repeat([sigma_rad[at], sigma_m[at]], 3))
        ends = key + int(rows[at]), key + int(rows[at + 1])
        graph.add(gtsam.BetweenFactorPose3(*ends, gtsam.Pose3(steps[at]), noise))


def _in_own_axes(constraint: Constraint, config: GraphConfig) -> np.ndarray:
    """The covariance (6, 6) as gtsam wants it: rotations first, in the axes of the second's base frame."""
    turn = np.kron(np.eye(2), constraint.T_first_second[:3, :3].T)
    extra = np.diag([config.registration_m**2] * 3 + [config.registration_rad**2] * 3)
    order = [3, 4, 5, 0, 1, 2]
    return (turn @ constraint.covariance @ turn.T + extra)[np.ix_(order, order)]


def _laid(rows: np.ndarray, used: tuple[Constraint, ...], first: Course, second: Course) -> np.ndarray:
    """Poses (n, 4, 4) of the second drive's rows in the first one's frame, each by its nearest constraint."""
    ends = np.array([c.second for c in used])
    at = first.T[[c.first for c in used]] @ np.array([c.T_first_second for c in used]) @ invert(second.T[ends])
    gap = np.abs(second.along_m[rows][:, None] - second.along_m[ends][None])
    gap[second.part[rows][:, None] != second.part[ends][None]] = np.inf
    return at[gap.argmin(axis=1)] @ second.T[rows]
