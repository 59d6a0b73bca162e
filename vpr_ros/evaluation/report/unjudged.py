"""The part of the report for a run without ground truth: the answers, their probabilities and places."""

from collections import Counter

import numpy as np

from vpr_ros.colours import GREEN, LIGHT, ORANGE
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.report import plots
from vpr_ros.evaluation.report.inputs import ReportInput, series
from vpr_ros.evaluation.report.page import Bar, BarPart, Card, Cards, Figure, Figures, Section
from vpr_ros.evaluation.report.rendering import percent

STATUS_COLOURS = {"accepted": GREEN, "rejected": ORANGE, "unknown": LIGHT.blue}


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
    parts = [BarPart(s, counts[s], STATUS_COLOURS[s]) for s in ("accepted", "rejected", "unknown")]
    return Section(f"What became of {len(report.records)} frames", "", [Bar(parts)])


def pictures(report: ReportInput) -> Section | None:
    if not report.records:
        return None
    figures = []
    accepted = np.array([r.keyframe_id if r.keyframe_id is not None else -1 for r in report.records])
    time_s, probability, similarity = series(report.records)
    if report.keyframe_ids is not None and report.keyframe_xy is not None and np.isfinite(report.keyframe_xy).any():
        matched = summary.positions_of(accepted, report.keyframe_ids, report.keyframe_xy)
        assert matched is not None
        figures.append(
            Figure(
                plots.probability_trajectory_plot(report.keyframe_xy, matched, probability),
                "Where it placed itself",
                "Grey is the map, each dot a keyframe that was accepted as the robot's place. Answers that jump across the "  # noqa: E501
                "map, or sure and doubtful dots side by side, deserve a look.",
                wide=True,
            )
        )
    status = np.array([r.status for r in report.records])
    figures.append(
        Figure(
            plots.status_timeline_plot(time_s, probability, similarity, status),
            "Over time",
            "Above, how probable the best place was after weighing all frames so far; below, how similar the best single "  # noqa: E501
            "image looked. A sudden drop of both often marks the end of the mapped area.",
            wide=True,
        )
    )
    return Section("Pictures of the run", "", [Figures.centred(figures)])
