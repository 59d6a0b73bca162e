"""The frames worth a look: wrong answers, near misses, right ones that were not accepted, and the surest of all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.evaluation import summary
from vpr_ros.evaluation.margins import BETWEEN
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.evaluation.report.page import FrameLink, Tone
from vpr_ros.evaluation.summary import Evaluation
from vpr_ros.evaluation.truth import Truth

COUNT = 6  # frames in a list
NEAR = 0.1  # a wrong place stated below this was no near miss


@dataclass(frozen=True)
class Notable:
    """Frames of one kind, the most telling first; of `rows` (M,), listed or not, the pictures should be there."""

    title: str
    intro: str
    tone: Tone
    frames: Sequence[FrameLink]
    rows: np.ndarray


def notable_frames(
    records: Sequence[MatchRecord], truth: Truth | None = None, evaluation: Evaluation | None = None, count: int = COUNT
) -> list[Notable]:
    """Lists of at most `count` frames each, spread over the drive; kinds without a frame are left out."""
    p = np.array([r.best.probability if r.best else -1.0 for r in records])
    similar = np.array([r.best.similarity if r.best else -1.0 for r in records])
    accepted = np.array([r.accepted for r in records], dtype=bool)
    answered = p >= 0
    rising = np.argsort(p, kind="stable")
    falling = np.argsort(-p, kind="stable")
    sure = np.lexsort((similar, -np.round(p, 2)))  # rounded: among equally probable ones the least similar come first
    min_gap = max(1, len(records) // (4 * max(count, 1)))

    def kind(title: str, intro: str, tone: Tone, order: np.ndarray, where: np.ndarray, say) -> Notable:
        rows = order[where[order]]
        listed = spread(rows, count, min_gap)
        telling = rows if tone == "bad" else rows[~accepted[rows] & (p[rows] >= BETWEEN[0])]
        pictured = np.union1d(telling, np.array(listed, np.int64))
        return Notable(title, intro, tone, [FrameLink(row, say(row)) for row in listed], pictured)

    if truth is None or evaluation is None:
        kinds = [
            kind(
                "Most doubtful acceptances",
                "Accepted with the least probability.",
                "warn",
                rising,
                accepted & answered,
                lambda row: _plain(records[row]),
            ),
            kind(
                "Closest to acceptance",
                "Not accepted, with the highest probability.",
                "warn",
                falling,
                ~accepted & (p >= NEAR),
                lambda row: _plain(records[row]),
            ),
            kind(
                "Surest matches",
                "Accepted with the highest probability; among equals those whose pictures differ most.",
                "good",
                sure,
                accepted & answered,
                lambda row: _plain(records[row]),
            ),
        ]
        return [k for k in kinds if k.frames]
    outcome, ranks = evaluation.outcomes, evaluation.ranks
    right = summary.right_answers(records, truth)
    wrong = np.isin(outcome, [summary.WRONG, summary.FALSE_ACCEPT])
    close = truth.known & ~accepted & ~right & (p >= NEAR)
    missed = outcome == summary.MISSED
    last = np.argsort(-np.where(ranks == 0, np.iinfo(np.int64).max, ranks), kind="stable")

    def judged(row: int) -> str:
        return _judged(records[row], truth, evaluation, row, bool(right[row]))

    kinds = [
        kind("Wrong answers", "Accepted and wrong, the most probable first.", "bad", falling, wrong, judged),
        kind(
            "Near misses",
            "A wrong place, or any place off the map, with the highest probability, yet not accepted.",
            "warn",
            falling,
            close,
            judged,
        ),
        kind(
            "Right, but not accepted",
            "The best place was the right one; the most probable first.",
            "warn",
            falling,
            missed & right,
            judged,
        ),
        kind(
            "On the map and not found",
            "The best place was a wrong one, and the right one was ranked last by the single-frame search.",
            "warn",
            last,
            missed & ~right,
            judged,
        ),
        kind(
            "Surest right answers",
            "Accepted and right; among equally sure ones those whose pictures differ most.",
            "good",
            sure,
            outcome == summary.CORRECT,
            judged,
        ),
    ]
    return [k for k in kinds if k.frames]


def spread(candidates: Iterable[int], count: int, min_gap: int) -> list[int]:
    """The first `count` candidates at least `min_gap` frames from each other; closer ones only to fill up."""
    candidates, picked = [int(c) for c in candidates], []
    for distance in (min_gap, 1):
        for i in candidates:
            if len(picked) >= count:
                return picked
            if all(abs(i - j) >= distance for j in picked):
                picked.append(i)
    return picked


def right_keyframe(truth: Truth, row: int) -> int | None:
    """The positive that is nearest to the query, or the middle one where there are no positions."""
    ids = truth.positives[row]
    if not len(ids):
        return None
    xy = None
    if truth.query_xy is not None:
        xy = summary.positions_of(ids, truth.keyframe_ids, truth.keyframe_xy)
    if xy is None or truth.query_xy is None:
        return int(ids[len(ids) // 2])
    return int(ids[np.argmin(np.linalg.norm(xy - truth.query_xy[row], axis=1))])


def _plain(record: MatchRecord) -> str:
    best = record.best
    assert best is not None
    text = f"{record.status}, keyframe {best.keyframe_id} with probability {best.probability:.3f}"
    return f"{text}: {_reason(record)}" if _reason(record) else f"{text}."


def _reason(record: MatchRecord) -> str:
    return "" if record.accepted or not record.explanation else record.explanation.rstrip(".") + "."


def _judged(record: MatchRecord, truth: Truth, evaluation: Evaluation, row: int, right: bool) -> str:
    best = record.best
    stated = "" if best is None else f"keyframe {best.keyframe_id} with probability {best.probability:.3f}"
    error = evaluation.errors_m[row]
    away = f", {error:.1f} m from the true position" if np.isfinite(error) else ""
    if not truth.on_map[row]:
        return f"{stated}; the frame lies outside the map. {_reason(record)}".strip()
    if right:
        return f"{stated}{away}. {_reason(record)}".strip()
    rank = int(evaluation.ranks[row])
    ranked = f"at rank {rank} of the single-frame search" if rank else "not among the retrieved images"
    return f"{stated or 'no place'}{away}; the right one was {ranked}. {_reason(record)}".strip()
