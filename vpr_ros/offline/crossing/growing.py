"""From a few confirmed registrations to all frames around them: each tells where its neighbours are."""

import numpy as np

from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.offline.crossing.course import Course
from vpr_ros.offline.crossing.grouping import Registrations, carry
from vpr_ros.offline.crossing.registering import Registrar
from vpr_ros.verification import Verified


def grow(
    group: Registrations,
    registrar: Registrar,
    courses: tuple[Course, Course],
    rows: tuple[np.ndarray, np.ndarray],
    config: CrossingConfig,
) -> dict[tuple[int, int], Verified]:
    """Registrations of the second drive's rows in and beside a confirmed group, each with the first's nearest row.

    Each begins where its nearest registered neighbour and odometry say, and is kept where it stays there.
    """
    along, part = courses[1].along_m, courses[1].part
    chosen = rows[1][np.isin(part[rows[1]], part[group.second])]
    found: dict[int, tuple[int, Verified]] = {}
    for direction in (1, -1):
        anchors = {int(row): n for n, row in enumerate(group.second)}
        last: Registrations | None = None
        for row in chosen[::direction].tolist():
            if row in anchors:
                last = group[np.array([anchors[row]])]
            if row in found:
                first, verified = found[row]
                last = _one(first, row, verified)
            elif last is not None and abs(along[row] - along[last.second[0]]) <= config.grow_m:
                grown = _registered(last, row, registrar, courses, rows[0], config)
                if grown is not None:
                    found[row] = grown
                    last = _one(grown[0], row, grown[1])
    return {(first, row): verified for row, (first, verified) in found.items()}


def _one(first: int, second: int, verified: Verified) -> Registrations:
    return Registrations(np.array([first]), np.array([second]), np.asarray(verified.T_keyframe_query)[None])


def _registered(
    known: Registrations,
    second: int,
    registrar: Registrar,
    courses: tuple[Course, Course],
    rows: np.ndarray,
    config: CrossingConfig,
) -> tuple[int, Verified] | None:
    """The nearest row of the first drive and the registration with it; None where there is none or it slips away."""
    course = courses[0]
    way_m = np.abs(course.along_m[rows] - course.along_m[known.first[0]])
    near = rows[(way_m <= 2 * config.grow_m) & (course.part[rows] == course.part[known.first[0]])]
    guesses = carry(known[np.zeros(len(near), int)], near, np.full(len(near), second), courses)
    apart_m = np.linalg.norm(guesses[:, :3, 3], axis=1)
    nearest = int(apart_m.argmin())
    if apart_m[nearest] > config.grow_m:
        return None
    verified = registrar(int(near[nearest]), second, guesses[nearest])
    if not verified.accepted or verified.T_keyframe_query is None:
        return None
    error = invert(guesses[nearest]) @ verified.T_keyframe_query
    way = max(way_m[rows == near[nearest]][0], abs(courses[1].along_m[second] - courses[1].along_m[known.second[0]]))
    slipped = np.linalg.norm(error[:3, 3]) > config.tolerance_m + config.drift * way
    turned = rotation_angle(np.eye(3), error[:3, :3]) > config.tolerance_rad + config.drift_rad * np.sqrt(way)
    return None if slipped or turned else (int(near[nearest]), verified)
