"""`vpr_ros eval`: a run against its ground truth, one image folder against another, or drives against drives."""

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.errors import VprError


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("eval")(evaluate)


def evaluate(
    out: Annotated[
        Path | None, typer.Argument(help="Folder that `vpr_ros localize` wrote.", show_default=False)
    ] = None,
    map_bag: Annotated[
        list[Path] | None,
        typer.Option(help="Bag that was mapped; repeat for several.", rich_help_panel="Truth from poses"),
    ] = None,
    query_bag: Annotated[
        Path | None, typer.Option(help="Bag that was localised.", rich_help_panel="Truth from poses")
    ] = None,
    truth_topic: Annotated[
        str | None, typer.Option(help="Topic of the true poses in both bags.", rich_help_panel="Truth from poses")
    ] = None,
    radius_m: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="A match this near is right, in metres; 10 for a run, 25 for drives.",
            rich_help_panel="Truth from poses",
        ),
    ] = None,
    heading_deg: Annotated[
        float | None,
        typer.Option(help="And it must look the same way, within this.", rich_help_panel="Truth from poses"),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            help="CSV of query stamp, reference stamp, tolerance (run); or names, frames:K, utm:RADIUS_M (folders).",
            rich_help_panel="Truth without poses",
        ),
    ] = None,
    tolerance: Annotated[
        int,
        typer.Option(
            min=0, help="Tolerance in keyframes where the CSV has none.", rich_help_panel="Truth without poses"
        ),
    ] = 0,
    map_file: Annotated[Path | None, typer.Option("--map", help="Map, where it is not where the run says.")] = None,
    database: Annotated[
        Path | None, typer.Option(help="Folder of reference images.", rich_help_panel="Two image folders")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Folder of query images.", rich_help_panel="Two image folders")
    ] = None,
    min_grey: Annotated[
        float | None,
        typer.Option(help="Leave out images at most this bright (0-255).", rich_help_panel="Two image folders"),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            help="Instead of --truth, what a public set counts as right: pitts30k, pitts250k, msls-val, "
            "msls-val-40deg, nordland, nordland-1, sped or amstertime. And `paper` compares as the papers do, by "
            "Euclidean distance between PCA outputs that are not scaled to unit length. May be given twice.",
            rich_help_panel="Two image folders",
        ),
    ] = None,
    pca_from: Annotated[
        Path | None,
        typer.Option(
            help="Fit a PCA on this folder of training images (with --drives: training drives), never on tested ones.",
            rich_help_panel="Two image folders",
        ),
    ] = None,
    pca_dim: Annotated[
        int,
        typer.Option(
            min=1,
            help="Numbers that the PCA keeps; it needs four images for each.",
            rich_help_panel="Two image folders",
        ),
    ] = 512,
    baselines: Annotated[
        bool, typer.Option(help="Also measure pixels and an untrained copy.", rich_help_panel="Two image folders")
    ] = True,
    drives: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of a training set, a Boreas sequence or a RobotCar traversal; repeat for several. The frames "
            "of each drive are looked up in every other drive of the same area.",
            rich_help_panel="Drives",
        ),
    ] = None,
    submaps: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the point clouds and splits of the PointNetVLAD benchmark.", rich_help_panel="Drives"
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="Part of --submaps to test: oxford, university, residential or business.", rich_help_panel="Drives"
        ),
    ] = "oxford",
    images: Annotated[
        Path | None, typer.Option(help="Folder with the pictures that belong to --submaps.", rich_help_panel="Drives")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Evaluate this teacher instead of the student; --checkpoint is its file.", rich_help_panel="Drives"
        ),
    ] = None,
    measure: Annotated[
        str,
        typer.Option(
            help="Distance between descriptors: euclidean or l1, both unscaled, or cosine.", rich_help_panel="Drives"
        ),
    ] = "euclidean",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for tables, JSON and a picture.", rich_help_panel="Drives"),
    ] = None,
    checkpoint: options.Checkpoint = "nano",
    device: options.Device = "auto",
):
    """Recall, precision, calibration and off-map false accepts of a run; writes OUT/eval.json and OUT/report.html.

    \b
    Bags with true poses (the topic is found by its name):
      vpr_ros eval run --map-bag first.mcap --query-bag second.mcap
    Robots without poses, from a table of pairs:
      vpr_ros eval run --truth pairs.csv --tolerance 2
    Image folders, without any map:
      vpr_ros eval --database summer --queries winter --truth names
    As in the papers, a PCA fitted on training images:
      vpr_ros eval --database test/database --queries test/queries
        --protocol pitts30k --protocol paper --pca-from train/database --pca-dim 4096
    Drives in several conditions (AR@N, AR@1 %), for the student or a teacher:
      vpr_ros eval --drives runs/validation -o tables
      vpr_ros eval --submaps benchmark --images pictures --teacher minkloc++ -c minkloc.pth
    """
    if drives or submaps:
        if out is not None or database is not None or (drives and submaps):
            raise VprError("give one of: a run folder, --database with --queries, --drives, --submaps.")
        from vpr_ros.cli.evaluating_drives import evaluate_drives, evaluate_submaps

        if drives:
            evaluate_drives(
                drives,
                teacher,
                checkpoint,
                device,
                radius_m=radius_m,
                heading_deg=heading_deg,
                measure=measure,
                pca_from=pca_from,
                pca_dim=pca_dim,
                out=output,
            )
        elif submaps:
            evaluate_submaps(submaps, split, images, teacher, checkpoint, device, measure=measure, out=output)
        return
    if teacher is not None:
        raise VprError("--teacher is for --drives and --submaps: a run or image folders are described by the student.")
    if (database is None) != (queries is None):
        raise VprError("--database and --queries belong together: name both folders.")
    if database is not None and queries is not None:
        if out is not None:
            raise VprError("give either a run folder, or --database with --queries, not both.")
        _folders(database, queries, truth, min_grey, checkpoint, device, baselines, protocol or [], pca_from, pca_dim)
        return
    if protocol or pca_from:
        raise VprError("--protocol and --pca-from are for two image folders: name --database and --queries.")
    if out is None:
        raise VprError("what is to be evaluated? Name the folder of a run, or --database and --queries.")
    from vpr_ros.offline.evaluate_run import TruthConfig, evaluate_run
    from vpr_ros.offline.reporting import write_evaluation

    config = TruthConfig(
        map_bags=tuple(map_bag or ()),
        query_bag=query_bag,
        truth_topic=truth_topic,
        radius_m=radius_m or 10.0,
        max_heading_deg=heading_deg,
        pairs=Path(truth) if truth else None,
        tolerance_frames=tolerance,
    )
    evaluated = evaluate_run(out, config, map_file)
    report = write_evaluation(out, evaluated, map_file, query_bag)
    show(evaluated.evaluation)
    say(f"report: {report}")


