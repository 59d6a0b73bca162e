"""The part of the report for a run without ground truth: the answers, their probabilities and places."""

from collections import Counter

import numpy as np

from vpr_ros.colours import LIGHT
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.margins import acceptance_threshold
from vpr_ros.evaluation.report import plots
from vpr_ros.evaluation.report.drawing import STATUS_MARKS
from vpr_ros.evaluation.report.inputs import ReportInput, frame_xy, keyframe_rows, series
from vpr_ros.evaluation.report.matrix_plot import matrix_plot, shades
from vpr_ros.evaluation.report.page import Bar, BarPart, Card, Cards, Figure, Section
from vpr_ros.evaluation.report.rendering import percent


def verdict(report: ReportInput) -> str:
    n, accepted = len(report.records), sum(r.accepted for r in report.records)
    if not n:
        return "No frame was processed."
    return (
        f"It gave an answer for {accepted} of {n} frames ({percent(accepted / n)}). There is no ground truth here, "
        "so whether the answers are right is not known."
    )


def cards(report: ReportInput) -> Section:
    n, counts = len(report.records), Counter(r.status for r in report.records)
    sure = [r.probability for r in report.records if r.probability is not None]
    share = {s: counts[s] / n if n else float("nan") for s in ("accepted", "rejected", "unknown")}
    fps = report.run.fps
    skipped = sum(report.run.skipped.values())
    items = [
        Card(
            "Accepted",
            percent(share["accepted"]),
            f"{counts['accepted']} of {n} frames",
            "Frames with an answer it stands by.",
        ),
        Card(
            "Rejected",
            percent(share["rejected"]),
            f"{counts['rejected']} of {n} frames",
            "A place was in sight, but something spoke against it; the reasons are listed below.",
        ),
        Card(
            "Unknown",
            percent(share["unknown"]),
            f"{counts['unknown']} of {n} frames",
            "Most likely not in the map: an honest 'I have not been here'.",
        ),
        Card(
            "Mean probability",
            percent(float(np.mean(sure)) if sure else float("nan")),
            "of accepted answers",
            "The share of accepted answers that should be right if the map's calibration fits this drive.",
        ),
        Card(
            "Speed",
            "–" if fps is None else f"{fps:.1f} fps",
            "frames per second, end to end",
            "Decoding, describing, searching and deciding.",
        ),
        Card(
            "Skipped messages",
            str(skipped),
            ", ".join(f"{k}: {v}" for k, v in report.run.skipped.items()),
            "Unusable messages were left out; the run went on.",
        ),
    ]
    return Section("", "", [Cards(items, columns=3)])


def status_bar(report: ReportInput) -> Section:
    counts = Counter(r.status for r in report.records)
    parts = [BarPart(s, counts[s], STATUS_MARKS[s].colour(LIGHT)) for s in ("accepted", "rejected", "unknown")]
    return Section(f"What became of {len(report.records)} frames", "", [Bar(parts)])


def dots(report: ReportInput) -> list[Figure]:
    """Drawings in which each frame is a dot."""
    if not report.records:
        return []
    figures = []
    time_s, probability, similarity = series(report.records)
    keyframe_xy = report.keyframe_xy
    if keyframe_xy is not None and not np.isfinite(keyframe_xy).any():
        keyframe_xy = None
    if keyframe_xy is not None:
        figures.append(
            Figure(
                plots.probability_trajectory_plot(keyframe_xy, frame_xy(report), probability),
                "Where it placed itself",
                "Grey is the map, each dot a keyframe that was accepted as the robot's place. Answers that jump across the "  # noqa: E501
                "map, or sure and doubtful dots side by side, deserve a look.",
                wide=True,
            )
        )
    status = np.array([r.status for r in report.records])
    rows = keyframe_rows(report)
    if rows and (keyframe_xy is None or report.similarities is not None):
        matched = np.array([rows.get(int(k), np.nan) for k in summary.best_ids(report.records)])
        figures.append(
            Figure(
                matrix_plot(matched, status, np.zeros((0, 2)), len(rows), report.similarities, STATUS_MARKS),
                "Query against map",
                "Each dot is a query frame and the keyframe that was its best answer, accepted or not. A drive along "
                "the map is a line; dots away from it are doubtful." + shades(report),
                wide=True,
            )
        )
    threshold = acceptance_threshold(report.run)
    figures.append(
        Figure(
            plots.timeline_plot(time_s, probability, similarity, status, threshold, STATUS_MARKS),
            "Over time",
            "Above, how probable the best place was after weighing all frames so far; below, how similar the best single "  # noqa: E501
            "image looked. A sudden drop of both often marks the end of the mapped area.",
            wide=True,
        )
    )
    return figures
