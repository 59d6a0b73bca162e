"""Is one model better than another? Paired differences over test areas, with an interval and a permutation test.

The unit is the area (a test city): frames and run pairs of one area share its streets and are not independent. Areas
are few, which has two consequences. The bootstrap interval is the *expanded* percentile interval (Hesterberg, The
American Statistician 2015): for five areas the plain one with the nominal 95 % contains the true value in 84 % of
cases, the expanded one in 92 %; from eight areas on it is 95 %. And the test is exact: with n areas p is at least
2^(1-n), 0.06 with five, however large the difference.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, stdtrit

from vpr_ros.errors import VprError

FEWEST_AREAS = 5
EXACT_RESAMPLES = 50_000  # all n^n resamples are taken up to n = 6
EXACT_FLIPS = 1 << 16

PerArea = Mapping[str, float]


@dataclass(frozen=True)
class PairedDifference:
    """First model minus second one: `mean` over areas, its interval, and the two-sided p of the sign-flip test."""

    mean: float
    low: float
    high: float
    p_value: float
    confidence: float
    areas: tuple[str, ...]
    differences: np.ndarray = field(repr=False, compare=False)  # (areas,)

    def __str__(self) -> str:
        return (
            f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}] ({self.confidence:.0%} over {len(self.areas)} "
            f"areas, p = {self.p_value:.3g})"
        )


def paired_difference(
    first: PerArea | Sequence[PerArea],
    second: PerArea | Sequence[PerArea],
    *,
    confidence: float = 0.95,
    resamples: int = 20_000,
    seed: int = 0,
) -> PairedDifference:
    """Mean difference of two models over the areas that both were measured in.

    Each model: area -> figure (`PairRecalls.per_area`), or one such mapping per training seed, averaged within an area
    first, so that the interval is about new areas for these trained networks. All resamples and all sign flips are
    enumerated where they are few, else drawn by `seed`. VprError for fewer than five areas, areas that differ, or
    figures that are not finite.
    """
    one, other = _mean_of_seeds(first), _mean_of_seeds(second)
    if missing := sorted(set(one) ^ set(other)):
        raise VprError(f"area {missing[0]} was measured for one model only: measure both in the same areas.")
    areas = tuple(sorted(one))
    if len(areas) < FEWEST_AREAS:
        raise VprError(f"{len(areas)} areas are too few for a paired interval: at least {FEWEST_AREAS} are needed.")
    if not 0 < confidence < 1:
        raise VprError(f"the confidence must lie between 0 and 1, not {confidence}.")
    differences = np.array([one[a] - other[a] for a in areas])
    if not np.isfinite(differences).all():
        raise VprError(f"the figure of area {areas[int(np.argmin(np.isfinite(differences)))]} is not finite.")
    rng = np.random.default_rng(seed)
    means = _resampled_means(differences, resamples, rng)
    tail = expanded_tail(len(areas), confidence)
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return PairedDifference(
        float(differences.mean()),
        float(low),
        float(high),
        sign_flip_p(differences, rng),
        confidence,
        areas,
        differences,
    )


def expanded_tail(count: int, confidence: float = 0.95) -> float:
    """Share of resampled means cut off on each side, Phi(-sqrt(n / (n - 1)) t): the plain one is (1 - confidence) / 2.

    Means of resamples scatter by sqrt((n - 1) / n) too little, and the normal law ignores that the spread itself was
    estimated from n values.
    """
    t = stdtrit(count - 1, 0.5 + confidence / 2)  # quantile of Student's t
    return float(ndtr(-math.sqrt(count / (count - 1)) * t))


def sign_flip_p(differences: np.ndarray, rng: np.random.Generator) -> float:
    """Two-sided p of "the models are alike", under which the sign of every area's difference could be the other one.

    The share of sign patterns whose absolute mean is at least the observed one; drawn patterns count one extra.
    """
    d = np.asarray(differences, float)
    observed = abs(d.sum())
    drawn = 2 ** len(d) > EXACT_FLIPS
    if drawn:
        signs = rng.choice([-1.0, 1.0], size=(EXACT_FLIPS, len(d)))
    else:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(d))))
    # Sums in another order differ in the last bits; those are as extreme as the observed one.
    extreme = int((np.abs(signs @ d) >= observed - 1e-12 * np.abs(d).sum()).sum())
    return (extreme + drawn) / (len(signs) + drawn)


def _resampled_means(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    n = len(values)
    if n**n <= EXACT_RESAMPLES:
        rows = np.array(list(itertools.product(range(n), repeat=n)))
    else:
        rows = rng.integers(0, n, (resamples, n))
    return values[rows].mean(axis=1)


def _mean_of_seeds(model: PerArea | Sequence[PerArea]) -> dict[str, float]:
    seeds = [model] if isinstance(model, Mapping) else list(model)
    if not seeds or any(set(s) != set(seeds[0]) for s in seeds):
        raise VprError("every training seed of a model must be measured in the same areas.")
    return {str(area): float(np.mean([s[area] for s in seeds])) for area in seeds[0]}
