"""Which samples show the same place, which do not, and which pairs are left out, for sampling and losses.

Masks (B, B) are of the pairs of a batch. Pairs that are neither positive nor negative do not enter the loss. The
published radii of PointNetVLAD's benchmark (METHODS section 6.1): positives within 10 m (12.5 m in the refined sets),
negatives farther than 50 m.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vpr_ros.geometry import turn_between
from vpr_ros.training.data.sample import SampleSet

POSITIVE_M, REFINED_POSITIVE_M, NON_NEGATIVE_M = 10.0, 12.5, 50.0


def masks_by_place(places: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of positive and negative pairs by numbers of places (B,); two copies of a row (B,) are neither."""
    same = places[:, None] == places[None]
    return same & (rows[:, None] != rows[None]), ~same


def masks_by_position(
    positions_m: Tensor,
    areas: Tensor,
    rows: Tensor,
    *,
    positive_m: float = POSITIVE_M,
    non_negative_m: float = NON_NEGATIVE_M,
) -> tuple[Tensor, Tensor]:
    """Masks of positive and negative pairs by position alone, as PointNetVLAD's benchmark has them.

    positions_m (B, 2) in one frame per area; areas (B,) and rows (B,) whole numbers. Positive: same area and at most
    `positive_m` apart, but never two copies of one row. Negative: everything else in the batch that is not within
    `non_negative_m` in the same area.
    """
    distance, same_area = _distances(positions_m), areas[:, None] == areas[None]
    positive = same_area & (distance <= positive_m) & (rows[:, None] != rows[None])
    return positive, ~(same_area & (distance <= non_negative_m))


def masks_by_pose(
    positions_m: Tensor,
    headings_rad: Tensor | None,
    areas: Tensor,
    *,
    positive_m: float,
    positive_rad: float,
    negative_m: float,
    negative_rad: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Masks of positive and negative pairs by position (B, 2) and heading (B,); without headings by position alone.

    Positive: same area, at most `positive_m` apart and turned by at most `positive_rad`; never a frame with itself.
    Negative: another area, `negative_m` or more apart, or looking another way by `negative_rad` or more. Pairs
    between the two are neither: a camera sees much of the same street from there.
    """
    distance, same_area = _distances(positions_m), areas[:, None] == areas[None]
    positive, negative = same_area & (distance <= positive_m), ~same_area | (distance >= negative_m)
    if headings_rad is not None:
        gap = headings_rad[:, None] - headings_rad[None]
        turn = torch.remainder(gap + torch.pi, 2 * torch.pi).sub(torch.pi).abs()
        positive, negative = positive & (turn <= positive_rad), negative | (turn >= negative_rad)
    return positive.fill_diagonal_(False), negative


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


def same_place(
    samples: SampleSet, a: np.ndarray, b: np.ndarray, radius_m: float, heading_rad: float | None
) -> np.ndarray:
    """Whether rows `a` and `b` of one area, of shapes that broadcast, are at most `radius_m` and `heading_rad` apart.

    Without a limit on headings, or where the set has no headings, the position alone decides.
    """
    gap = samples.positions_m[a] - samples.positions_m[b]
    near = np.hypot(gap[..., 0], gap[..., 1]) <= radius_m
    if samples.headings_rad is None or heading_rad is None:
        return near
    return near & (turn_between(samples.headings_rad[a], samples.headings_rad[b]) <= heading_rad)


def _distances(positions_m: Tensor) -> Tensor:
    """Exact distances (B, B) between positions (B, 2)."""
    xy = positions_m.double()
    return torch.cdist(xy, xy, compute_mode="donot_use_mm_for_euclid_dist")
