"""The command `vpr_ros loops`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpr_ros.cli import options, parameters
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import exit_code
from vpr_ros.cli.outcome.outputs import growing
from vpr_ros.configuration import DecisionConfig
from vpr_ros.errors import VprError

if TYPE_CHECKING:
    from vpr_ros.offline.loops.bag import LoopsResult

TRUTH = "Truth, for the error before and after"
# The parameter that each option of the command sets.
LOOPS_OPTIONS = {
    "checkpoint": "checkpoint",
    "verify": "verify",
    "device": "device",
    "rotate": "rotate",
    "accept_probability": "accept_probability",
    "precision": "accept_precision",
} | options.READING


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(options.reads_bag(loops))


def loops(
    ctx: typer.Context,
    reading: options.Reading,
    bag: options.BagArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for loops, graph and trajectories.", show_default=False)
    ],
    map_file: Annotated[
        Path | None,
        typer.Option(
            "--map",
            "-m",
            help="Map that the drive is added to and recognised in, too (default: a new one, OUT/map.vpr).",
            show_default=False,
        ),
    ] = None,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    verify: Annotated[
        str,
        typer.Option(
            metavar="none|camera|lidar|auto", help="How accepted matches get the pose that the graph needs of them."
        ),
    ] = "auto",
    accept_probability: Annotated[
        float, typer.Option(help="A place is accepted from this probability on.")
    ] = DecisionConfig.accept_probability,
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=0.9999, help="Instead of a probability: the share of accepted places that shall be right."
        ),
    ] = DecisionConfig.accept_precision,
    truth: Annotated[
        Path | None, typer.Option(help="TUM file of the drive's true poses.", rich_help_panel=TRUTH)
    ] = None,
    truth_topic: Annotated[
        str | None,
        typer.Option(help="Topic of true poses (default: the one whose name says so).", rich_help_panel=TRUTH),
    ] = None,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    points_topic: options.PointsTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
    config_file: parameters.Config = None,
    assignments: parameters.Set = None,
    device: options.Device = options.DEVICE,
    batch: options.Batch = 0,
    force: options.Force = False,
):
    """Find where a drive comes back to its own streets, and straighten its odometry by that.

    The drive is mapped while its places are recognised (mode slam), matches
    are verified, and a pose graph of odometry and verified loops is optimised
    so that false loops leave no trace. OUT gets loops.txt, loops.g2o,
    odometry.tum and trajectory.tum (before and after), loops.png and
    loops.json. The trajectory needs the extra [slam].

    \b
    Examples:
      vpr_ros loops drive.mcap -o straight
      vpr_ros loops drive.mcap -o straight --truth rtk.tum
    The straightened poses for the map that it made:
      vpr_ros poses straight/map.vpr straight/trajectory.tum
    """
    from vpr_ros.evaluation.verified import CLOSURES
    from vpr_ros.offline.loops.bag import LoopsConfig, straighten_bag
    from vpr_ros.runtime.opening import load_extractor, network_phrase
    from vpr_ros.runtime.parameters.values import drive_config, pipeline_config

    if truth is not None and truth_topic is not None:
        raise VprError("--truth and --truth-topic exclude each other: name a file or a topic.")
    values = parameters.given(ctx, "loops", config_file, assignments, LOOPS_OPTIONS)
    extractor = load_extractor(pipeline_config(values), batch)
    advice = "`vpr_ros loops` with --force begins again"
    with growing(output, force, CLOSURES, advice) as out, Progress(f"driving {bag.name}") as progress:
        config = LoopsConfig(
            core=pipeline_config({"verify": verify} | values | {"map_path": str(map_file or out / "map.vpr")}),
            topics=reading.topics(image=image_topic, odom=odom_topic, points=points_topic, pose="none"),
            batch_size=batch,
            truth_file=truth,
            truth_topic=truth_topic,
            drive=drive_config(values),
        )
        result = straighten_bag(bag, out, extractor, config, progress)
    state = "interrupted: " if result.driven.interrupted else ""
    frames = len(result.driven.frames)
    say(f"{state}{output}: {frames} frames in {result.seconds:.0f} s ({network_phrase(extractor)})")
    for sentence in _found(result):
        say(sentence)
    for hint in result.hints:
        say(hint, style="yellow")
    for reason, count in result.skipped.items():
        say(f"skipped {count}: {reason} (first: {result.first_errors.get(reason, reason)})", style="yellow")
    if result.mounting.rotation or result.mounting.unclear:
        say(f"camera: {result.mounting.sentence}", style="yellow" if result.mounting.unclear else None)
    for note, count in result.notes.items():
        say(f"note: {note}" + (f" ({count} times)" if count > 1 else ""), style="yellow")
    if result.driven.interrupted:
        raise typer.Exit(exit_code())


def _found(result: "LoopsResult") -> list[str]:
    driven, drive = result.driven, result.straightened
    said = [
        f"{driven.accepted} frames show a place that the drive has been at; {driven.agreed} of {driven.tried} "
        "verifications measured a pose"
    ]
    if result.graph is not None:
        steps, measured = result.graph.count("odometry"), result.graph.count("metric")
        said.append(f"loops.g2o: {len(result.graph.poses)} poses, {steps} steps of odometry, {measured} measured loops")
    if drive is not None:
        said.append(
            f"trajectory.tum: {len(drive.after)} poses, moved by up to {drive.moved_m:.1f} m; "
            f"{int(drive.trusted.sum())} of {len(drive.loops)} loops are trusted"
        )
    if result.errors is not None:
        before, after = result.errors
        said.append(
            f"error against the truth (ATE, {after.poses} poses): {before.rmse_m:.2f} m before, {after.rmse_m:.2f} m "
            f"after ({after.rmse_m / before.rmse_m - 1:+.0%})"
        )
    return said
