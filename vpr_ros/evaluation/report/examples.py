"""The matches that the report shows as pictures, and their captions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.evaluation import summary
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.evaluation.summary import Evaluation, Outcome
from vpr_ros.evaluation.truth import Truth
from vpr_ros.recognition.types import Status


@dataclass(frozen=True)
class Example:
    """One row of pictures: a query (row number), the keyframe in the answer, the right one where that helps."""

    row: int
    kind: Outcome | Status  # the status where there is no ground truth
    chosen: int | None
    right: int | None
    tag: str  # the verdict in a word or two
    verdict: str


@dataclass(frozen=True)
class Examples:
    best: list[Example]
    worst: list[Example]


def choose_examples(
    records: Sequence[MatchRecord],
    truth: Truth | None = None,
    evaluation: Evaluation | None = None,
    count: int = 6,
) -> Examples:
    """At most `count` best and worst answers, spread over the drive.

    Best: right and most probable, the least similar pictures first. Worst: wrong acceptances by probability, then
    on-map frames without an answer, those whose place was ranked last first. Without ground truth: the most probable
    answers, and the least probable accepted or rejected ones.
    """
    rows = np.arange(len(records))
    p = np.array([r.best.probability if r.best else -1.0 for r in records])
    s = np.array([r.best.similarity if r.best else -1.0 for r in records])
    accepted = np.array([r.accepted for r in records], dtype=bool)
    min_gap = max(1, len(records) // (4 * max(count, 1)))
    sure = np.lexsort((s, -np.round(p, 2)))  # rounded: among equally probable answers the least similar come first
    if truth is None or evaluation is None:
        best = _spread(sure[accepted[sure]], count, min_gap)
        doubtful = np.lexsort((p, ~accepted))
        worst = _spread([i for i in doubtful if records[i].best and i not in best], count, min_gap)
        return Examples(*([_plain(records, i) for i in part] for part in (best, worst)))
    outcome, ranks = evaluation.outcomes, evaluation.ranks
    best = _spread(sure[outcome[sure] == summary.CORRECT], count, min_gap)
    bad = rows[np.isin(outcome, [summary.WRONG, summary.FALSE_ACCEPT])]
    bad = bad[np.argsort(-p[bad], kind="stable")]
    missed = rows[outcome == summary.MISSED]
    missed = missed[np.argsort(-np.where(ranks[missed] == 0, np.iinfo(np.int64).max, ranks[missed]), kind="stable")]
    worst = _spread(bad, count, min_gap)
    worst += _spread(missed, count - len(worst), min_gap)
    return Examples(*([_judged(records, truth, evaluation, i) for i in part] for part in (best, worst)))


def _spread(candidates, count: int, min_gap: int) -> list[int]:
    """The first `count` candidates at least `min_gap` frames from each other; closer ones only to fill up."""
    picked: list[int] = []
    for distance in (min_gap, 1):
        for i in candidates:
            if len(picked) >= count:
                return picked
            if all(abs(int(i) - j) >= distance for j in picked):
                picked.append(int(i))
    return picked


def _plain(records: Sequence[MatchRecord], row: int) -> Example:
    r = records[row]
    chosen = r.best.keyframe_id if r.best else None
    verdict = f"with probability {r.best.probability:.3f}. {_reason(r)}" if r.best else _reason(r)
    return Example(row, r.status, chosen, None, r.status.capitalize(), verdict.strip())


def _reason(record: MatchRecord) -> str:
    return f"Reason: {record.explanation.rstrip('.')}." if record.explanation else ""


def _judged(records: Sequence[MatchRecord], truth: Truth, evaluation: Evaluation, row: int) -> Example:
    kind: Outcome = evaluation.outcomes[row]
    r, error = records[row], evaluation.errors_m[row]
    chosen = r.keyframe_id if r.accepted else r.best.keyframe_id if r.best else None
    away = f"{error:.1f} m" if np.isfinite(error) else ""
    rank = int(evaluation.ranks[row])
    ranked = f"at rank {rank} of the single-frame search" if rank else "not among the retrieved images"
    right = _right_keyframe(truth, row)
    if kind == summary.CORRECT:
        return Example(row, kind, chosen, None, "Right.", f"{away} from the true position." if away else "")
    if kind == summary.WRONG:
        place = f"the accepted place is {away} from the true position" if away else "another place was accepted"
        return Example(row, kind, chosen, right, "Wrong:", f"{place}; the right place was {ranked}.")
    if kind == summary.FALSE_ACCEPT:
        far = f" (the chosen keyframe is {away} away)" if away else ""
        return Example(row, kind, chosen, None, "False accept:", f"this frame lies outside the map{far}.")
    guess = "Its best guess was right" if chosen in truth.positives[row] else "Its best guess was wrong"
    verdict = f"not accepted. {guess}; the right place was {ranked}. {_reason(r)}"
    return Example(row, kind, chosen, right, "Missed:", verdict.strip())


def _right_keyframe(truth: Truth, row: int) -> int | None:
    """The positive that is nearest to the query, or the middle one where there are no positions."""
    ids = truth.positives[row]
    if not len(ids):
        return None
    xy = summary.positions_of(ids, truth.keyframe_ids, truth.keyframe_xy)
    if xy is None or truth.query_xy is None:
        return int(ids[len(ids) // 2])
    return int(ids[np.argmin(np.linalg.norm(xy - truth.query_xy[row], axis=1))])
