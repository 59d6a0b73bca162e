"""The part of the report that needs ground truth: verdict, headline figures, pictures of the run."""

import math

import numpy as np

from vpr_ros.colours import LIGHT
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.margins import acceptance_threshold
from vpr_ros.evaluation.matches import RunInfo
from vpr_ros.evaluation.report import curves, plots
from vpr_ros.evaluation.report.drawing import MARKS
from vpr_ros.evaluation.report.inputs import ReportInput, keyframe_rows, series
from vpr_ros.evaluation.report.matrix_plot import matrix_plot, shades
from vpr_ros.evaluation.report.page import Bar, BarPart, Card, Cards, Figure, Figures, Section
from vpr_ros.evaluation.report.rendering import percent
from vpr_ros.evaluation.summary import Evaluation
from vpr_ros.evaluation.truth import Truth


def verdict(e: Evaluation) -> str:
    parts = []
    if e.on_map:
        parts.append(f"On the map it gave an answer for {percent(e.accepted_share)} of {e.on_map} frames.")
    if e.accepted:
        parts.append(
            f"{e.accepted_correct} of {e.accepted} accepted answers were the right place "
            f"({percent(e.accepted_precision)})."
        )
    else:
        parts.append("It accepted nothing.")
    if e.off_map:
        n = "none" if e.offmap_accepted == 0 else str(e.offmap_accepted)
        parts.append(f"Of {e.off_map} frames outside the map it accepted {n}.")
    return " ".join(parts)


def cards(e: Evaluation, run: RunInfo) -> Section:
    first = int(((e.ranks == 1) & np.isin(e.outcomes, [summary.CORRECT, summary.WRONG, summary.MISSED])).sum())
    counted = e.on_map if e.recall_mode == "skip" else e.on_map + e.off_map
    more = ", ".join(f"@{n}: {percent(v)}" for n, v in e.recall.items() if n > 1)
    items = [
        Card(
            "Recall@1",
            percent(e.recall.get(1, float("nan"))),
            f"{first} of {counted} frames; {more}",
            "How often the single most similar image of the map shows the right place, frame by frame, with no help from "  # noqa: E501
            "the frames before.",
        ),
        Card(
            "Accepted precision",
            percent(e.accepted_precision),
            f"{e.accepted_correct} right of {e.accepted} accepted",
            "Of the answers it stood by, how many were right. A robot acts on these.",
        ),
        Card(
            "Answered on the map",
            percent(e.accepted_share),
            f"{e.on_map} frames on the map; {percent(e.accepted_recall)} answered and right",
            "How often it dared to answer where an answer exists.",
        ),
        Card(
            "False accepts off the map",
            percent(e.offmap_false_accepts),
            f"{e.offmap_accepted} of {e.off_map} frames" if e.off_map else "no frame lay outside the map",
            "Where the robot is somewhere new, every answer is wrong. Lower is better.",
        ),
        Card(
            "Recall at 100 % precision",
            percent(e.recall_at_full_precision),
            "" if e.full_precision_threshold is None else f"at a threshold of {e.full_precision_threshold:.3f}",
            "The share of on-map frames it could answer if the threshold were just high enough to make no mistake here.",  # noqa: E501
        ),
        Card(
            "Calibration error",
            percent(e.calibration_error),
            f"Brier score {e.brier:.3f}",
            "The average distance between a stated probability and how often it came true. Near 0, the numbers can be "
            "believed.",
        ),
        Card(
            "Best guess right",
            percent(e.filtered_recall),
            f"on {e.on_map} frames on the map, accepted or not",
            "How often the most probable place was right once all frames so far were weighed together.",
        )
        if math.isnan(e.error_median_m)
        else Card(
            "Median position error",
            f"{e.error_median_m:.1f} m",
            f"90 % within {e.error_p90_m:.1f} m, largest {e.error_max_m:.1f} m",
            "Distance from the true position to the keyframe that was chosen; without verification it cannot be finer "
            "than the spacing of the keyframes.",
        ),
        Card(
            "Longest gap",
            "–" if math.isnan(e.longest_gap_s) else f"{e.longest_gap_s:.1f} s",
            "" if run.fps is None else f"processed at {run.fps:.1f} frames per second",
            "The longest time on the map without a right answer: how long the robot has to live on odometry.",
        ),
    ]
    return Section("", "", [Cards(items)])


