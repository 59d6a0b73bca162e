import numpy as np
import pytest

from vpr_ros.calibration.likelihood import fit_logistic, fit_monotone
from vpr_ros.recognition.monotone import MonotoneMap, logit, sigmoid


def test_sigmoid_and_logit_are_inverse_and_never_overflow():
    x = np.linspace(-12, 12, 50)
    np.testing.assert_allclose(logit(sigmoid(x)), x, atol=1e-4)
    np.testing.assert_allclose(sigmoid(x), 1 / (1 + np.exp(-x)), atol=1e-12)
    assert sigmoid(np.array([-1e6, 1e6])).tolist() == [0.0, 1.0]


def test_solution_meets_the_optimality_conditions():
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(400), rng.normal(size=(400, 4))])
    y = (rng.uniform(size=400) < sigmoid(X @ [0.3, 1.5, -1.0, 0.0, 0.7])).astype(float)
    w = rng.uniform(0.2, 2.0, 400)
    held = np.array([False, True, True, True, False])
    c = fit_logistic(X, y, w, held, l2=0.5)
    gradient = [sum(w[n] * (1 / (1 + np.exp(-X[n] @ c)) - y[n]) * X[n, j] for n in range(400)) for j in range(5)]
    gradient = np.array(gradient) + 0.5 * np.r_[0, c[1:]]
    free = ~held | (c > 0)
    np.testing.assert_allclose(gradient[free], 0, atol=1e-4)
    assert c[2] == 0 and gradient[2] > 0  # its best value is negative, so the constraint holds it
    assert (c[held] >= 0).all()


def test_monotone_fit_recovers_a_rising_curve_and_flattens_a_falling_one():
    rng = np.random.default_rng(1)
    x = rng.uniform(-3, 3, (4000, 1))
    y = (rng.uniform(size=4000) < sigmoid(np.where(x[:, 0] > 0, 2 * x[:, 0], 0))).astype(float)
    knots = [[-3.0, -1.5, 0.0, 1.5, 3.0]]
    rising = fit_monotone(x, y, np.ones(4000), knots)
    probe = np.array([[-2.0], [0.0], [1.0], [2.0]])
    np.testing.assert_allclose(sigmoid(rising(probe)), sigmoid([0, 0, 2, 4]), atol=0.06)
    falling = fit_monotone(x, 1 - y, np.ones(4000), knots)
    assert np.ptp(falling(probe)) == pytest.approx(0, abs=1e-9)


def test_map_is_constant_beyond_its_knots_and_survives_json():
    one = MonotoneMap(-1.0, ((0.0, 2.0),), ((0.0, 3.0),))
    assert one(np.array([[-9.0], [1.0], [99.0]])).tolist() == [-1.0, 0.5, 2.0]
    assert MonotoneMap.from_dict(one.to_dict()) == one


@pytest.mark.parametrize(
    "damage",
    [{"values": [[0.0, -1.0]]}, {"knots": [[2.0, 0.0]]}, {"values": [[0.0]]}, {"intercept": float("nan")}],
)
def test_maps_that_fall_are_refused(damage):
    with pytest.raises(ValueError):
        MonotoneMap.from_dict({"intercept": 0.0, "knots": [[0.0, 1.0]], "values": [[0.0, 1.0]], **damage})