def show(evaluation, title: str = "evaluation") -> None:
    """Print the figures of an Evaluation."""
    e = evaluation
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


def _folders(database, queries, truth, min_grey, checkpoint, device, baselines, names, pca_from, pca_dim):
    from vpr_ros.evaluation.protocols.folders import FolderConfig, PixelBaseline, evaluate_folders, list_images
    from vpr_ros.evaluation.protocols.image_protocol import ImageProtocol, fit_on_folder
    from vpr_ros.evaluation.protocols.image_sets import size_remark
    from vpr_ros.evaluation.protocols.reduction import MOST_SAMPLES
    from vpr_ros.offline.baselines import untrained_copy
    from vpr_ros.student import DescriptorExtractor

    protocol = ImageProtocol.named(names)
    if protocol.set_name and truth is not None:
        raise VprError(f"--truth and --protocol {protocol.set_name} are two rules: give one of them.")
    config = protocol.config(FolderConfig(truth=truth or "names", min_grey=min_grey))
    total = len(list_images(database)) + len(list_images(queries))
    students = [DescriptorExtractor.from_checkpoint(checkpoint, device=device)]
    students += [untrained_copy(students[0])] if baselines else []
    compared = []
    for student in students:
        reduction = None
        if pca_from is not None:
            with _counting(f"PCA of {student.name}", min(len(list_images(pca_from)), MOST_SAMPLES)) as advance:
                tested = (database, queries)
                reduction = fit_on_folder(student, pca_from, pca_dim, evaluated=tested, progress=advance)
        compared.append((protocol.descriptors(student, reduction), protocol.statement(student, reduction)))
    results = []
    for extractor in [*(c for c, _ in compared), *([PixelBaseline()] if baselines else [])]:
        with _counting(extractor.name, total) as advance:
            results.append(evaluate_folders(extractor, database, queries, config, advance))
    ns = sorted(results[0].recall)
    table(
        f"{queries} against {database}",
        ["descriptor", *(f"recall@{n}" for n in ns), "images/s"],
        [(r.name, *(r.recall[n] for n in ns), f"{r.images_per_second:.1f}") for r in results],
    )
    say(f"{results[0].queries} queries, {results[0].database} references. {results[0].rule}")
    say(compared[0][1])
    sizes = len(list_images(queries)), len(list_images(database))
    if protocol.set_name and (remark := size_remark(protocol.set_name, *sizes)):
        say(remark)
    skipped = {reason: count for reason, count in results[0].skipped.items() if count}
    if skipped:
        say("left out: " + json.dumps(skipped))


@contextmanager
def _counting(name: str, total: int):
    """A progress bar as a function that is told how many more are done."""
    with Progress(name, total) as progress:
        done = 0

        def advance(more: int):
            nonlocal done
            done += more
            progress(done)

        yield advance
