"""The pose graph of two drives: odometry along them, confirmed registrations across, the first pose fixed."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.crossing import Constraint, Course, Crossing
from vpr_ros.offline.pose_graph import (
    Edge,
    OdometryNoise,
    OptimiserConfig,
    load_gtsam,
    odometry_edges,
    optimise,
    seen_from_second,
)


@dataclass(frozen=True)
class Aligned:
    """Poses of both drives' rows in one frame: first (N, 4, 4) and second (M, 4, 4), NaN where the graph has none.

    `errors_m` and `errors_rad` (K,) are what it leaves of each of `constraints`, those whose first end is in the part
    of the first drive that most constraints hold: another part has another frame.
    """

    first: np.ndarray
    second: np.ndarray
    constraints: tuple[Constraint, ...]
    errors_m: np.ndarray
    errors_rad: np.ndarray


def align_drives(crossing: Crossing, move_first: bool = False, config: OptimiserConfig | None = None) -> Aligned:
    """The most likely poses of the second drive, and with `move_first` of the first one, too.

    The frame is the first drive's odometry: all its poses stay as they are, or with `move_first` only the first of its
    part. Raises VprError without constraints and where gtsam is not installed.
    """
    load_gtsam()
    if not crossing.constraints:
        raise VprError("a pose graph of two drives needs constraints between them")
    parts = crossing.first.part[[c.first for c in crossing.constraints]]
    part = int(np.bincount(parts).argmax())
    used = tuple(c for c, p in zip(crossing.constraints, parts.tolist(), strict=True) if p == part)
    held = np.flatnonzero(crossing.first.part == part)
    if not move_first:
        held = np.unique([c.first for c in used])
    tied = np.flatnonzero(np.isin(crossing.second.part, crossing.second.part[[c.second for c in used]]))
    vertex_of_first = {row: vertex for vertex, row in enumerate(held.tolist())}
    vertex_of_second = {row: len(held) + vertex for vertex, row in enumerate(tied.tolist())}
    edges = _steps(crossing.first, held, 0) if move_first else []
    edges += _steps(crossing.second, tied, len(held))
    for c in used:
        covariance = seen_from_second(c.T_first_second, c.covariance)
        ends = vertex_of_first[c.first], vertex_of_second[c.second]
        edges.append(Edge(*ends, c.T_first_second, covariance, "metric"))
    laid = _laid(tied, used, crossing.first, crossing.second)
    fixed = np.arange(len(held) + len(tied)) < (1 if move_first else len(held))
    found = optimise(np.concatenate([crossing.first.T[held], laid]), fixed, edges, config).poses
    first, second = (np.full_like(course.T, np.nan) for course in (crossing.first, crossing.second))
    first[held], second[tied] = found[: len(held)], found[len(held) :]
    if not move_first:
        own = crossing.first.part == part
        first[own] = crossing.first.T[own]
    measured = first[[c.first for c in used]] @ np.array([c.T_first_second for c in used])
    left = invert(measured) @ second[[c.second for c in used]]
    return Aligned(
        first, second, used, np.linalg.norm(left[:, :3, 3], axis=1), rotation_angle(np.eye(3), left[:, :3, :3])
    )


def _steps(course: Course, rows: np.ndarray, vertex: int) -> list[Edge]:
    """Odometry between neighbours of rows (n,), whose vertices begin at `vertex`, but not across its breaks."""
    cuts = np.flatnonzero(course.part[rows[:-1]] != course.part[rows[1:]]) + 1
    vertices = vertex + np.arange(len(rows))
    pieces = zip(np.split(vertices, cuts), np.split(rows, cuts), strict=True)
    return [edge for piece, own in pieces for edge in odometry_edges(piece, course.T[own], OdometryNoise())]


def _laid(rows: np.ndarray, used: tuple[Constraint, ...], first: Course, second: Course) -> np.ndarray:
    """Poses (n, 4, 4) of the second drive's rows in the first one's frame, each by its nearest constraint."""
    ends = np.array([c.second for c in used])
    at = first.T[[c.first for c in used]] @ np.array([c.T_first_second for c in used]) @ invert(second.T[ends])
    gap = np.abs(second.along_m[rows][:, None] - second.along_m[ends][None])
    gap[second.part[rows][:, None] != second.part[ends][None]] = np.inf
    return at[gap.argmin(axis=1)] @ second.T[rows]
