"""Relative poses between two drives that share no frame: nominated by polar grids, registered, confirmed."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vpr_ros.lidar import compare, polar_grids
from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.offline.crossing.course import Course, ScannedDrive
from vpr_ros.offline.crossing.grouping import Registrations, compare_registrations, groups, supports
from vpr_ros.offline.crossing.growing import grow
from vpr_ros.offline.crossing.nominating import nominate
from vpr_ros.offline.crossing.registering import Registrar
from vpr_ros.verification import Verified


@dataclass(frozen=True)
class Constraint:
    """Row `second` of the second drive as row `first` of the first drive sees it.

    `T_first_second` (4, 4) maps points of the second's base frame into the first's; `covariance` (6, 6) is ordered
    x y z rotX rotY rotZ, for a small motion applied in the first's frame at the second's position. `similarity` of the
    polar grids and `agreement` of the registered clouds go from 0 to 1; `support` counts the constraints nearby that
    say the same, and `confidence` is their share of those nearby.
    """

    first: int
    second: int
    T_first_second: np.ndarray
    covariance: np.ndarray
    similarity: float
    agreement: float
    support: int
    confidence: float


@dataclass(frozen=True)
class Crossing:
    """What two drives have in common, by rows of their clouds; both courses as they were used."""

    constraints: tuple[Constraint, ...]
    first: Course
    second: Course
    nominated: int
    registered: int  # nominations whose clouds can be registered at all


def find_crossing(
    first: ScannedDrive,
    second: ScannedDrive,
    config: CrossingConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Crossing:
    """Confirmed constraints between two drives, at most one for every `spacing_m` of the second; perhaps none.

    A registration counts only where others along both drives say the same, as far as odometry drifts between them. The
    drives may go in opposite directions. `progress(done, total)` counts registrations without a guess. Raises VprError
    where small_gicp is not installed.
    """
    config = config or CrossingConfig()
    courses = (first.course, second.course)
    nominations = nominate((first.clouds, second.clouds), courses, config)
    registrar = Registrar(first.clouds, second.clouds, config)
    kept, transforms = [], []
    for n, (i, j) in enumerate(zip(nominations.first.tolist(), nominations.second.tolist(), strict=True)):
        verified = registrar(i, j)
        if verified.accepted:
            kept.append(n)
            transforms.append(verified.T_keyframe_query)
        if progress is not None:
            progress(n + 1, len(nominations.first))
    T = np.array(transforms).reshape(-1, 4, 4)
    registered = Registrations(nominations.first[kept], nominations.second[kept], T)
    spaced = tuple(np.unique(course.spaced(config.spacing_m)) for course in courses)
    found: dict[tuple[int, int], Verified] = {}
    for group in groups(registered, nominations.margin[kept], courses, config):
        for pair, verified in grow(registered[group], registrar, courses, (spaced[0], spaced[1]), config).items():
            found.setdefault(pair, verified)
    return Crossing(_constraints(found, first, second, courses, config), *courses, len(nominations.first), len(kept))


def _constraints(
    found: dict[tuple[int, int], Verified],
    first: ScannedDrive,
    second: ScannedDrive,
    courses: tuple[Course, Course],
    config: CrossingConfig,
) -> tuple[Constraint, ...]:
    """Those that enough of their neighbours support, by rows of the second drive."""
    pairs = sorted(found, key=lambda pair: pair[::-1])
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    T = np.array([found[pair].T_keyframe_query for pair in pairs]).reshape(-1, 4, 4)
    registrations = Registrations(rows[:, 0], rows[:, 1], T)
    support, nearby = supports(len(rows), compare_registrations(registrations, courses, config))
    constraints = []
    for n, pair in enumerate(pairs):
        verified, share = found[pair], float(support[n] / max(nearby[n], 1))
        if share < config.least_support or verified.covariance is None:
            continue
        grids = [
            polar_grids([drive.clouds[row]], config.grid) for drive, row in zip((first, second), pair, strict=True)
        ]
        similarity = float(compare(grids[1], grids[0])[0][0, 0])
        constraints.append(
            Constraint(*pair, T[n], verified.covariance, similarity, verified.agreement, int(support[n]), share)
        )
    return tuple(constraints)
