"""The table of all frames that the page browses: what matches.jsonl says of each, its truth, and its pictures."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from vpr_ros.evaluation import summary
from vpr_ros.evaluation.matches import STATUSES
from vpr_ros.evaluation.report.drawing import MARKS
from vpr_ros.evaluation.report.inputs import ReportInput, frame_xy, keyframe_rows, series
from vpr_ros.evaluation.report.notable import right_keyframe
from vpr_ros.evaluation.report.page import Tone
from vpr_ros.evaluation.report.rendering import data_uri
from vpr_ros.evaluation.report.shots import (
    BUDGET,
    PictureBudget,
    Shots,
    chosen_frames,
    gather,
    in_turn,
    nearest,
)
from vpr_ros.evaluation.summary import Evaluation

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
TONES: dict[str, Tone] = {
    summary.CORRECT: "good",
    summary.WRONG: "bad",
    summary.FALSE_ACCEPT: "bad",
    summary.MISSED: "warn",
    summary.CORRECT_UNKNOWN: "good",
    summary.NO_TRUTH: "warn",
}


def frame_table(
    report: ReportInput,
    evaluation: Evaluation | None,
    interesting: Sequence[Iterable[int]],
    budget: PictureBudget = BUDGET,
) -> dict[str, Any]:
    """Columns with one entry per frame, and the pictures, ready for JSON.

    Numbers are rounded and sentences share their words, so that a frame takes about 100 bytes; the pictures are within
    `budget`, those of `interesting` frames first, list after list. Each frame names the picture that is shown for it:
    its own, or the nearest one that is there.
    """
    records = report.records
    _, probability, similarity = series(records)
    rows = keyframe_rows(report)
    best = [r.best.keyframe_id if r.best else None for r in records]
    second = [r.hypotheses[1] if len(r.hypotheses) > 1 else None for r in records]
    truth = report.truth
    right = [None if truth is None else right_keyframe(truth, q) for q in range(len(records))]
    runner_up = [h.keyframe_id if h else None for h in second]
    shots = _shots(report, interesting, [best, right, runner_up], budget)
    of_frame = _stand_in_frames(len(records), shots)
    of_keyframe = _stand_in_keyframes(rows, shots)
    first_ns = records[0].stamp_ns if records else 0
    xy = frame_xy(report)
    table: dict[str, Any] = {
        "count": len(records),
        "first_ns": str(first_ns),  # a number of the page could not hold all its digits
        "after_ns": [r.stamp_ns - first_ns for r in records],
        "statuses": STATUSES,
        "status": [STATUSES.index(r.status) for r in records],
        **_sentences("reason", [r.explanation for r in records]),
        **_sentences("note", [r.note for r in records]),
        "best": best,
        "probability": _rounded(probability, 4),
        "best_similarity": [round(r.best.similarity, 4) if r.best else None for r in records],
        "second": runner_up,
        "second_probability": [round(h.probability, 4) if h else None for h in second],
        "second_similarity": [round(h.similarity, 4) if h else None for h in second],
        "unknown": [round(r.p_unknown, 4) for r in records],
        "similarity": _rounded(similarity, 4),
        "x": _rounded(xy[:, 0], 1),
        "y": _rounded(xy[:, 1], 1),
        "keyframe": [None if k is None else rows.get(k) for k in best],
        "picture": of_frame,
        "best_picture": [of_keyframe(k) for k in best],
        "second_picture": [of_keyframe(k) for k in runner_up],
        "aspect": round(shots.aspect, 4),
        "frame_pictures": {str(f): data_uri(data) for f, data in shots.frames.items()},
        "keyframe_pictures": {str(k): data_uri(data) for k, data in shots.keyframes.items()},
    }
    if evaluation is not None:
        names = list(MARKS)
        table |= {
            "outcomes": [[MARKS[name].label, TONES[name]] for name in names],
            "outcome": [names.index(name) for name in evaluation.outcomes],
            "error_m": _rounded(evaluation.errors_m, 1),
            "rank": evaluation.ranks.tolist(),
            "right": right,
            "right_picture": [of_keyframe(k) for k in right],
        }
    return table


def _shots(
    report: ReportInput,
    interesting: Sequence[Iterable[int]],
    columns: Sequence[Sequence[int | None]],
    budget: PictureBudget,
) -> Shots:
    """The pictures of chosen frames, and of the keyframes that the most interesting, the chosen and all frames name."""
    frames = chosen_frames(len(report.records), interesting, budget.frames)
    groups = [*interesting[:1], frames, range(len(report.records))]
    named = [[k for f in group if (k := column[f]) is not None] for group in groups for column in columns]
    keyframes = in_turn(named, budget.keyframes)
    stamps = [r.stamp_ns for r in report.records]
    return gather(stamps, frames, keyframes, report.query_images, report.keyframe_image, budget)


def _stand_in_frames(count: int, shots: Shots) -> list[int | None]:
    if not shots.frames:
        return [None] * count
    return nearest(np.arange(count), np.array(sorted(shots.frames))).tolist()


def _stand_in_keyframes(rows: dict[int, int], shots: Shots) -> Callable[[int | None], int | None]:
    """From a keyframe to the one whose picture is shown: its own, else the nearest one in the map's order."""
    kept = {rows[k]: k for k in shots.keyframes if k in rows}
    if not kept:
        return lambda k: k if k in shots.keyframes else None
    known = np.array(sorted(rows.values()))
    stand_in = dict(zip(known.tolist(), nearest(known, np.array(sorted(kept))).tolist(), strict=True))

    def find(keyframe_id: int | None) -> int | None:
        if keyframe_id is None or keyframe_id in shots.keyframes:
            return keyframe_id
        row = rows.get(keyframe_id)
        return None if row is None else kept[stand_in[row]]

    return find


def _sentences(name: str, texts: Sequence[str]) -> dict[str, Any]:
    """Sentences as patterns with "\u0000" where numbers stood, which pattern each frame has, and its numbers."""
    patterns: dict[str, int] = {}
    which = [patterns.setdefault(NUMBER.sub("\0", text), len(patterns)) for text in texts]
    return {f"{name}s": list(patterns), name: which, f"{name}_numbers": [NUMBER.findall(text) for text in texts]}


def _rounded(values: np.ndarray, digits: int) -> list[float | None]:
    return [None if v != v else round(v, digits) for v in np.asarray(values, float).tolist()]
