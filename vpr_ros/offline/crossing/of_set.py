"""Pairs of frames across the drives of a training set, by their clouds: what `vpr_ros pairs` writes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, planar_transform, yaw_of
from vpr_ros.lidar import compare, polar_grids
from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.offline.crossing.course import Course, ScannedDrive
from vpr_ros.offline.crossing.finding import Constraint, Crossing, find_crossing
from vpr_ros.training_set.clouds import CloudFiles
from vpr_ros.training_set.pairs import CONFIRMED, DrivePairs
from vpr_ros.training_set.reader import FrameTable

REACH_M = 25.0  # along a drive, from a constraint: so far a frame beside it is placed by the drive's course
BESIDE_M = 15.0  # frames of a drive without positions are paired with all that lie this near
LEAST_FRAMES = 2  # with clouds, of a drive that can be compared
DOUBTED = 10.0  # percentile of the similarities of confirmed pairs, above which others may be pairs, too
APART_M = 25.0  # between two doubtful pairs of one frame


@dataclass(frozen=True)
class SetCrossing:
    """What was found between two drives of a set: the pairs that are written, the number of frames with a cloud that
    each drive has, and the numbers of those that a confirmed pair lies within `REACH_M` of along the drive."""

    pairs: DrivePairs
    city: str
    frames: tuple[int, int]
    placed: tuple[np.ndarray, np.ndarray]


def pairs_of_set(
    table: FrameTable,
    *,
    blind: bool = False,
    config: CrossingConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[SetCrossing]:
    """Every two drives of each city whose poses share no frame, compared by their clouds.

    A drive's course is that of its positions, in a map or by odometry, and by its clouds where some are lacking;
    `blind` hides all positions and compares drives of one map, too. `progress(done, total)` counts registrations, of
    which the total is an estimate until the last two drives. VprError where no two drives have clouds to compare, and
    where small_gicp is not installed.
    """
    config = config or CrossingConfig()
    jobs = _jobs(table, blind)
    if not jobs:
        raise VprError(
            "no two drives of a city can be compared: pairs are looked for between drives with clouds whose poses "
            "share no frame (poses in the map frame already say which frames show one place)"
        )
    drives: dict[int, ScannedDrive] = {}
    found, done, of_pair = [], 0, [0, 0]
    for number, rows in enumerate(jobs):
        for own in rows:
            if int(own[0]) not in drives:
                drives[int(own[0])] = _scanned(table, own, blind)
        first, second = (drives[int(own[0])] for own in rows)
        of_pair[:] = 0, 0
        counted = None if progress is None else partial(_count, progress, of_pair, done, len(jobs) - number)
        crossing = find_crossing(first, second, config, counted)
        found.append(_crossing(table, rows, (first, second), crossing, config))
        done += of_pair[1]
    return found


def _count(
    progress: Callable[[int, int], None], of_pair: list[int], before: int, left: int, step: int, total: int
) -> None:
    """A step of two drives as one of all: those that are left may take as many."""
    of_pair[:] = step, total
    progress(before + step, before + total * left)


def _jobs(table: FrameTable, blind: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows with clouds of every two drives to compare, in the order of their stamps, each stamp once."""
    jobs = []
    seen = np.array([path is not None for path in table.clouds], bool)
    for city in np.unique(table.cities):
        rows = []
        for drive in np.unique(table.drives[table.cities == city]):
            own = np.flatnonzero((table.cities == city) & (table.drives == drive) & seen)
            own = own[np.unique(table.stamps_ns[own], return_index=True)[1]]
            if len(own) >= LEAST_FRAMES:
                rows.append(own)
        for a, b in combinations(rows, 2):
            frames = [set(table.pose_frames[r].tolist()) for r in (a, b)]
            if blind or not (frames[0] == frames[1] and len(frames[0]) == 1 and "" not in frames[0]):
                jobs.append((a, b))
    return jobs


def _scanned(table: FrameTable, rows: np.ndarray, blind: bool) -> ScannedDrive:
    T = None
    posed = table.pose_frames[rows] != ""
    if not blind and posed.all():
        planar = np.column_stack([table.positions_m[rows], table.headings_rad[rows]])
        T = np.array([planar_transform(*pose) for pose in planar.tolist()])
    clouds = CloudFiles([path for path in (table.clouds[row] for row in rows) if path is not None])
    return ScannedDrive(clouds, table.stamps_ns[rows], T, str(table.drives[rows[0]]))


