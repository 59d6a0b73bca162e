"""The part of the report that shows single frames: what came close, and the browser of all frames."""

import json

from vpr_ros.evaluation.advice import advice
from vpr_ros.evaluation.margins import acceptance_threshold, margins
from vpr_ros.evaluation.report.frames import frame_table
from vpr_ros.evaluation.report.inputs import ReportInput
from vpr_ros.evaluation.report.notable import Notable
from vpr_ros.evaluation.report.page import Browser, Figure, Figures, FrameList, Lines, Section
from vpr_ros.evaluation.report.shots import BUDGET, PictureBudget
from vpr_ros.evaluation.summary import Evaluation


def close_calls(report: ReportInput, notable: list[Notable]) -> Section | None:
    """The probabilities against the threshold and the truth in words, what to try, and frames worth a look."""
    said = margins(report.records, acceptance_threshold(report.run), report.truth).sentences()
    said += advice(report.records, report.run, report.truth)
    lists = [FrameList(k.title, k.intro, k.tone, k.frames) for k in notable]
    if not said and not lists:
        return None
    return Section(
        "How close it was",
        "The stated probabilities against the threshold of acceptance, and the frames to look at first.",
        [*([Lines(said)] if said else []), *lists],
    )


def browsed(
    report: ReportInput,
    evaluation: Evaluation | None,
    notable: list[Notable],
    drawings: list[Figure],
    budget: PictureBudget = BUDGET,
) -> Section | None:
    """Every frame: its pictures, what was answered, and its truth; below it the drawings that can be clicked."""
    if not report.records:
        return None
    listed = [link.row for kind in notable for link in kind.frames]
    interesting = [listed, *(kind.rows.tolist() for kind in notable)]
    table = frame_table(report, evaluation, interesting, budget)
    text = json.dumps(table, separators=(",", ":"), allow_nan=False)
    # "<" could end the element that holds the table; JSON has another way to write it.
    block = Browser(len(report.records), text.replace("<", "\\u003c"), _note(table))
    return Section(
        "Frame by frame",
        "Click a dot in a drawing below, drag the slider, or use the arrow keys. The address of the page then "
        "names the frame: a copy of it leads there.",
        [block, Figures(drawings)],
    )


def _note(table: dict) -> str:
    """How many pictures are on the page, and what is shown in place of the others."""
    frames, keyframes = len(table["frame_pictures"]), len(table["keyframe_pictures"])
    if not frames and not keyframes:
        return "There are no pictures: neither the bag nor the map had any when this page was written."
    named = {k for name in ("best", "second", "right") for k in table.get(name, ()) if k is not None}
    parts = [f"pictures of {frames} of {table['count']} frames and of {keyframes} of the {len(named)} keyframes named"]
    if frames < table["count"] or keyframes < len(named):
        parts.append("where one is missing the nearest is shown, and its caption says so")
    return f"The page holds {'; '.join(parts)}."
