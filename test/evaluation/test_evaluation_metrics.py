import math

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation import metrics
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.evaluation.summary import CORRECT, CORRECT_UNKNOWN, FALSE_ACCEPT, MISSED, NO_TRUTH, WRONG, evaluate
from vpr_ros.evaluation.truth import Truth
from vpr_ros.recognition.types import ScoredKeyframe


def naive_rank(retrieved, positives, similarities):
    """Reads a list as its worst admissible order: wrong ones first among equals."""
    entries = [(-s, int(i in positives), i) for i, s in zip(retrieved, similarities, strict=True) if i >= 0]
    for rank, (_, right, _) in enumerate(sorted(entries), start=1):
        if right:
            return rank
    return 0


def test_ranks_against_sorting_by_hand_with_ties():
    rng = np.random.default_rng(1)
    ids = np.array([rng.permutation(30)[:8] for _ in range(200)])
    similar = -np.sort(-rng.integers(0, 5, ids.shape) / 4.0, axis=1)  # many ties
    ids[::9, 5:], ids[3] = -1, -1
    positives = [np.sort(rng.permutation(30)[: rng.integers(0, 4)]) for _ in ids]
    ranks = metrics.hit_ranks(ids, positives, similar)
    triples = zip(ids, positives, similar, strict=True)
    assert ranks.tolist() == [naive_rank(r, set(p.tolist()), s) for r, p, s in triples]
    plain = metrics.hit_ranks(ids, positives)
    for row, p, rank in zip(ids, positives, plain, strict=True):
        hits = [i + 1 for i, k in enumerate(row) if k >= 0 and k in p]
        assert rank == (hits[0] if hits else 0)


def test_a_list_that_local_features_ranked_keeps_its_order():
    ids, similar = (
        np.array([[7, 5, 6], [7, 5, 6], [6, 7, 5]]),
        np.array([[0.2, 0.9, 0.2], [0.2, 0.9, 0.2], [0.9, 0.2, 0.2]]),
    )
    positives = [np.array([7]), np.array([5]), np.array([7])]
    assert metrics.hit_ranks(ids, positives, similar).tolist() == [2, 2, 3]
    assert metrics.hit_ranks(ids, positives).tolist() == [1, 2, 2]


def test_huge_ids_do_not_overflow():
    ids = np.array([[2**62, 5], [5, 2**62]])
    assert metrics.membership(ids, [np.array([2**62]), np.array([2**62])]).tolist() == [[True, False], [False, True]]


def test_recall_modes():
    ranks, has = np.array([1, 3, 0, 0]), np.array([True, True, True, False])
    assert metrics.recall_at(ranks, (1, 3, 25), has) == {1: 1 / 3, 3: 2 / 3, 25: 2 / 3}
    assert metrics.recall_at(ranks, (1, 3), has, "miss") == {1: 1 / 4, 3: 2 / 4}
    with pytest.raises(ValueError):
        metrics.recall_at(ranks, (1,), has, "other")
    assert [metrics.one_percent(n) for n in (3, 149, 150, 250, 350)] == [1, 1, 2, 2, 4]


@pytest.mark.parametrize("levels", [4, 10**6])
def test_precision_recall_against_a_loop_over_thresholds(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, 300) / levels
    correct = rng.random(300) < scores
    scores[::17] = np.nan
    curve = metrics.precision_recall(scores, correct, 250)
    thresholds = sorted({s for s in scores if not math.isnan(s)}, reverse=True)
    assert curve.thresholds.tolist() == thresholds
    area, before = 0.0, 0.0
    for i, t in enumerate(thresholds):
        taken = [c for s, c in zip(scores, correct, strict=True) if s >= t]
        assert curve.accepted[i] == len(taken)
        assert curve.precision[i] == pytest.approx(sum(taken) / len(taken))
        assert curve.recall[i] == pytest.approx(sum(taken) / 250)
        area, before = area + (sum(taken) / 250 - before) * sum(taken) / len(taken), sum(taken) / 250
    assert metrics.average_precision(curve) == pytest.approx(area)


def test_input_order_does_not_matter():
    rng = np.random.default_rng(5)
    scores, correct = rng.integers(0, 6, 100) / 6, rng.random(100) < 0.6
    shuffled = rng.permutation(100)
    a = metrics.precision_recall(scores, correct, 80)
    b = metrics.precision_recall(scores[shuffled], correct[shuffled], 80)
    np.testing.assert_array_equal(a.precision, b.precision)


def test_recall_at_full_precision_stops_before_the_first_error():
    curve = metrics.precision_recall(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, True, False, True]), 4)
    assert metrics.recall_at_precision(curve) == (0.5, 0.8)
    assert metrics.recall_at_precision(curve, 0.75) == (0.75, 0.6)
    tied = metrics.precision_recall(np.array([0.9, 0.9]), np.array([True, False]), 2)
    assert metrics.recall_at_precision(tied) == (0.0, None)


def test_reliability_against_bins_by_hand():
    rng = np.random.default_rng(2)
    p = np.concatenate([rng.random(400), [0.0, 1.0, 0.3, np.nan]])
    y = rng.random(len(p)) < 0.5
    got = metrics.reliability(p, y, bins=10)
    error = 0.0
    for b in range(10):
        inside = [
            (pi, yi)
            for pi, yi in zip(p, y, strict=True)
            if got.edges[b] <= pi < got.edges[b + 1] or (b == 9 and pi == 1.0)
        ]
        assert got.counts[b] == len(inside)
        mean_p, mean_y = np.mean([i[0] for i in inside]), np.mean([i[1] for i in inside])
        assert got.mean_probability[b] == pytest.approx(mean_p) and got.fraction_correct[b] == pytest.approx(mean_y)
        error += abs(mean_p - mean_y) * len(inside) / 403
    assert got.calibration_error == pytest.approx(error)
    assert got.brier == pytest.approx(np.mean([(pi - yi) ** 2 for pi, yi in zip(p, y, strict=True) if pi == pi]))