def _crossing(
    table: FrameTable,
    rows: tuple[np.ndarray, np.ndarray],
    drives: tuple[ScannedDrive, ScannedDrive],
    crossing: Crossing,
    config: CrossingConfig,
) -> SetCrossing:
    """The pairs as a set stores them; of drives that do not cross, nothing is known."""
    constraints, courses = crossing.constraints, (crossing.first, crossing.second)
    listed: dict[tuple[int, int], tuple[np.ndarray, float]] = {}
    for one in constraints:
        listed[one.first, one.second] = (_planar(one.T_first_second), max(one.confidence, CONFIRMED))
    if constraints and any((table.pose_frames[r] == "").any() for r in rows):
        _add_beside(listed, constraints, courses)
    near = [_nearest(course, [c[end] for c in map(_ends, constraints)]) for end, course in enumerate(courses)]
    if constraints:
        doubtful = [np.flatnonzero(distance > REACH_M) for distance in near]
        least = float(np.percentile([one.similarity for one in constraints], DOUBTED))
        for pair, similarity in _doubtful(drives, courses, doubtful, least, config):
            listed.setdefault(pair, (np.full(3, np.nan), similarity * CONFIRMED * 0.98))
    keys = sorted(listed)
    numbers = [[table.numbers[rows[0][i]], table.numbers[rows[1][j]]] for i, j in keys]
    pairs = DrivePairs(
        *(drives[0].name, drives[1].name, np.array(numbers, np.int64).reshape(-1, 2)),
        np.array([listed[key][0] for key in keys]).reshape(-1, 3),
        np.array([listed[key][1] for key in keys]),
        examined=bool(constraints),
    )
    placed = [table.numbers[own[distance <= REACH_M]] for own, distance in zip(rows, near, strict=True)]
    city, frames = str(table.cities[rows[0][0]]), (len(rows[0]), len(rows[1]))
    return SetCrossing(pairs, city, frames, (placed[0], placed[1]))


def _ends(constraint: Constraint) -> tuple[int, int]:
    return constraint.first, constraint.second


def _nearest(course: Course, ends: list[int]) -> np.ndarray:
    """Metres (N,) along the course to the nearest of some frames; infinite in parts without any."""
    if not ends:
        return np.full(len(course.part), np.inf)
    gap = np.abs(course.along_m[:, None] - course.along_m[ends][None])
    return np.where(course.part[:, None] == course.part[ends][None], gap, np.inf).min(axis=1)


def _add_beside(
    listed: dict[tuple[int, int], tuple[np.ndarray, float]],
    constraints: tuple[Constraint, ...],
    courses: tuple[Course, Course],
) -> None:
    """All frames within `BESIDE_M` of each other, placed by the nearest constraint: no positions in the set carry a
    pair on to the frames beside it."""
    first, second = courses
    ends = np.array([_ends(one) for one in constraints])
    for row in np.flatnonzero(second.part >= 0).tolist():
        gap = np.abs(second.along_m[ends[:, 1]] - second.along_m[row])
        gap[second.part[ends[:, 1]] != second.part[row]] = np.inf
        at = int(gap.argmin())
        if gap[at] > REACH_M:
            continue
        one = constraints[at]
        T_first_row = one.T_first_second @ invert(second.T[one.second]) @ second.T[row]
        beside = np.flatnonzero(
            (first.part == first.part[one.first])
            & (np.abs(first.along_m - first.along_m[one.first]) <= REACH_M + BESIDE_M)
        )
        T = invert(first.T[beside]) @ first.T[one.first] @ T_first_row
        for other in np.flatnonzero(np.hypot(T[:, 0, 3], T[:, 1, 3]) <= BESIDE_M).tolist():
            listed.setdefault((int(beside[other]), row), (_planar(T[other]), max(one.confidence, CONFIRMED)))


def _doubtful(
    drives: tuple[ScannedDrive, ScannedDrive],
    courses: tuple[Course, Course],
    rows: list[np.ndarray],
    least: float,
    config: CrossingConfig,
) -> list[tuple[tuple[int, int], float]]:
    """Pairs of frames that nothing places, and that are as alike as confirmed ones: the best `APART_M` around.

    `rows` are the frames of either drive that are not placed.
    """
    if not min(map(len, rows)):
        return []
    grids = [polar_grids([drive.clouds[r] for r in own], config.grid) for drive, own in zip(drives, rows, strict=True)]
    similarity, _ = compare(grids[1], grids[0])
    found = []
    along, part = courses[0].along_m[rows[0]], courses[0].part[rows[0]]
    for at, row in enumerate(rows[1].tolist()):
        left = similarity[at].copy()
        while (best := int(left.argmax())) >= 0 and left[best] >= least:
            found.append(((int(rows[0][best]), row), float(left[best])))
            left[(part == part[best]) & (np.abs(along - along[best]) < APART_M)] = -1.0
            left[best] = -1.0
    return found


def _planar(T: np.ndarray) -> np.ndarray:
    return np.array([T[0, 3], T[1, 3], float(yaw_of(T))])
