"""`vpr_ros eval run`: a run of `vpr_ros localize` against its ground truth."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import say, table
from vpr_ros.errors import VprError

POSES = "Truth from poses"
PAIRS = "Truth without poses"


def _named(out: Path | None) -> Path:
    if out is None:
        raise VprError("what is to be evaluated? Name the folder of the run: `vpr_ros eval run OUT`.")
    return out


def evaluate_run_folder(
    out: Annotated[
        Path | None, typer.Argument(callback=_named, help="Folder that `vpr_ros localize` wrote.", show_default=False)
    ] = None,
    map_bag: Annotated[
        list[Path] | None, typer.Option(help="Bag that was mapped; repeat for several.", rich_help_panel=POSES)
    ] = None,
    query_bag: Annotated[Path | None, typer.Option(help="Bag that was localised.", rich_help_panel=POSES)] = None,
    truth_topic: Annotated[
        str | None, typer.Option(help="Topic of the true poses in both bags.", rich_help_panel=POSES)
    ] = None,
    radius_m: Annotated[
        float, typer.Option(min=0.01, help="A match this near is right, in metres.", rich_help_panel=POSES)
    ] = 10.0,
    heading_deg: Annotated[
        float | None, typer.Option(help="And headings differ by at most this, in degrees.", rich_help_panel=POSES)
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            help="names (same file name), frames:K (picture numbers differ by at most K), a CSV or an .npy.",
            rich_help_panel=PAIRS,
        ),
    ] = None,
    tolerance: Annotated[
        int,
        typer.Option(
            min=0,
            help="Of a CSV without one, of .npy and names: in pictures; in keyframes where it has stamps.",
            rich_help_panel=PAIRS,
        ),
    ] = 0,
    map_file: Annotated[Path | None, typer.Option("--map", help="Map file, if it is not where run.json says.")] = None,
    strict: options.Strict = False,
):
    """Recall, precision, calibration and off-map false accepts of a run; writes OUT/eval.json and OUT/report.html.

    \b
    Bags with true poses (the topic is found by its name):
      vpr_ros eval run OUT --map-bag first.mcap --query-bag second.mcap
    Two walks in step, folders of pictures:
      vpr_ros eval run OUT --truth frames:2
    From a table: query and reference stamp, or header query_name,reference_name
    or query_frame,reference_frame, and tolerance:
      vpr_ros eval run OUT --truth pairs.csv --tolerance 2
    """
    assert out is not None  # `_named` has seen to it
    from vpr_ros.evaluation.advice import advice
    from vpr_ros.offline.evaluate_run import TruthConfig, evaluate_run
    from vpr_ros.offline.reporting import write_evaluation

    config = TruthConfig(
        map_bags=tuple(map_bag or ()),
        query_bag=query_bag,
        truth_topic=truth_topic,
        radius_m=radius_m,
        max_heading_deg=heading_deg,
        truth=truth,
        tolerance_frames=tolerance,
    )
    evaluated = evaluate_run(out, config, map_file)
    show(evaluated)  # first: a disk that takes no report does not take the figures away
    if evaluated.run.extra.get("interrupted"):
        say(f"The run did not come to the bag's end: these are its first {len(evaluated.records)} frames.", "yellow")
    for hint in advice(evaluated.records, evaluated.run, evaluated.truth):
        say(hint, style="yellow")
    say(f"report: {write_evaluation(out, evaluated, map_file, query_bag)}")


def show(evaluated, title: str = "evaluation") -> None:
    """Print the figures of an EvaluatedRun."""
    e = evaluated.evaluation
    rows = [(f"recall@{n} (single frame)", value) for n, value in e.recall.items()]
    rows += [
        ("recall@1 after the filter", e.filtered_recall),
        ("accepted precision", e.accepted_precision),
        ("accepted share of on-map queries", e.accepted_share),
        ("off-map false accepts", e.offmap_false_accepts),
        ("average precision", e.average_precision),
        ("recall at 100 % precision", e.recall_at_full_precision),
        ("calibration error", e.calibration_error),
        ("median error of accepted matches (m)", e.error_median_m),
    ]
    table(title, ["figure", "value"], [(name, "-" if value != value else f"{value:.3f}") for name, value in rows])
    say(f"{e.queries} queries: {e.on_map} on the map, {e.off_map} off it, {e.without_truth} without truth")
    say(f"{e.accepted} accepted, {e.accepted_correct} of them right")
    for sentence in evaluated.margins.sentences():
        say(sentence)