def test_wilson_interval_solves_its_equation():
    k, n = np.array([0, 3, 50, 50]), np.array([10, 10, 50, 120])
    for bound in metrics.wilson_interval(k, n):
        inner = (bound > 1e-9) & (bound < 1 - 1e-9)
        z = np.abs(k / n - bound)[inner] / np.sqrt(bound * (1 - bound) / n)[inner]
        np.testing.assert_allclose(z, 1.96)
    low, high = metrics.wilson_interval(np.array([0]), np.array([0]))
    assert (low[0], high[0]) == (0, 1)


def test_empty_inputs_are_safe():
    none = np.array([])
    curve = metrics.precision_recall(none, none, 0)
    assert math.isnan(metrics.average_precision(curve)) and metrics.recall_at_precision(curve) == (0.0, None)
    assert math.isnan(metrics.reliability(none, none).calibration_error)
    assert metrics.hit_ranks(np.zeros((0, 0), int), []).tolist() == []
    assert metrics.hit_ranks(np.zeros((2, 0), int), [np.array([1])] * 2).tolist() == [0, 0]
    assert math.isnan(metrics.recall_at(none, (1,), none)[1])
    result = evaluate([], truth([]))
    assert result.queries == 0 and result.to_dict()["accepted_precision"] is None


def truth(positives, known=None, query_xy=None, keyframe_xy=None):
    known = np.ones(len(positives), bool) if known is None else np.array(known, bool)
    ids = np.array([10, 11, 12])
    return Truth(tuple(np.array(p, np.int64) for p in positives), known, ids, "rule", query_xy, keyframe_xy)


def record(stamp, status, best=None, p=0.0, retrieval=()):
    hypotheses = () if best is None else (ScoredKeyframe(best, p, 0.5),)
    accepted = status == "accepted"
    return MatchRecord(
        stamp, status, "", 1 - p, best if accepted else None, p if accepted else None, hypotheses, tuple(retrieval)
    )


def test_evaluation_of_one_small_run_by_hand():
    records = [
        record(0, "accepted", 10, 0.9, [(10, 0.9), (11, 0.8)]),
        record(1, "accepted", 12, 0.8, [(12, 0.9), (11, 0.8)]),  # wrong place
        record(2, "rejected", 12, 0.4, [(12, 0.7)]),  # right, but not accepted
        record(3, "unknown"),  # off the map
        record(4, "accepted", 11, 0.7, [(11, 0.6)]),  # off the map all the same
        record(5, "accepted", 10, 0.99, [(10, 0.9)]),  # nobody knows
    ]
    keyframe_xy = np.array([[0.0, 0], [30, 40], [100, 0]])
    query_xy = np.array([[3.0, 4], [30, 40], [100, 1], [500, 0], [900, 0], [np.nan, np.nan]])
    e = evaluate(records, truth([[10], [11], [12], [], [], []], [1, 1, 1, 1, 1, 0], query_xy, keyframe_xy))
    assert e.outcomes.tolist() == [CORRECT, WRONG, MISSED, CORRECT_UNKNOWN, FALSE_ACCEPT, NO_TRUTH]
    assert (e.on_map, e.off_map, e.without_truth, e.accepted) == (3, 2, 1, 3)
    assert e.recall[1] == pytest.approx(2 / 3) and e.recall[5] == 1.0
    assert e.filtered_recall == pytest.approx(2 / 3)
    assert e.accepted_precision == pytest.approx(1 / 3) and e.accepted_recall == pytest.approx(1 / 3)
    assert e.accepted_share == pytest.approx(2 / 3) and e.offmap_false_accepts == 0.5
    assert e.recall_at_full_precision == pytest.approx(1 / 3) and e.full_precision_threshold == 0.9
    assert e.errors_m[0] == 5.0 and math.isnan(e.errors_m[3]) and math.isnan(e.errors_m[5])
    assert e.error_max_m == pytest.approx(math.dist((30, 40), (100, 0)))
    assert e.error_median_m == pytest.approx((5 + e.error_max_m) / 2)
    assert e.brier == pytest.approx(np.mean([0.1**2, 0.8**2, 0.6**2, 0.7**2]))
    missing = evaluate(records, truth([[10], [11], [12], [], [], []], [1, 1, 1, 1, 1, 0]), mode="miss")
    assert missing.recall[1] == pytest.approx(2 / 5)
    assert math.isnan(missing.error_median_m)


def test_the_longest_gap_starts_anew_off_the_map():
    s = 10**9
    kinds = "h..h" + "o" + ".h....h." + "o" + "."  # h right, . missed, o off the map; one frame per second
    records = [record(i * s, "accepted" if k == "h" else "unknown", 10, 0.5) for i, k in enumerate(kinds)]
    positives = [[] if k == "o" else [10] for k in kinds]
    assert evaluate(records, truth(positives)).longest_gap_s == 5.0
    assert math.isnan(evaluate(records[:1], truth([[]])).longest_gap_s)


def test_records_and_truth_must_belong_together():
    with pytest.raises(VprError, match="belong together"):
        evaluate([record(0, "unknown")], truth([]))
