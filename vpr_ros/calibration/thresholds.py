"""What accepting places from some probability on would have come to on labelled drives that no fit has seen."""

from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.calibration.posterior import fit_reading
from vpr_ros.calibration.replay import Outcomes
from vpr_ros.configuration import DecisionConfig
from vpr_ros.recognition.calibration import Tuning
from vpr_ros.recognition.decision import Decision
from vpr_ros.recognition.threshold import Accepted, ThresholdTable

# Nothing is accepted that is less probable than not, however well the drives went: the next may be harder.
PROBABILITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995)
MOST_WEIGHT = 4.0  # of a query off the map, where few are
CONFIDENCE = 0.95
DIGITS = 4


@dataclass(frozen=True)
class Judged:
    """Queries answered by a calibration that was fitted on other stretches of the drives."""

    probabilities: np.ndarray  # (Q,) of the best place
    acceptable: np.ndarray  # (Q,) bool: the rules of acceptance let it pass, were it only probable enough
    right: np.ndarray  # (Q,) bool: the best place is a true one
    on_map: np.ndarray  # (Q,) bool
    stretches: np.ndarray  # (Q,) number of the stretch, common to all passes of a drive


def judge(outcomes: Outcomes, tuning: Tuning, decision: DecisionConfig) -> Judged:
    """Each query's answer, its probability read by maps that are fitted on the stretches of the other parity.

    Queries of a drive that repeats another count where they have been put off the map.
    """
    rules = Decision(replace(decision, accept_probability=0.0, accept_precision=None, min_consistent_frames=1))
    counted = outcomes.counted
    probabilities, acceptable = np.zeros(len(counted)), np.zeros(len(counted), dtype=bool)
    for odd in (False, True):
        reading = fit_reading(tuning, outcomes, outcomes.odd != odd)
        for q in np.flatnonzero((outcomes.odd == odd) & counted).tolist():
            p = -np.sort(-reading.probability(outcomes.places[q]))
            probabilities[q] = p[0]
            acceptable[q] = rules.decide(p, False, bool(outcomes.supported[q])).status == "accepted"
    return Judged(
        probabilities[counted],
        acceptable[counted],
        outcomes.right[counted],
        outcomes.on_map[counted],
        outcomes.stretches[counted],
    )


def threshold_table(judged: Judged) -> ThresholdTable:
    """Counts for every one of PROBABILITIES, with estimate and interval of the precision.

    Queries on and off the map weigh alike in sum, as in the filter's prior: drives for calibration leave the map as
    often as it happens, and robots that are to be trusted there are not asked how often they do. The estimate adds one
    stretch, half of which is wrong. The interval is that of Clopper and Pearson (1934), which never covers less than it
    says, on the effective number of independent frames (Korn and Graubard 1998): the number that has the variance of
    the precision over whole stretches, the added one included. Without a mistake it is the number of stretches, since
    then nothing tells how far frames err together.
    """
    n_on, n_off = int(judged.on_map.sum()), int((~judged.on_map).sum())
    weights = np.where(judged.on_map, 1.0, min(MOST_WEIGHT, n_on / max(n_off, 1)))
    rows: list[Accepted] = []
    for least in PROBABILITIES:
        yes = judged.acceptable & (judged.probabilities >= least)
        right = yes & judged.right
        size = int(judged.stretches.max(initial=-1)) + 1
        accepted_of = np.bincount(judged.stretches[yes], weights[yes], minlength=size)
        right_of = np.bincount(judged.stretches[right], weights[right], minlength=size)[accepted_of > 0]
        accepted_of = accepted_of[accepted_of > 0]
        estimate, low, high = _precision(accepted_of, right_of, int(yes.sum()))
        counts = int(yes.sum()), int(right.sum()), len(accepted_of)
        rows.append(Accepted(least, *counts, round(estimate, DIGITS), round(low, DIGITS), round(high, DIGITS)))
    return ThresholdTable(tuple(rows), n_on, n_off)


def _precision(accepted: np.ndarray, right: np.ndarray, frames: int) -> tuple[float, float, float]:
    """Estimate and interval of the precision, from the weights (S,) of accepted and of right frames by stretch."""
    from scipy.special import betaincinv  # pyright: ignore  # without types; robots read tables and need none

    s = len(accepted)
    if not s:
        return 0.0, 0.0, 1.0
    total, mean = float(accepted.sum()), float(accepted.mean())
    estimate = (float(right.sum()) + mean / 2) / (total + mean)
    squares = float(((right - estimate * accepted) ** 2).sum())
    squares += mean**2 * (estimate**2 + (1 - estimate) ** 2) / 2  # the added stretch: all wrong or all right
    variance = squares / (total + mean) ** 2 * (s + 1) / s
    n = min(float(frames), estimate * (1 - estimate) / variance)
    x, tail = n * float(right.sum()) / total, (1 - CONFIDENCE) / 2
    low = float(betaincinv(x, n - x + 1, tail)) if x > 0 else 0.0
    high = float(betaincinv(x + 1, n - x, 1 - tail)) if x < n else 1.0
    return estimate, low, high
