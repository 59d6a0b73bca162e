"""Readings of local features for retrieved keyframes: which candidates are matched, and how each stands to its rivals.

Local evidence is strong where pictures have pixels and misleads where they have none, so it is never taken alone: its
readings stand beside those of the descriptors, and the calibration weighs them together (`EvidenceModel`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.local_features.matching import epipolar_inliers, mutual_matches

PER_PLACE = (
    3  # candidates of one place: the others are for its rivals, without which no number of matches says anything
)
CELL = 64.0  # pixels of a picture that one keypoint stands for, whatever it was enlarged to
NOTHING = -1e3  # reading of a keyframe that was not matched: below every knot
KINDS = 5  # of local evidence


@dataclass(frozen=True)
class Counts:
    """What matching a query with C keyframes gave."""

    matches: np.ndarray  # (C,) mutual nearest keypoints
    inliers: np.ndarray  # (C,) of them that agree on one epipolar geometry
    capacity: np.ndarray  # (C,) keypoints that the smaller picture has room for

    @classmethod
    def of(cls, query: LocalFeatures, keyframes: Sequence[LocalFeatures]) -> "Counts":
        """Of a query and keyframes (C,)."""
        rows: list[tuple[int, int, float]] = []
        for keyframe in keyframes:
            pairs = mutual_matches(query, keyframe)
            rows.append((len(pairs), int(epipolar_inliers(query, keyframe, pairs).sum()), _capacity(query, keyframe)))
        return cls(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)

    @classmethod
    def together(cls, parts: Sequence["Counts"]) -> "Counts":
        """Of all keyframes of the parts, in their order."""
        columns = [(one.matches, one.inliers, one.capacity) for one in parts]
        return cls(*(np.concatenate(column) for column in zip(*columns, strict=True)))


def _capacity(*pictures: LocalFeatures) -> float:
    return min(min(len(one), one.size[0] * one.size[1] / CELL) for one in pictures) + 1.0


def choose_candidates(order: np.ndarray, distinct: np.ndarray, most: int) -> np.ndarray:
    """Which retrieved keyframes to match: rows (C,) of a retrieval, in `order` (k,), at most PER_PLACE of one place.

    `distinct` (k, k): which pairs are known to be distinct places.
    """
    chosen: list[int] = []
    for row in order.tolist():
        if len(chosen) == most:
            break
        if sum(not distinct[row, other] for other in chosen) < PER_PLACE:
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)


def local_readings(counts: Counts, matched: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """Readings (k, KINDS) of retrieved keyframes, of which the rows `matched` (C,) were matched.

    The logarithm of the inliers, its lead over the best distinct place that was matched, the same lead of all matches,
    minus the logarithm of how many keypoints the smaller picture has room for, and whether a keyframe was not matched.
    Where no rival was matched, as in a map of a few keyframes, the least of what was matched stands for it.
    """
    out = np.full((len(distinct), KINDS), NOTHING)
    out[:, -1] = 1.0
    rivals = distinct[np.ix_(matched, matched)]
    inliers, matches = np.log1p(counts.inliers), np.log1p(counts.matches)
    leads = (_lead(inliers, rivals), _lead(matches, rivals))
    out[matched] = np.column_stack([inliers, *leads, -np.log(counts.capacity), np.zeros(len(matched))])
    return out


def _lead(counts: np.ndarray, rivals: np.ndarray) -> np.ndarray:
    """By how much each of the counts (C,) exceeds that of its best rival, by pairs (C, C), or the least of all."""
    best: np.ndarray = np.where(rivals, counts[None], -np.inf).max(axis=1, initial=-np.inf)
    least: float = counts.min(initial=np.inf)
    return counts - np.where(np.isfinite(best), best, least)
