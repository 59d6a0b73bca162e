"""The report of a run: one HTML file that opens anywhere, with or without ground truth."""

import json
import re
from collections import Counter
from html import escape
from pathlib import Path

from vpr_ros import __version__
from vpr_ros.atomic import whole_text
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.report import curves, judged, page, unjudged
from vpr_ros.evaluation.report.gallery import galleries
from vpr_ros.evaluation.report.inputs import ReportInput
from vpr_ros.evaluation.report.page import Table

__all__ = ["ReportInput", "Table", "render_report", "write_report"]


def write_report(path: str | Path, report: ReportInput) -> None:
    """Write the report as one self-contained HTML file, whole or not at all.

    Raises VprError where the file cannot be written or records and truth do not belong together.
    """
    text = render_report(report)
    with whole_text(path) as stream:
        stream.write(text)


def render_report(report: ReportInput) -> str:
    """The report as text; see `write_report`."""
    evaluation = report.evaluation
    if evaluation is None and report.truth is not None:
        evaluation = summary.evaluate(report.records, report.truth)
    if evaluation is None or report.truth is None:
        verdict = unjudged.verdict(report)
        body = [unjudged.cards(report), unjudged.status_bar(report), unjudged.pictures(report)]
    else:
        verdict = judged.verdict(evaluation)
        body = [
            judged.cards(evaluation, report.run),
            judged.outcome_bar(evaluation, report.truth),
            judged.pictures(report, evaluation),
        ]
    body += [page.section(t.title, t.note, page.table(t)) for t in report.tables]
    body += [_reasons(report), *galleries(report, evaluation), _training(report), _run_info(report)]
    subtitle = report.subtitle or " → ".join(Path(p).name for p in (report.run.bag, report.run.map) if p)
    return page.page(report.title, subtitle, verdict, [b for b in body if b], f"Written by vpr_ros {__version__}.")


def _reasons(report: ReportInput) -> str:
    """Why frames were not accepted; numbers inside a reason are left out so that equal reasons count together."""
    counts = Counter(
        (r.status, re.sub(r"-?\d+(\.\d+)?", "…", r.explanation) or "no reason given")
        for r in report.records
        if not r.accepted
    )
    if not counts:
        return ""
    total = len(report.records)
    rows = [[reason, status, n, n / total] for (status, reason), n in counts.most_common(12)]
    return page.section(
        "Why frames were not accepted",
        "The most frequent reasons, as the recogniser gave them.",
        page.table(Table("", ["reason", "status", "frames", "share of all"], rows)),
    )


def _training(report: ReportInput) -> str:
    if not report.training:
        return ""
    return page.section(
        "Training",
        "",
        page.figure(
            curves.training_plot(report.training),
            "Training curves",
            "Each curve should fall (losses) or rise (recall) and then level out.",
        ),
    )


def _run_info(report: ReportInput) -> str:
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
    config = json.dumps(run.config, indent=2, default=str) if run.config else ""
    more = f"<details><summary>Configuration</summary><pre>{escape(config)}</pre></details>" if config else ""
    return page.section("How it was run", "", f'<div class="box">{page.facts(rows)}{more}</div>')
