"""The figures of place recognition. Shares are fractions in 0..1; the share of an empty set is NaN.

Ties are resolved against the method: of equally similar keyframes the wrong ones come first, and frames of equal
probability are accepted together, so that no figure depends on the order of the input.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

RecallMode = Literal["skip", "miss"]  # queries without a right answer: left out, or counted as failures


def pad_rows(rows: Sequence[Sequence], fill, dtype) -> np.ndarray:
    """Rows of different lengths as one array (Q, longest), filled up with `fill`."""
    out = np.full((len(rows), max((len(r) for r in rows), default=0)), fill, dtype=dtype)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def membership(retrieved: np.ndarray, positives: Sequence[np.ndarray]) -> np.ndarray:
    """(Q, k) bool: is retrieved[q, i] among positives[q]? Padding (negative ids) never is."""
    retrieved = np.asarray(retrieved, np.int64)
    lengths = [len(p) for p in positives]
    if retrieved.size == 0 or sum(lengths) == 0:
        return np.zeros(retrieved.shape, dtype=bool)
    flat = np.concatenate([np.asarray(p, np.int64) for p in positives])
    # One code per (query, id): ids are made compact first, so the product cannot overflow.
    ids, codes = np.unique(np.concatenate([flat, retrieved.ravel()]), return_inverse=True)
    codes = codes.ravel()
    rows = np.repeat(np.arange(len(positives)), lengths)
    codes_wanted = rows * len(ids) + codes[: len(flat)]
    codes_retrieved = np.arange(len(retrieved))[:, None] * len(ids) + codes[len(flat) :].reshape(retrieved.shape)
    return np.isin(codes_retrieved, codes_wanted) & (retrieved >= 0)


def hit_ranks(
    retrieved: np.ndarray, positives: Sequence[np.ndarray], similarities: np.ndarray | None = None
) -> np.ndarray:
    """Rank (Q,) of the first right keyframe in each list, from 1; 0 where the list holds none.

    retrieved (Q, k): keyframe ids, best first, padded with -1; similarities (Q, k) or None. With similarities a right
    keyframe is ranked behind every wrong one that is exactly as similar (ties beyond the list cannot be seen). The
    order is the list's own: local features may have ranked a less similar keyframe first.
    """
    hits = membership(retrieved, positives)
    if hits.size == 0:
        return np.zeros(len(hits), dtype=np.int64)
    first = hits.argmax(axis=1)[:, None]
    ahead = np.arange(hits.shape[1]) < first
    if similarities is not None:
        s = np.nan_to_num(np.asarray(similarities, float), nan=-np.inf)
        ahead |= ~hits & (np.asarray(retrieved) >= 0) & (s == np.take_along_axis(s, first, axis=1))
    return np.where(hits.any(axis=1), ahead.sum(axis=1) + 1, 0)


def recall_at(
    ranks: np.ndarray, ns: Sequence[int], has_positive: np.ndarray, mode: RecallMode = "skip"
) -> dict[int, float]:
    """Recall@N for every N: the share of queries whose first right keyframe has rank <= N.

    ranks (Q,) from `hit_ranks`, has_positive (Q,) bool. Mode "skip" leaves out queries without a right answer (RobotCar
    protocol, and the default), "miss" counts them as failures (protocol of the large image sets).
    """
    ranks, has_positive = np.asarray(ranks), np.asarray(has_positive, bool)
    if mode not in ("skip", "miss"):
        raise ValueError(f"mode must be 'skip' or 'miss', not {mode!r}")
    counted = has_positive if mode == "skip" else np.ones(len(ranks), dtype=bool)
    return {int(n): share(((ranks > 0) & (ranks <= n) & counted).sum(), counted.sum()) for n in ns}


def one_percent(database_size: int) -> int:
    """The N of Recall@1 %: round(K / 100) with half to even, at least 1 (PointNetVLAD protocol)."""
    return max(round(database_size / 100), 1)


def share(part, whole) -> float:
    """part / whole; NaN where whole is 0."""
    return float(part) / float(whole) if whole else float("nan")


@dataclass(frozen=True)
class PrecisionRecall:
    """One point per distinct score, from the strictest threshold to the most lenient; arrays of equal length."""

    thresholds: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    accepted: np.ndarray


def precision_recall(scores: np.ndarray, correct: np.ndarray, on_map_total: int) -> PrecisionRecall:
    """Precision and recall if every answer with score >= threshold were accepted.

    scores (Q,): probability of each best answer, NaN where there is none (never accepted); correct (Q,) bool.
    Precision = right among accepted; recall = right accepted among the `on_map_total` queries that have an answer.
    """
    scores, correct = np.asarray(scores, float), np.asarray(correct, bool)
    usable = np.isfinite(scores)
    scores, correct = scores[usable], correct[usable]
    order = np.argsort(-scores, kind="stable")
    scores, correct = scores[order], correct[order]
    last_of_group = np.append(scores[1:] != scores[:-1], True)[: len(scores)]
    accepted = np.arange(1, len(scores) + 1)[last_of_group]
    right = np.cumsum(correct)[last_of_group]
    recall = right / on_map_total if on_map_total else np.full(len(right), np.nan)
    return PrecisionRecall(scores[last_of_group], right / np.maximum(accepted, 1), recall, accepted)


def average_precision(curve: PrecisionRecall) -> float:
    """Area under the stepwise curve: the sum of precision times the growth of recall (no interpolation)."""
    if not len(curve.recall) or np.isnan(curve.recall).any():
        return float("nan")
    return float(np.sum(np.diff(curve.recall, prepend=0.0) * curve.precision))


def recall_at_precision(curve: PrecisionRecall, target: float = 1.0) -> tuple[float, float | None]:
    """Largest recall whose precision reaches `target`, and its threshold; (0, None) if none does."""
    good = np.flatnonzero(curve.precision >= target)
    if not len(good) or np.isnan(curve.recall).any():
        return (float("nan") if np.isnan(curve.recall).any() else 0.0), None
    i = good[np.argmax(curve.recall[good])]
    return float(curve.recall[i]), float(curve.thresholds[i])


@dataclass(frozen=True)
class Reliability:
    """Agreement of stated probabilities with outcomes: bins of equal width over 0..1 (NaN in empty bins)."""

    edges: np.ndarray
    counts: np.ndarray
    mean_probability: np.ndarray
    fraction_correct: np.ndarray
    calibration_error: float  # count-weighted mean gap between the two
    brier: float  # mean squared difference of probability and outcome


def reliability(probabilities: np.ndarray, correct: np.ndarray, bins: int = 10) -> Reliability:
    """Expected calibration error and Brier score of answers (Q,) with a probability; NaN ones are left out.

    Bins are [a, b), the last one closed, so that probability 1 belongs to it.
    """
    p, y = np.asarray(probabilities, float), np.asarray(correct, bool)
    usable = np.isfinite(p)
    p, y = np.clip(p[usable], 0.0, 1.0), y[usable].astype(float)
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_p = np.bincount(index, weights=p, minlength=bins) / counts
        mean_y = np.bincount(index, weights=y, minlength=bins) / counts
    gap = np.nansum(counts * np.abs(mean_p - mean_y))
    brier = float(np.mean((p - y) ** 2)) if len(p) else float("nan")
    return Reliability(edges, counts, mean_p, mean_y, share(gap, len(p)), brier)


def wilson_interval(successes: np.ndarray, total: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of a share (Wilson's score interval); (0, 1) where total is 0. Frames are taken as independent."""
    k, n = np.asarray(successes, float), np.asarray(total, float)
    safe = np.maximum(n, 1)
    p = k / safe
    centre = (p + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z / (1 + z**2 / safe) * np.sqrt(p * (1 - p) / safe + z**2 / (4 * safe**2))
    return np.where(n > 0, np.clip(centre - half, 0, 1), 0.0), np.where(n > 0, np.clip(centre + half, 0, 1), 1.0)
