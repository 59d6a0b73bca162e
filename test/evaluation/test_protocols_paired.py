"""Paired intervals against plain enumeration, and what they hold when many worlds are drawn."""

import itertools
import math
from statistics import NormalDist

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.paired import expanded_tail, paired_difference

FIRST = {"a": 0.81, "b": 0.70, "c": 0.93, "d": 0.66, "e": 0.75}
SECOND = {"e": 0.71, "d": 0.64, "c": 0.90, "b": 0.72, "a": 0.74}


def test_against_plain_enumeration():
    got = paired_difference(FIRST, SECOND)
    differences = [FIRST[k] - SECOND[k] for k in "abcde"]
    means = sorted(sum(pick) / 5 for pick in itertools.product(differences, repeat=5))
    tail = 0.0009515  # normal tail beyond sqrt(5 / 4) * 2.776445
    below = next(m for i, m in enumerate(means, start=1) if i / len(means) >= tail)
    above = next(m for i, m in enumerate(means, start=1) if i / len(means) >= 1 - tail)
    assert (got.low, got.high) == pytest.approx((below, above), abs=1e-12)
    assert got.mean == pytest.approx(sum(differences) / 5) and got.areas == tuple("abcde")
    patterns = itertools.product((-1, 1), repeat=5)
    flips = [sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in patterns]
    extreme = sum(abs(f) >= abs(sum(differences)) - 1e-12 for f in flips)
    assert got.p_value == extreme / 32 == 6 / 32
    back = paired_difference(SECOND, FIRST)
    assert (back.mean, back.p_value) == pytest.approx((-got.mean, got.p_value))
    assert (back.low, back.high) == pytest.approx((-got.high, -got.low), abs=1e-12)
    assert "95% over 5 areas, p = 0.188" in str(got)


def test_the_smallest_p_of_five_areas():
    better = {k: v + 0.3 for k, v in SECOND.items()}
    got = paired_difference(better, SECOND)
    assert got.p_value == 2 / 32 and got.low == pytest.approx(0.3) == got.high


def test_seeds_are_averaged_within_an_area():
    up, down = ({k: v + s for k, v in FIRST.items()} for s in (0.05, -0.05))
    one = paired_difference([up, down], [SECOND, SECOND, SECOND])
    np.testing.assert_allclose(one.differences, paired_difference(FIRST, SECOND).differences, atol=1e-12)


def test_tails_follow_the_printed_quantiles_of_student():
    printed = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365, 10: 2.228, 29: 2.045, 120: 1.980}
    for dof, value in printed.items():
        expected = NormalDist().cdf(-math.sqrt((dof + 1) / dof) * value)
        assert expanded_tail(dof + 1) == pytest.approx(expected, rel=3e-3)
    assert expanded_tail(5, 0.9) == pytest.approx(NormalDist().cdf(-math.sqrt(5 / 4) * 2.132), rel=3e-3)
    assert expanded_tail(1000) == pytest.approx(0.025, abs=3e-4)


def test_many_areas_are_drawn_and_agree_with_the_t_interval():
    rng = np.random.default_rng(2)
    values = {f"{i:02d}": float(v) for i, v in enumerate(rng.normal(0.05, 0.1, 25))}
    zero = dict.fromkeys(values, 0.0)
    got = paired_difference(values, zero)
    d = np.array([*values.values()])
    half = 2.063899 * d.std(ddof=1) / 5
    assert (got.low, got.high) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.006)
    np.testing.assert_array_equal(got.differences, d)
    assert got == paired_difference(values, zero) != paired_difference(values, zero, seed=1)
    assert paired_difference(values, zero, confidence=0.8).low > got.low
    none = {k: (0.1 if i % 2 else -0.1) for i, k in enumerate(values) if i < 24}
    assert paired_difference(none, dict.fromkeys(none, 0.0)).p_value > 0.9


def test_how_often_the_interval_holds_the_truth():
    """Of five areas with normal differences: 92 %, where the plain percentile interval has 84 %."""
    rng = np.random.default_rng(1)
    zero, held, plain = dict.fromkeys("abcde", 0.0), 0, 0
    rows = np.array(list(itertools.product(range(5), repeat=5)))
    for values in rng.normal(size=(300, 5)):
        got = paired_difference(dict(zip("abcde", values, strict=True)), zero)
        held += got.low <= 0 <= got.high
        low, high = np.quantile(values[rows].mean(axis=1), [0.025, 0.975])
        plain += low <= 0 <= high
    assert 0.89 < held / 300 < 0.96
    assert 0.79 < plain / 300 < 0.89


@pytest.mark.parametrize(
    "first, second, words",
    [
        ({"a": 1.0}, {"a": 0.5}, "1 areas are too few"),
        (FIRST, {**SECOND, "f": 0.5}, "area f was measured for one model only"),
        ({**FIRST, "c": float("nan")}, SECOND, "area c is not finite"),
        ([FIRST, {"a": 1.0}], SECOND, "every training seed"),
        ([], SECOND, "every training seed"),
    ],
)
def test_bad_input(first, second, words):
    with pytest.raises(VprError, match=words):
        paired_difference(first, second)
    with pytest.raises(VprError, match="between 0 and 1"):
        paired_difference(FIRST, SECOND, confidence=95)
