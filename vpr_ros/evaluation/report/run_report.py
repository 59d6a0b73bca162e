"""The report of a run: one self-contained HTML file, with or without ground truth."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from vpr_ros import __version__
from vpr_ros.atomic import write_whole
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.report import judged, unjudged
from vpr_ros.evaluation.report.browsing import browsed, close_calls
from vpr_ros.evaluation.report.inputs import ReportInput
from vpr_ros.evaluation.report.notable import notable_frames
from vpr_ros.evaluation.report.page import Facts, Page, Section, Table
from vpr_ros.evaluation.report.rendering import render
from vpr_ros.evaluation.report.verified import asked_once, shown, verified

__all__ = ["ReportInput", "Table", "render_report", "write_report"]


def write_report(path: str | Path, report: ReportInput) -> None:
    """Write the report as one self-contained HTML file, whole or not at all.

    Raises VprError where the file cannot be written or records and truth do not belong together.
    """
    write_whole(path, render_report(report))


def render_report(report: ReportInput) -> str:
    """The report as text; see `write_report`."""
    evaluation = report.evaluation
    if evaluation is None and report.truth is not None:
        evaluation = summary.evaluate(report.records, report.truth)
    report = replace(report, query_images=asked_once(report.query_images, [m.stamp_ns for m in shown(report)]))
    notable = notable_frames(report.records, report.truth, evaluation)
    calls = close_calls(report, notable)
    if evaluation is None or report.truth is None:
        verdict = unjudged.verdict(report)
        sections = [
            unjudged.cards(report),
            unjudged.status_bar(report),
            calls,
            browsed(report, None, notable, unjudged.dots(report)),
        ]
    else:
        verdict = judged.verdict(evaluation)
        sections = [
            judged.cards(evaluation, report.run),
            judged.outcome_bar(evaluation, report.truth),
            calls,
            browsed(report, evaluation, notable, judged.dots(report, evaluation)),
            judged.quality(report, evaluation),
        ]
    sections.append(verified(report))
    sections += [Section(table.title, table.note, [table]) for table in report.tables]
    sections += [_reasons(report), _run_info(report)]
    subtitle = report.subtitle or " → ".join(Path(p).name for p in (report.run.bag, report.run.map) if p)
    footer = f"Written by vpr_ros {__version__}."
    return render(Page(report.title, subtitle, verdict, [s for s in sections if s is not None], footer))


def _reasons(report: ReportInput) -> Section | None:
    """Why frames were not accepted; numbers inside a reason are left out so that equal reasons count together."""
    counts = Counter(
        (r.status, re.sub(r"-?\d+(\.\d+)?", "…", r.explanation) or "no reason given")
        for r in report.records
        if not r.accepted
    )
    if not counts:
        return None
    total = len(report.records)
    rows = [[reason, status, n, n / total] for (status, reason), n in counts.most_common(12)]
    return Section(
        "Why frames were not accepted",
        "The most frequent reasons, as the recogniser gave them.",
        [Table("", ["reason", "status", "frames", "share of all"], rows)],
    )


def _run_info(report: ReportInput) -> Section:
    run = report.run
    rows = [
        ("Map", f"{run.map} ({run.map_id})" if run.map_id else run.map),
        ("Query drive", run.bag),
        ("Model", run.checkpoint),
        ("Model fingerprint", run.fingerprint),
        ("Speed", "" if run.fps is None else f"{run.fps:.1f} frames per second"),
        ("Frames by status", ", ".join(f"{k}: {v}" for k, v in run.counts.items())),
        ("Skipped messages", ", ".join(f"{k}: {v}" for k, v in run.skipped.items()) or "none"),
        *((str(k), str(v)) for k, v in run.extra.items()),
    ]
    configuration = json.dumps(run.config, indent=2, default=str) if run.config else ""
    return Section("How it was run", "", [Facts(rows, configuration)])
