"""What accepting places from some probability on would have come to on labelled drives that no fit has seen."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.calibration.posterior import fit_posterior
from vpr_ros.calibration.replay import NO_PLACE, Replay
from vpr_ros.configuration import DecisionConfig
from vpr_ros.recognition.calibration import Calibration, EvidenceModel, Tuning
from vpr_ros.recognition.decision import Decision
from vpr_ros.recognition.monotone import logit
from vpr_ros.recognition.motion import Motion
from vpr_ros.recognition.places import distinct_places, supports
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


def judge(
    replays: Sequence[Replay],
    folds: Sequence[EvidenceModel],
    temper: float,
    with_odometry: bool,
    decision: DecisionConfig,
    prior_weight: float,
) -> Judged:
    """Each query's answer, by the evidence of its fold and a posterior that is fitted on the other fold.

    Queries of a drive that repeats another count where they have been put off the map. Odd and even stretches are the
    folds, as for the evidence.
    """
    rules = Decision(replace(decision, accept_probability=0.0, accept_precision=None, min_consistent_frames=1))
    places: list[np.ndarray] = []
    columns: list[tuple[float, bool, bool, bool, int, int, bool]] = []
    drive = -1
    for one in replays:
        drive += not one.repeats
        belief = one.recogniser.filter
        for step in one.steps:
            if step.fresh:
                belief.reset()
            motion = step.motion if with_odometry else Motion(None)
            one.recogniser.advance(step.retrieval, motion, folds[step.stretch % 2], temper)
            if not step.known:
                continue
            named = distinct_places(belief, one.recogniser.config.max_places)
            places.append(np.array([place.posterior for place in named]))
            best = float(logit(places[-1][0])) if named else NO_PLACE
            right = bool(named) and bool(np.isin(named[0].row, step.truth))
            supported = bool(named) and supports(one.recogniser.topology, step.retrieval.rows, named[0].row)
            on = len(step.truth) > 0
            columns.append((best, right, supported, on, drive, step.stretch, not (one.repeats and on)))
    best, right, supported, on, drives, stretches, counted = (np.array(c) for c in zip(*columns, strict=True))
    prior = Calibration.default().plain.posterior
    probabilities, acceptable = np.zeros(len(best)), np.zeros(len(best), dtype=bool)
    for fold in range(2):
        others = stretches % 2 != fold
        tuning = Tuning(temper, fit_posterior(best[others], right[others].astype(float), prior, prior_weight))
        for q in np.flatnonzero(~others & counted):
            if len(places[q]):
                p = tuning.probability(places[q])
                probabilities[q] = p[0]
                acceptable[q] = rules.decide(p, False, bool(supported[q])).status == "accepted"
    numbers = np.unique([drives, stretches], axis=1, return_inverse=True)[1].ravel()
    return Judged(probabilities[counted], acceptable[counted], right[counted], on[counted], numbers[counted])


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
