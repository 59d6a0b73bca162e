"""From the filter's posterior to a probability."""

import numpy as np

from vpr_ros.calibration.likelihood import fit_monotone
from vpr_ros.recognition.monotone import MonotoneMap, sigmoid

POSTERIOR_KNOTS = (-10.0, -6.0, -3.0, -1.0, 0.0, 1.0, 3.0, 6.0, 10.0, 13.0)


def fit_posterior(logits: np.ndarray, labels: np.ndarray, prior: MonotoneMap, weight: float) -> MonotoneMap:
    """Calibrated log-odds from the filter's; between and beyond the data, pseudo-queries hold it to `prior`."""
    knots = np.array(POSTERIOR_KNOTS)
    x = np.r_[logits, knots][:, None]
    y = np.r_[labels, sigmoid(prior(knots[:, None]))]
    w = np.r_[np.ones(len(logits)), np.full(len(knots), weight)]
    return fit_monotone(x, y, w, [POSTERIOR_KNOTS], l2=0.01)
