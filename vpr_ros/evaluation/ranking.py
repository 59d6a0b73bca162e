"""Exact search: distances between descriptors, and the rank of the first right answer; ties count against the method.

The measure is part of a protocol: on the same embeddings, Euclidean distance of raw rows and cosine rank differently
(by 20 points on made-up data, METHODS §3.7), so every figure says which one it used.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import rows_within, turn_between

Measure = Literal["euclidean", "cosine", "l1"]
MEASURES: dict[Measure, str] = {
    "euclidean": "Euclidean distance of raw embeddings",
    "cosine": "cosine of normalised embeddings",
    "l1": "L1 distance of raw embeddings",
}


@dataclass(frozen=True)
class OwnMeasure:
    """A model's own way to compare its embeddings: (Q, D), (K, D) -> similarities (Q, K), larger = more alike."""

    name: str
    described: str
    similarities: Callable[[np.ndarray, np.ndarray], np.ndarray]


# Rows that are equal come out of a matrix product with distances that differ in the last bits: what lies this near,
# relative to the squared lengths, is a tie. This is far below the resolution of single-precision embeddings.
TIE = 1e-12
HEADING_TOLERANCE_RAD = 1e-9  # a turn of exactly the limit counts in spite of rounding


def checked(embeddings: np.ndarray, what: str = "the embeddings") -> np.ndarray:
    """(N, D) float64. VprError for another shape, or for numbers that are not finite."""
    rows = np.asarray(embeddings, dtype=np.float64)
    if rows.ndim != 2:
        raise VprError(f"{what} must be a table of (N, D) numbers, not of shape {rows.shape}.")
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise VprError(f"{what} hold numbers that are not finite, first in row {bad}: the network has diverged.")
    return rows


def measure_named(name: str) -> Measure:
    """The measure of that name; VprError, which lists all names, for another one."""
    for measure in MEASURES:
        if measure == name:
            return measure
    raise VprError(f"'{name}' is not a measure: choose one of {', '.join(MEASURES)}.")


def name_of(measure: Measure | OwnMeasure) -> str:
    """The measure's name."""
    return measure.name if isinstance(measure, OwnMeasure) else measure


def described(measure: Measure | OwnMeasure) -> str:
    """The measure in words."""
    return measure.described if isinstance(measure, OwnMeasure) else MEASURES[measure]


def distances(
    queries: np.ndarray, database: np.ndarray, measure: Measure | OwnMeasure = "euclidean"
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (Q, K) float64, smaller = more alike, and per query (Q, 1) the difference that still is a tie.

    "euclidean" gives squared distances (same order, no root), "cosine" one minus the cosine (a zero row has cosine 0
    with everything), "l1" the sum of absolute differences, a model's own its negated similarities. VprError for another
    measure or widths that differ.
    """
    a, b = checked(queries, "the query embeddings"), checked(database, "the database embeddings")
    if a.shape[1] != b.shape[1]:
        raise VprError(f"queries have {a.shape[1]} numbers, the database {b.shape[1]}: describe both with one model.")
    if isinstance(measure, OwnMeasure):
        return -measure.similarities(a, b), np.full((len(a), 1), TIE)
    measure = measure_named(measure)
    if measure == "l1":
        import torch

        found = torch.cdist(torch.from_numpy(a), torch.from_numpy(b), p=1).numpy()
        return found, TIE * (np.abs(a).sum(1, keepdims=True) + np.abs(b).sum(1).max(initial=0.0))
    if measure == "cosine":
        unit = [x / np.where((n := np.linalg.norm(x, axis=1, keepdims=True)) > 0, n, 1.0) for x in (a, b)]
        return 1.0 - unit[0] @ unit[1].T, np.full((len(a), 1), TIE)
    # A common offset changes no distance but costs digits: the squares below are taken about the mean.
    centre = b.mean(axis=0) if len(b) else 0.0
    a, b = a - centre, b - centre
    squares_a, squares_b = np.einsum("qd,qd->q", a, a)[:, None], np.einsum("kd,kd->k", b, b)
    found = np.maximum(squares_a + squares_b - 2.0 * (a @ b.T), 0.0)
    return found, TIE * (squares_a + squares_b.max(initial=0.0))


def best_distances(found: np.ndarray, measure: Measure | OwnMeasure) -> np.ndarray:
    """Distance (Q,) of each query's nearest row, in the usual form of the measure: Euclidean ones with their root."""
    best = found.min(axis=1)
    return np.sqrt(best) if measure == "euclidean" else best


def first_ranks(found: np.ndarray, right: np.ndarray, tie: np.ndarray | float = 0.0) -> np.ndarray:
    """Rank (Q,) from 1 of the nearest right answer among distances (Q, K); 0 where `right` (Q, K) bool has none.

    Every wrong answer that is as near, or farther by no more than `tie`, is counted ahead of it.
    """
    has = right.any(axis=1)
    best = np.where(right, found, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    ahead = (~right & (found <= best + tie)).sum(axis=1)
    return np.where(has, ahead + 1, 0).astype(np.int64)


def mask_of(lists: Sequence[np.ndarray], size: int) -> np.ndarray:
    """(Q, size) bool with a True at every listed row; VprError for a row outside the database."""
    mask = np.zeros((len(lists), size), dtype=bool)
    for q, rows in enumerate(lists):
        rows = np.asarray(rows, dtype=np.int64).ravel()
        if len(rows) and (rows.min() < 0 or rows.max() >= size):
            raise VprError(
                f"query {q} names database row {int(rows.max() if rows.max() >= size else rows.min())}, but there are "
                f"{size} rows: the index lists belong to another database."
            )
        mask[q, rows] = True
    return mask


def near(
    query_xy: np.ndarray,
    database_xy: np.ndarray,
    radius_m: float,
    query_heading: np.ndarray | None = None,
    database_heading: np.ndarray | None = None,
    heading_rad: float | None = None,
) -> np.ndarray:
    """(Q, K) bool: positions (N, 2) within `radius_m` of each other, inclusive, and with headings at most `heading_rad`
    apart where it is given. NaN is far from everything."""
    result = mask_of(rows_within(database_xy, query_xy, radius_m), len(database_xy))
    if heading_rad is not None:
        if query_heading is None or database_heading is None:
            raise VprError("a limit on the heading needs the headings of all frames; leave the limit out.")
        turn = turn_between(np.asarray(query_heading, float)[:, None], np.asarray(database_heading, float))
        result &= turn <= heading_rad + HEADING_TOLERANCE_RAD
    return result
