"""One run against its ground truth: all headline figures, and the outcome of each frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation import metrics
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.evaluation.truth import Truth

RECALL_NS = (1, 5, 10, 25)

# Outcomes of a frame, in the order of drawing: later ones are on top.
Outcome = Literal["no_truth", "correct_unknown", "missed", "correct", "wrong", "false_accept"]
CORRECT_UNKNOWN: Outcome = "correct_unknown"  # off the map, not accepted
MISSED: Outcome = "missed"  # on the map, not accepted
CORRECT: Outcome = "correct"  # accepted, right place
WRONG: Outcome = "wrong"  # on the map, accepted, wrong place
FALSE_ACCEPT: Outcome = "false_accept"  # off the map, accepted
NO_TRUTH: Outcome = "no_truth"
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


@dataclass(frozen=True)
class Evaluation:
    """Figures of one run; fractions in 0..1, NaN where there is nothing to count."""

    queries: int
    on_map: int
    off_map: int
    without_truth: int
    accepted: int  # among queries with truth
    accepted_correct: int
    accepted_wrong: int  # on-map queries accepted at a wrong place
    offmap_accepted: int
    recall: dict[int, float]  # Recall@N of single-frame retrieval
    filtered_recall: float  # share of on-map queries whose most probable place is right
    accepted_precision: float  # right among accepted
    accepted_recall: float  # right and accepted among on-map queries
    accepted_share: float  # accepted among on-map queries, right or wrong
    offmap_false_accepts: float  # accepted among off-map queries
    average_precision: float
    recall_at_full_precision: float
    full_precision_threshold: float | None
    calibration_error: float
    brier: float
    error_median_m: float  # of right and wrong accepted on-map matches, keyframe to query
    error_p90_m: float
    error_max_m: float
    longest_gap_s: float  # longest stretch on the map without a right accepted match
    recall_mode: metrics.RecallMode
    curve: metrics.PrecisionRecall
    reliability: metrics.Reliability
    outcomes: np.ndarray  # (Q,) str, one of OUTCOMES
    ranks: np.ndarray  # (Q,) rank of the first right keyframe in the retrieval, 0 = not in the list
    errors_m: np.ndarray  # (Q,) distance of the best place to the truth, NaN without positions

    def to_dict(self) -> dict[str, Any]:
        """The scalar figures, ready for JSON (NaN becomes None)."""
        arrays = ("curve", "reliability", "outcomes", "ranks", "errors_m")
        out = {k: v for k, v in self.__dict__.items() if k not in arrays}
        out["recall"] = {str(n): v for n, v in self.recall.items()}
        out["outcomes"] = {name: int((self.outcomes == name).sum()) for name in OUTCOMES}
        return _without_nan(out)


def _without_nan(value) -> Any:
    if isinstance(value, dict):
        return {k: _without_nan(v) for k, v in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def best_ids(records: Sequence[MatchRecord]) -> np.ndarray:
    """(Q,) keyframe id of the accepted place, else of the most probable one, else -1."""
    ids = []
    for r in records:
        ids.append(r.keyframe_id if r.accepted else r.best.keyframe_id if r.best else -1)
    return np.array(ids, dtype=np.int64)


def right_answers(records: Sequence[MatchRecord], truth: Truth) -> np.ndarray:
    """(Q,) bool: is the most probable place right, accepted or not? False where there is no ground truth."""
    return metrics.membership(best_ids(records)[:, None], truth.positives)[:, 0] & truth.known


def evaluate(
    records: Sequence[MatchRecord],
    truth: Truth,
    ns: Sequence[int] = RECALL_NS,
    mode: metrics.RecallMode = "skip",
    bins: int = 10,
) -> Evaluation:
    """Compare a run with its ground truth, record i with query i of `truth`.

    `mode`: how queries without a right answer are counted in Recall@N (see metrics.recall_at). Raises VprError if the
    numbers of records and queries differ.
    """
    if len(records) != len(truth):
        raise VprError(f"{len(records)} match records but truth of {len(truth)} queries: they must belong together")
    known, on_map, off_map = truth.known, truth.on_map, truth.off_map
    accepted = np.array([r.accepted for r in records], dtype=bool)
    answer = best_ids(records)
    right = right_answers(records, truth)

    retrieved = metrics.pad_rows([[k for k, _ in r.retrieval] for r in records], -1, np.int64)
    similar = metrics.pad_rows([[s for _, s in r.retrieval] for r in records], -np.inf, float)
    ranks = metrics.hit_ranks(retrieved, truth.positives, similar)

    probability = np.array([r.best.probability if r.best else np.nan for r in records], dtype=float)
    curve = metrics.precision_recall(probability[known], right[known], int(on_map.sum()))
    full_recall, threshold = metrics.recall_at_precision(curve)
    reliable = metrics.reliability(probability[known], right[known], bins)

    errors = _errors(truth, answer)
    placed = errors[accepted & on_map & np.isfinite(errors)]
    outcomes = np.full(len(records), NO_TRUTH, dtype=object)
    outcomes[off_map] = np.where(accepted[off_map], FALSE_ACCEPT, CORRECT_UNKNOWN)
    outcomes[on_map] = np.where(accepted[on_map], np.where(right[on_map], CORRECT, WRONG), MISSED)

    n_accepted, n_right = int((accepted & known).sum()), int((accepted & right).sum())
    n_on, n_off, n_false = int(on_map.sum()), int(off_map.sum()), int((accepted & off_map).sum())
    return Evaluation(
        queries=len(records),
        on_map=n_on,
        off_map=n_off,
        without_truth=int((~known).sum()),
        accepted=n_accepted,
        accepted_correct=n_right,
        accepted_wrong=int((accepted & on_map & ~right).sum()),
        offmap_accepted=n_false,
        recall=metrics.recall_at(ranks[known], ns, on_map[known], mode),
        filtered_recall=metrics.share((right & on_map).sum(), n_on),
        accepted_precision=metrics.share(n_right, n_accepted),
        accepted_recall=metrics.share(n_right, n_on),
        accepted_share=metrics.share((accepted & on_map).sum(), n_on),
        offmap_false_accepts=metrics.share(n_false, n_off),
        average_precision=metrics.average_precision(curve),
        recall_at_full_precision=full_recall,
        full_precision_threshold=threshold,
        calibration_error=reliable.calibration_error,
        brier=reliable.brier,
        error_median_m=float(np.median(placed)) if len(placed) else float("nan"),
        error_p90_m=float(np.percentile(placed, 90)) if len(placed) else float("nan"),
        error_max_m=float(placed.max()) if len(placed) else float("nan"),
        longest_gap_s=_longest_gap_s([r.stamp_ns for r in records], outcomes),
        recall_mode=mode,
        curve=curve,
        reliability=reliable,
        outcomes=outcomes,
        ranks=ranks,
        errors_m=errors,
    )


def _longest_gap_s(stamps_ns: Sequence[int], outcomes: np.ndarray) -> float:
    """Longest time without a right accepted match, counted from zero whenever the robot comes back onto the map."""
    longest, since = float("nan"), None
    for stamp, outcome in zip(stamps_ns, outcomes, strict=True):
        if outcome in (CORRECT_UNKNOWN, FALSE_ACCEPT, NO_TRUTH):
            since = None
            continue
        since = stamp if since is None else since
        longest = float(np.fmax(longest, (stamp - since) / 1e9))
        if outcome == CORRECT:
            since = stamp
    return longest


def _errors(truth: Truth, answer: np.ndarray) -> np.ndarray:
    """(Q,) metres between the query's true position and the true position of the keyframe in the answer."""
    xy = positions_of(answer, truth.keyframe_ids, truth.keyframe_xy)
    if xy is None or truth.query_xy is None:
        return np.full(len(answer), np.nan)
    return np.linalg.norm(xy - truth.query_xy, axis=1)


def positions_of(ids: np.ndarray, keyframe_ids: np.ndarray, keyframe_xy: np.ndarray | None) -> np.ndarray | None:
    """(Q, 2) positions of keyframes by id, NaN for unknown ids; None without positions."""
    if keyframe_xy is None:
        return None
    row = {int(k): i for i, k in enumerate(keyframe_ids)}
    table = np.vstack([np.asarray(keyframe_xy, float)[:, :2], [[np.nan, np.nan]]])
    return table[[row.get(int(k), len(table) - 1) for k in ids]] if len(ids) else np.zeros((0, 2))
