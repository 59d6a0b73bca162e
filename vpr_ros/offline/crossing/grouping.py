"""Registrations that say the same along both drives: a single one may be one house further, a chain is not."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.offline.crossing.course import Course


@dataclass(frozen=True)
class Registrations:
    """Rows first (M,) and second (M,) of the drives, T_first_second (M, 4, 4)."""

    first: np.ndarray
    second: np.ndarray
    T: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, chosen: np.ndarray) -> "Registrations":
        return Registrations(self.first[chosen], self.second[chosen], self.T[chosen])


@dataclass(frozen=True)
class Comparisons:
    """Pairs p < q (E,) of registrations that are near one another along both drives, and whether they say the same."""

    p: np.ndarray
    q: np.ndarray
    same: np.ndarray


def compare_registrations(found: Registrations, courses: tuple[Course, Course], config: CrossingConfig) -> Comparisons:
    """Each registration carried by both odometries to every other one within the window, as far as they drift there."""
    first, second = courses
    order = np.argsort(second.along_m[found.second], kind="stable")
    along = second.along_m[found.second[order]]
    ends = np.searchsorted(along, along + config.window_m, side="right")
    counts = np.maximum(ends - np.arange(len(along)) - 1, 0)
    p = np.repeat(np.arange(len(along)), counts)
    q = p + 1 + np.arange(len(p)) - np.repeat(np.cumsum(counts) - counts, counts)
    p, q = order[p], order[q]
    way_m = np.maximum(
        np.abs(first.along_m[found.first[p]] - first.along_m[found.first[q]]),
        np.abs(second.along_m[found.second[p]] - second.along_m[found.second[q]]),
    )
    near = (
        (way_m <= config.window_m)
        & (first.part[found.first[p]] == first.part[found.first[q]])
        & (second.part[found.second[p]] == second.part[found.second[q]])
    )
    p, q, way_m = p[near], q[near], way_m[near]
    apart_m, turned_rad = difference(found, p, q, courses)
    same = (apart_m <= config.tolerance_m + config.drift * way_m) & (
        turned_rad <= config.tolerance_rad + config.drift_rad * np.sqrt(way_m)
    )
    return Comparisons(p, q, same)


def difference(
    found: Registrations, p: np.ndarray, q: np.ndarray, courses: tuple[Course, Course]
) -> tuple[np.ndarray, np.ndarray]:
    """Metres and radians (E,) between registrations q and what p say about the same frames through both odometries."""
    carried = carry(found[p], found.first[q], found.second[q], courses)
    error = invert(carried) @ found.T[q]
    return np.linalg.norm(error[:, :3, 3], axis=1), rotation_angle(np.eye(3), error[:, :3, :3])


def carry(known: Registrations, first: np.ndarray, second: np.ndarray, courses: tuple[Course, Course]) -> np.ndarray:
    """T_first_second (E, 4, 4) of rows first (E,) and second (E,), by registrations (E) near them and odometry."""
    of_first, of_second = (course.T for course in courses)
    back = invert(of_first[first]) @ of_first[known.first]
    return back @ known.T @ invert(of_second[known.second]) @ of_second[second]


def supports(count: int, compared: Comparisons) -> tuple[np.ndarray, np.ndarray]:
    """For each of `count` registrations how many others nearby say the same, and how many there are."""
    ends = np.concatenate([compared.p, compared.q])
    same = np.concatenate([compared.same, compared.same])
    return np.bincount(ends[same], minlength=count), np.bincount(ends, minlength=count)


def groups(
    found: Registrations, margin: np.ndarray, courses: tuple[Course, Course], config: CrossingConfig
) -> list[np.ndarray]:
    """Rows of registrations that confirm one another, the group of most evidence first.

    Chains of registrations that say the same are groups. The evidence of a group is the sum of its frames' margins: in
    a street of equal houses a wrong group is as long as a right one, but nothing sets it apart, so that it takes a long
    one, and one that goes round a corner. A group is left out where a better one contradicts it.
    """
    compared = compare_registrations(found, courses, config)
    p, q = compared.p[compared.same], compared.q[compared.same]
    links = coo_matrix((np.ones(len(p)), (p, q)), shape=(len(found), len(found)))
    label = connected_components(links, directed=False)[1]
    ranked: list[tuple[float, np.ndarray]] = []
    for value in range(int(label.max(initial=-1)) + 1):
        rows = np.flatnonzero(label == value)
        along = courses[1].along_m[found.second[rows]]
        evidence_m = config.every * config.spacing_m * _evidence(found.second[rows], margin[rows])
        if np.ptp(along) >= config.least_length_m and evidence_m >= config.least_evidence_m:
            ranked.append((evidence_m, rows))
    ranked.sort(key=lambda each: -each[0])
    kept: list[np.ndarray] = []
    for _, rows in ranked:
        if not any(_contradict(found[rows], found[other], courses, config) for other in kept):
            kept.append(rows)
    return kept


def _evidence(second: np.ndarray, margin: np.ndarray) -> float:
    """Sum over frames of the second drive of their best margin."""
    best: dict[int, float] = {}
    for row, value in zip(second.tolist(), margin.tolist(), strict=True):
        best[row] = max(value, best.get(row, -1.0))
    return sum(best.values())


def _contradict(a: Registrations, b: Registrations, courses: tuple[Course, Course], config: CrossingConfig) -> bool:
    """Whether most frames that both groups hold lie at two places, which odometry of the first drive tells apart."""
    _, in_a, in_b = np.intersect1d(a.second, b.second, return_indices=True)
    if not len(in_a):
        return False
    carried = carry(a[in_a], b.first[in_b], b.second[in_b], courses)
    apart_m = np.linalg.norm((invert(carried) @ b.T[in_b])[:, :3, 3], axis=1)
    along, part = courses[0].along_m, courses[0].part
    way_m = np.abs(along[a.first[in_a]] - along[b.first[in_b]])
    told = part[a.first[in_a]] == part[b.first[in_b]]
    return bool((told & (apart_m > config.tolerance_m + config.drift * way_m)).mean() > 0.5)
