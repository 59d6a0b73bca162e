"""From the filter's belief to a probability."""

from dataclasses import replace

import numpy as np

from vpr_ros.calibration.likelihood import fit_monotone
from vpr_ros.calibration.replay import Outcomes
from vpr_ros.recognition.calibration import Tuning
from vpr_ros.recognition.monotone import MonotoneMap, sigmoid

VICINITY_KNOTS = (-12.0, -9.0, -7.0, -5.5, -4.5, -3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 3.0, 5.0, 8.0, 13.0)
GAIN_KNOTS = (-8.0, -5.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 12.0, 16.0)
# A single frame may refute a place; it takes several ones to be sure of it.
EVIDENCE_KNOTS = (-6.0, -3.0, -1.5, 0.0, 1.0, 2.0, 3.0)
SHORTFALL_KNOTS = (-12.0, -9.0, -7.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0)
FALL_KNOTS = (-8.0, -6.0, -4.0, -3.0, -2.0, -1.0, -0.5, 0.0)
LEAD_KNOTS = (-1.0, 0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0)
SHARE_KNOTS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.97, 1.0)
LIMIT_KNOTS = (-10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 13.0)
# Pseudo-queries at each knot that hold the maps where there are no data: what the filter believes is so, whatever the
# frame says.
PRIOR_WEIGHT = 30.0
WITHIN_WEIGHT = 2.0  # the same for the second map: of the vicinity, the share within the radius
HELD_AT = 0.0, EVIDENCE_KNOTS[-1], 0.0, 0.0  # gain, evidence, shortfall and fall of these pseudo-queries
L2 = 0.3


def fit_reading(tuning: Tuning, outcomes: Outcomes, used: np.ndarray) -> Tuning:
    """`tuning` with the maps `posterior` and `within` fitted on those queries (Q,) bool of `outcomes` that are `used`.

    Queries on and off the map weigh alike in sum, as in the filter's prior.
    """
    x, weights = outcomes.readings[used], outcomes.weights(used)[used]
    near, right = outcomes.near[used], outcomes.right[used]
    knots = np.array(VICINITY_KNOTS)
    held = np.column_stack([knots, *(np.full(len(knots), at) for at in HELD_AT), knots])
    posterior = fit_monotone(
        np.concatenate([x[:, :6], held]),
        np.r_[near.astype(float), sigmoid(knots)],
        np.r_[weights, np.full(len(knots), PRIOR_WEIGHT)],
        [VICINITY_KNOTS, GAIN_KNOTS, EVIDENCE_KNOTS, SHORTFALL_KNOTS, FALL_KNOTS, LEAD_KNOTS],
        l2=L2,
    )
    shares = np.array(SHARE_KNOTS)
    within = fit_monotone(
        np.r_[x[near, 6], shares][:, None],
        np.r_[right[near].astype(float), shares],
        np.r_[np.ones(int(near.sum())), np.full(len(shares), WITHIN_WEIGHT)],
        [SHARE_KNOTS],
        l2=L2,
    )
    return replace(tuning, posterior=posterior, within=within)


def fit_limit(logits: np.ndarray, labels: np.ndarray, weight: float) -> MonotoneMap:
    """Log-odds of labels (N,) in [0, 1] from log-odds (N,); `weight` pseudo-queries at each knot hold it to what is
    stated."""
    knots = np.array(LIMIT_KNOTS)
    x, y = np.r_[logits, knots][:, None], np.r_[labels, sigmoid(knots)]
    return fit_monotone(x, y, np.r_[np.ones(len(logits)), np.full(len(knots), weight)], [LIMIT_KNOTS], l2=L2)
