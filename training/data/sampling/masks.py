"""Which samples show the same place, which do not, and which pairs are left out, for sampling and losses.

Masks (B, B) bool are of the pairs of a batch. Pairs that are neither positive nor negative do not enter the loss. The
published radii of PointNetVLAD's benchmark (METHODS section 6.1): positives within 10 m (12.5 m in the refined sets),
negatives farther than 50 m.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vpr_ros.training.data.nearness import Gaps

POSITIVE_M, REFINED_POSITIVE_M, NON_NEGATIVE_M = 10.0, 12.5, 50.0


def masks_by_place(places: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of positive and negative pairs by numbers of places (B,); two copies of a row (B,) are neither."""
    same = places[:, None] == places[None]
    return same & (rows[:, None] != rows[None]), ~same


def masks_by_position(
    gaps: Gaps, rows: np.ndarray, *, positive_m: float = POSITIVE_M, non_negative_m: float = NON_NEGATIVE_M
) -> tuple[Tensor, Tensor]:
    """Masks of positive and negative pairs by distance alone, as PointNetVLAD's benchmark has them.

    `gaps` (B, B) of the rows (B,). Positive: at most `positive_m` apart, but never two copies of one row. Negative:
    farther than `non_negative_m`, or of another area.
    """
    positive = gaps.near(positive_m) & (rows[:, None] != rows[None])
    return torch.from_numpy(positive), torch.from_numpy(gaps.least_m > non_negative_m)


def masks_by_pose(
    gaps: Gaps, *, positive_m: float, positive_rad: float, negative_m: float, negative_rad: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Masks of positive and negative pairs by distance and heading; without headings by distance alone.

    `gaps` (B, B). Positive: at most `positive_m` apart and turned by at most `positive_rad`; never a frame with itself.
    Negative: another area, `negative_m` or more apart, or looking another way by `negative_rad` or more. Pairs
    between the two are neither: a camera sees much of the same street from there.
    """
    positive, negative = gaps.near(positive_m, positive_rad), gaps.least_m >= negative_m
    if gaps.turn_rad is not None:
        negative |= gaps.turn_rad >= negative_rad
    np.fill_diagonal(positive, False)
    return torch.from_numpy(positive), torch.from_numpy(negative)


def masks_by_lists(
    rows: Sequence[int], positives: Sequence[np.ndarray], non_negatives: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Masks (B, B) bool from a split's lists: positives[i, j] where rows[j] is a positive of rows[i], negatives where
    it is not among its non-negatives. A row is never its own positive or negative, even where the lists contain it."""
    drawn = np.asarray(rows, np.int64)
    is_positive = np.stack([np.isin(drawn, positives[i]) for i in drawn])
    is_negative = np.stack([~np.isin(drawn, non_negatives[i]) for i in drawn])
    itself = drawn[:, None] == drawn[None]
    return is_positive & ~itself, is_negative & ~itself
