"""Which places of the first drive a frame of the second may show: polar grids, averaged along both drives."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.lidar import compare, polar_grids
from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.offline.crossing.course import Course


@dataclass(frozen=True)
class Nominations:
    """Pairs of frames that may show one place: rows first (M,) and second (M,) of the drives.

    `margin` (M,) is how much more alike the stretches around the pair are than the second's is to any place elsewhere
    on the first drive: negative where another place is more alike.
    """

    first: np.ndarray
    second: np.ndarray
    margin: np.ndarray


def nominate(
    clouds: tuple[Sequence[np.ndarray], Sequence[np.ndarray]], courses: tuple[Course, Course], config: CrossingConfig
) -> Nominations:
    """At most `candidates` places of the first drive for frames of the second, at least four spacings apart.

    One frame is ambiguous, a stretch is less so: similarities are averaged over the frames before and behind, in the
    same direction of travel and in the other, and the more alike one counts.
    """
    rows = [course.spaced(config.spacing_m) for course in courses]
    if not min(len(r) for r in rows):
        none = np.zeros(0, np.int64)
        return Nominations(none, none, np.zeros(0))
    similarity = _similarity([clouds[0][row] for row in rows[0]], [clouds[1][row] for row in rows[1]], config)
    reach = round(config.sequence_m / config.spacing_m)
    alike = np.maximum(along_diagonals(similarity, reach), along_diagonals(similarity[:, ::-1], reach)[:, ::-1])
    elsewhere = _elsewhere(courses[0], rows[0], config)
    found: dict[tuple[int, int], float] = {}
    for at in range(0, len(rows[1]), config.every):
        left = alike[at].copy()
        for _ in range(config.candidates):
            best = int(left.argmax())
            if left[best] < 0:
                break
            margin = float(left[best] - alike[at][elsewhere[best]].max(initial=0.0))
            if margin >= config.least_margin:
                found.setdefault((int(rows[0][best]), int(rows[1][at])), margin)
            left[max(0, best - 4) : best + 5] = -1.0
    pairs = np.array(list(found), np.int64).reshape(-1, 2)
    return Nominations(pairs[:, 0], pairs[:, 1], np.array(list(found.values())))


def _similarity(first: Sequence[np.ndarray], second: Sequence[np.ndarray], config: CrossingConfig) -> np.ndarray:
    """(N2, N1) of two drives' clouds: a cloud of the second one also counts as if seen from beside, since a grid knows
    no other lane."""
    there = polar_grids(first, config.grid)
    beside = [[cloud - np.array([0.0, y, 0.0], np.float32) for cloud in second] for y in config.beside_m]
    return np.max([compare(polar_grids(seen, config.grid), there)[0] for seen in beside], axis=0)


def along_diagonals(values: np.ndarray, reach: int) -> np.ndarray:
    """Means (N, M) of values (N, M) at [n + d, m + d] for d from -reach to reach, as far as there are any."""
    n, m = values.shape
    total, count = np.zeros((n, m)), np.zeros((n, m))
    for d in range(-min(reach, n - 1, m - 1), min(reach, n - 1, m - 1) + 1):
        to = (slice(max(0, -d), n - max(0, d)), slice(max(0, -d), m - max(0, d)))
        of = (slice(max(0, d), n + min(0, d)), slice(max(0, d), m + min(0, d)))
        total[to] += values[of]
        count[to] += 1
    return total / count


def _elsewhere(course: Course, rows: np.ndarray, config: CrossingConfig) -> np.ndarray:
    """Which places (K, K) are others than a place; the drive may have come back to it, as far as odometry can tell."""
    position, along, part = course.T[rows, :3, 3], course.along_m[rows], course.part[rows]
    apart_m = np.linalg.norm(position[:, None] - position[None], axis=2)
    way_m = np.abs(along[:, None] - along[None])
    told = part[:, None] == part[None]
    return np.where(told, apart_m - config.drift * way_m, way_m) > config.elsewhere_m
