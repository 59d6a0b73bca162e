"""Which elements of a batch are positives and which are negatives of one another, for metric-learning losses.

What is neither lies between the two radii and teaches nothing. The published radii (METHODS §6.1): positives within
10 m (12.5 m in the refined sets), negatives farther than 50 m, both bounds counted as near.
"""

from collections.abc import Sequence

import numpy as np

POSITIVE_M, REFINED_POSITIVE_M, NON_NEGATIVE_M = 10.0, 12.5, 50.0


def masks_by_distance(
    positions_m: np.ndarray, areas: np.ndarray, positive_m: float = POSITIVE_M, non_negative_m: float = NON_NEGATIVE_M
) -> tuple[np.ndarray, np.ndarray]:
    """Masks (B, B) bool: positives[i, j] within `positive_m` of i in its area, j != i; negatives: not within the other.

    positions_m (B, 2), areas (B,): elements of different areas are negatives at any distance.
    """
    xy, areas = np.asarray(positions_m, np.float64), np.asarray(areas)
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    same = areas[:, None] == areas[None]
    positives = same & (distance <= positive_m)
    np.fill_diagonal(positives, False)
    return positives, ~(same & (distance <= non_negative_m))


def masks_by_lists(
    rows: Sequence[int], positives: Sequence[np.ndarray], non_negatives: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Masks (B, B) bool from a split's lists: positives[i, j] where rows[j] is a positive of rows[i], negatives where
    it is not among its non-negatives. A row is never its own positive or negative, whatever the lists say."""
    drawn = np.asarray(rows, np.int64)
    is_positive = np.stack([np.isin(drawn, positives[i]) for i in drawn])
    is_negative = np.stack([~np.isin(drawn, non_negatives[i]) for i in drawn])
    itself = drawn[:, None] == drawn[None]
    return is_positive & ~itself, is_negative & ~itself


def within(positions_m: np.ndarray, radius_m: float, of: np.ndarray | None = None) -> list[np.ndarray]:
    """For each position (N, 2) the sorted indices of those `of` (M, 2; default: the same) at most `radius_m` away.

    A position is among its own neighbours. Memory is bounded: candidates are found along the first axis, by sorting.
    """
    queries = np.asarray(positions_m, np.float64).reshape(-1, 2)
    targets = queries if of is None else np.asarray(of, np.float64).reshape(-1, 2)
    order = np.argsort(targets[:, 0], kind="stable")
    ordered = targets[order]
    # A little wider than the radius: the exact test below decides, not the rounding of the bounds.
    slack = radius_m * (1 + 1e-9) + 1e-6
    low = np.searchsorted(ordered[:, 0], queries[:, 0] - slack)
    high = np.searchsorted(ordered[:, 0], queries[:, 0] + slack)
    found = []
    for query, a, b in zip(queries, low, high, strict=True):
        near = np.sqrt(((ordered[a:b] - query) ** 2).sum(axis=1)) <= radius_m
        found.append(np.sort(order[a:b][near]))
    return found