def outcome_bar(e: Evaluation, truth: Truth) -> Section:
    order = (
        summary.CORRECT,
        summary.WRONG,
        summary.FALSE_ACCEPT,
        summary.MISSED,
        summary.CORRECT_UNKNOWN,
        summary.NO_TRUTH,
    )
    parts = [BarPart(MARKS[o].label, int((e.outcomes == o).sum()), MARKS[o].colour(LIGHT)) for o in order]
    return Section(f"What became of {e.queries} frames", truth.rule, [Bar(parts)])


def dots(report: ReportInput, e: Evaluation) -> list[Figure]:
    """Drawings in which each frame is a dot."""
    truth = report.truth
    assert truth is not None
    if not e.queries:
        return []
    answer = summary.best_ids(report.records)
    figures = []
    query_xy, keyframe_xy = truth.query_xy, truth.keyframe_xy
    if query_xy is not None and keyframe_xy is not None:
        matched = summary.positions_of(answer, truth.keyframe_ids, keyframe_xy)
        assert matched is not None
        figures.append(
            Figure(
                plots.trajectory_plot(keyframe_xy, query_xy, matched, e.outcomes),
                "The drive from above",
                "Grey is the map; each dot is a query frame at its true position. A line leads from an accepted frame to "  # noqa: E501
                "the place that was chosen: long lines are wrong answers.",
                wide=True,
            )
        )
    if not figures or report.similarities is not None:
        rows = keyframe_rows(report)
        matched = np.array([rows.get(int(k), np.nan) for k in answer])
        pairs = [(q, rows[int(k)]) for q, ks in enumerate(truth.positives) for k in ks if int(k) in rows]
        band = np.array(pairs, dtype=float).reshape(-1, 2)
        figures.append(
            Figure(
                matrix_plot(matched, e.outcomes, band, len(rows), report.similarities),
                "Query against map",
                "Each dot is a query frame and the keyframe that was its best answer. On the band of true places it is "
                "right; dots away from it are mistaken places." + shades(report),
                wide=True,
            )
        )
    time_s, probability, similarity = series(report.records)
    figures.append(
        Figure(
            plots.timeline_plot(time_s, probability, similarity, e.outcomes, acceptance_threshold(report.run)),
            "Over time",
            "Above, how probable the best place was after weighing all frames so far; below, how similar the best single "  # noqa: E501
            "image looked. A good run is high on the map and low in the shaded stretches outside it.",
            wide=True,
        )
    )
    return figures


def quality(report: ReportInput, e: Evaluation) -> Section | None:
    """Precision and recall, reliability, Recall@N and position error."""
    if not e.queries:
        return None
    figures = []
    operating = (e.accepted_recall, e.accepted_precision)
    full = (e.recall_at_full_precision, e.full_precision_threshold)
    area = f"The area under the curve, average precision, is {e.average_precision:.3f}."
    figures.append(
        Figure(
            curves.pr_plot(e.curve, operating, full),
            "Precision and recall",
            "What other acceptance thresholds would have given, from strict (left) to lenient (right). "
            + ("" if math.isnan(e.average_precision) else area),
        )
    )
    figures.append(
        Figure(
            curves.reliability_plot(e.reliability, acceptance_threshold(report.run)),
            "Can the probabilities be believed?",
            "Of all frames that were given, say, 0.8, eight in ten should be right: then the dots lie on the dashed line. "  # noqa: E501
            "Above it the numbers are too modest, below it too bold.",
        )
    )
    figures.append(
        Figure(
            curves.recall_plot(e.recall),
            "Recall@N",
            "How often the right place is among the N most similar images of the map, frame by frame.",
        )
    )
    placed = e.errors_m[np.isin(e.outcomes, [summary.CORRECT, summary.WRONG])]
    if np.isfinite(placed).any():
        figures.append(
            Figure(
                curves.error_plot(placed),
                "Position error",
                "Share of accepted answers on the map whose keyframe is at most this far from the truth.",
            )
        )
    return Section("How good it was", "", [Figures.centred(figures)])
