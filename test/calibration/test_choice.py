"""The choice between retrieved places and everything else, against its definition written out."""

import math

import numpy as np
import pytest

from vpr_ros.calibration.likelihood import fit_choice
from vpr_ros.recognition.monotone import MonotoneMap

KNOTS = [(-1.0, 0.0, 1.0), (0.0, 2.0)]


def made(seed: int, queries: int):
    """Queries with a few alternatives each, chosen by scores that are known; the last ones choose none."""
    rng = np.random.default_rng(seed)
    true = MonotoneMap(-1.0, ((-1.0, 0.0, 1.0), (0.0, 2.0)), ((0.0, 0.5, 3.0), (0.0, 2.0)))
    features, owners, chosen, prior = [], [], [], []
    outside = rng.normal(0.0, 0.3, queries)
    for query in range(queries):
        rows = np.column_stack([rng.uniform(-1, 1, 4), rng.uniform(0, 2, 4)])
        start = rng.normal(-0.5, 0.2, 4)
        weights = np.exp(np.r_[start + true(rows), outside[query]])
        pick = rng.choice(5, p=weights / weights.sum())
        features += list(rows)
        prior += start.tolist()
        owners += [query] * 4
        chosen += [row == pick for row in range(4)]
    return np.array(features), np.array(owners), np.array(chosen), np.array(prior), outside, true


def loss_written_out(fitted, features, owners, chosen, prior, outside, weights, l2):
    total = 0.0
    for query, beyond in enumerate(outside):
        rows = np.flatnonzero(owners == query)
        scores = [prior[row] + float(fitted(features[row : row + 1])[0]) for row in rows]
        reached = [score for row, score in zip(rows, scores, strict=True) if chosen[row]] or [beyond]
        total += weights[query] * (math.log(sum(math.exp(s) for s in scores) + math.exp(beyond)) - reached[0])
    rises = np.concatenate([np.diff(values) for values in fitted.values])
    return total + 0.5 * l2 * float(rises @ rises)


def test_no_other_rising_map_chooses_better():
    features, owners, chosen, prior, outside, _ = made(0, 120)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, 120)
    data = (features, owners, chosen, prior, outside, weights)
    fitted = fit_choice(*data, KNOTS, l2=2.0)
    least = loss_written_out(fitted, *data, 2.0)
    rng = np.random.default_rng(2)
    for _ in range(40):
        moved = [np.maximum(np.diff(values) + rng.normal(0, 0.05, len(values) - 1), 0.0) for values in fitted.values]
        other = MonotoneMap(
            fitted.intercept + rng.normal(0, 0.05), fitted.knots, tuple(tuple(np.r_[0.0, np.cumsum(m)]) for m in moved)
        )
        assert loss_written_out(other, *data, 2.0) >= least - 1e-4


def test_scores_that_made_the_choices_are_found_again():
    features, owners, chosen, prior, outside, true = made(3, 6000)
    fitted = fit_choice(features, owners, chosen, prior, outside, np.ones(6000), KNOTS)
    grid = np.column_stack([np.linspace(-1, 1, 9), np.linspace(0, 2, 9)])
    np.testing.assert_allclose(fitted(grid), true(grid), atol=0.25)


def test_what_is_never_chosen_scores_low_and_nothing_falls():
    features, owners, chosen, prior, outside, _ = made(4, 200)
    fitted = fit_choice(-features, owners, chosen, prior, outside, np.ones(200), [(-1.0, 0.0, 1.0), (-2.0, 0.0)])
    assert all((np.diff(values) >= 0).all() for values in fitted.values)
    none = fit_choice(features, owners, np.zeros(800, dtype=bool), prior, outside, np.ones(200), KNOTS)
    assert none(features).max() < -3


def test_queries_of_equal_alternatives_split_their_chances():
    same, chosen = np.zeros((3, 1)), np.array([True, False, False])
    fitted = fit_choice(same, np.zeros(3, dtype=int), chosen, np.zeros(3), np.array([-50.0]), np.ones(1), [(0, 1)])
    p = np.exp(fitted(same)) / (np.exp(fitted(same)).sum() + math.exp(-50))
    assert p == pytest.approx(np.full(3, 1 / 3))
