"""Monotone maps of greatest likelihood, by logistic regression and by conditional logit."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vpr_ros.recognition.monotone import MonotoneMap, sigmoid


def fit_monotone(
    features: np.ndarray, labels: np.ndarray, weights: np.ndarray, knots: Sequence[Sequence[float]], l2: float = 1.0
) -> MonotoneMap:
    """Weighted maximum likelihood of labels (N,) in [0, 1] from features (N, F), rising in every feature.

    Each feature is split at its knots into ramps with non-negative rises. `l2` is the prior's strength against the sum
    of `weights`.
    """
    design = _ramps(features, knots)
    w = fit_logistic(design, labels, weights, nonnegative=np.arange(int(design.shape[1])) > 0, l2=l2)
    return _monotone(w, knots)


def fit_choice(
    features: np.ndarray,
    queries: np.ndarray,
    chosen: np.ndarray,
    prior: np.ndarray,
    outside: np.ndarray,
    weights: np.ndarray,
    knots: Sequence[Sequence[float]],
    l2: float = 1.0,
) -> MonotoneMap:
    """Scores of alternatives, rising in every feature, of which each query chooses one (conditional logit, McFadden
    1974).

    Alternatives are rows of features (N, F), each of the query whose number is in `queries` (N,), rising and every one
    from 0 to Q - 1 present; at most one of a query is `chosen` (N,) bool. Its probability is e^(prior + score) against
    those of all of the query's and e^outside (Q,), which stands for everything else and is what is chosen where no row
    is. `weights` (Q,) count queries.
    """
    # Here, since a robot never fits and would pay a tenth of a second for it at each start.
    from scipy.optimize import minimize  # pyright: ignore  # without types

    design = _ramps(features, knots)
    first = np.searchsorted(queries, np.arange(len(outside)))
    penalty = np.r_[0.0, np.full(design.shape[1] - 1, l2)]

    def loss(c: np.ndarray) -> tuple[float, np.ndarray]:
        scores = design @ c + prior
        highest = np.maximum(np.maximum.reduceat(scores, first), outside)
        parts = np.exp(scores - highest[queries])
        total = np.add.reduceat(parts, first) + np.exp(outside - highest)
        reached = np.where(np.add.reduceat(chosen, first), 0.0, outside)
        reached += np.add.reduceat(np.where(chosen, scores, 0.0), first)
        gradient = design.T @ ((parts / total[queries] - chosen) * weights[queries])
        value = weights @ (np.log(total) + highest - reached) + 0.5 * penalty @ (c * c)
        return float(value), gradient + penalty * c

    bounds = [(None, None)] + [(0.0, None)] * (design.shape[1] - 1)
    search: Any = minimize  # pyright: ignore
    found = search(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", bounds=bounds)
    return _monotone(np.asarray(found.x), knots)


def _ramps(features: np.ndarray, knots: Sequence[Sequence[float]]) -> np.ndarray:
    """Design matrix: ones, and each feature's way through every interval between its knots, from 0 to 1."""
    ramps = [
        (np.clip(features[:, column], low, high) - low) / (high - low)
        for column, k in enumerate(knots)
        for low, high in zip(k[:-1], k[1:], strict=True)
    ]
    return np.column_stack([np.ones(len(features)), *ramps])


def _monotone(coefficients: np.ndarray, knots: Sequence[Sequence[float]]) -> MonotoneMap:
    rises = np.split(coefficients[1:], np.cumsum([len(k) - 1 for k in knots])[:-1])
    values = tuple(tuple(np.r_[0.0, np.cumsum(np.maximum(r, 0.0))].tolist()) for r in rises)
    return MonotoneMap(float(coefficients[0]), tuple(tuple(float(x) for x in k) for k in knots), values)


def fit_logistic(
    design: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    nonnegative: np.ndarray,
    l2: float,
    iterations: int = 100,
) -> np.ndarray:
    """Coefficients (P,) that minimise sum w (log(1 + e^s) - y s) + l2/2 |c|^2 over `nonnegative` ones >= 0.

    The first column is the intercept and is not penalised. Projected Newton after Bertsekas (1982): coefficients held
    at zero by their gradient leave the system, the others take a Newton step, shortened until the projected point
    descends.
    """
    x = np.zeros(design.shape[1])
    penalty = np.full(len(x), l2)
    penalty[0] = 1e-9

    def loss(c: np.ndarray) -> float:
        s = design @ c
        return float(weights @ (np.logaddexp(0.0, s) - labels * s) + 0.5 * penalty @ (c * c))

    value = loss(x)
    for _ in range(iterations):
        p = sigmoid(design @ x)
        gradient = design.T @ (weights * (p - labels)) + penalty * x
        free = ~(nonnegative & (x <= 0) & (gradient > 0))
        if np.abs(gradient[free]).max(initial=0.0) < 1e-9 * (1.0 + weights.sum()):
            break
        part = design[:, free]
        hessian = (part * (weights * p * (1 - p))[:, None]).T @ part + np.diag(penalty[free])
        step = np.zeros_like(x)
        step[free] = np.linalg.solve(hessian + 1e-12 * np.eye(len(hessian)), -gradient[free])
        scale = 1.0
        while scale > 1e-10:
            trial = x + scale * step
            trial = np.where(nonnegative, np.maximum(trial, 0.0), trial)
            new = loss(trial)
            if new <= value + 1e-4 * gradient @ (trial - x):
                break
            scale *= 0.5
        else:
            break
        if value - new < 1e-12 * (1.0 + abs(value)):
            x = trial
            break
        x, value = trial, new
    return x
