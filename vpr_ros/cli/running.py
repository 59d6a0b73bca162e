"""`vpr_ros localize` and `report`: a drive is recognised in a map, and its run is shown again."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options, parameters
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import exit_code, interrupts_say
from vpr_ros.cli.outcome.losses import say_losses, say_mounting
from vpr_ros.cli.outcome.outputs import growing
from vpr_ros.configuration import DecisionConfig, RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.runtime.settings import PipelineConfig

MATCHES = "matches.jsonl"
# The parameter that each option sets.
LOCALIZE_OPTIONS = options.RUNNING | {
    "verify": "verify",
    "accept_probability": "accept_probability",
    "precision": "accept_precision",
    "drive_mean_frames": "drive_mean_frames",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(options.reads_bag(localize))
    app.command("report")(report_)


def localize(
    ctx: typer.Context,
    reading: options.Reading,
    bag: options.BagArgument,
    map_file: Annotated[Path, typer.Option("--map", "-m", help="Map file.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for matches and report.", show_default=False)],
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    only_stamps: Annotated[
        Path | None, typer.Option(help="Answer only the frames whose stamps (ns) this file lists, one per line.")
    ] = None,
    verify: Annotated[
        str,
        typer.Option(
            metavar="none|camera|lidar|auto",
            help="Look at the geometry of accepted matches; writes poses.txt and loop_closures.jsonl.",
        ),
    ] = PipelineConfig.verify,
    loops: Annotated[
        bool,
        typer.Option("--loops", help="Write loop closures: loops.txt, and loops.g2o where there is odometry."),
    ] = False,
    drive_mean_frames: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Compare without the mean of the drive, which remembers this many frames; 0: as they are (default: as "
            "the probabilities were fitted).",
        ),
    ] = RecognitionConfig.drive_mean_frames,
    accept_probability: Annotated[
        float, typer.Option(help="A place is accepted from this probability on.")
    ] = DecisionConfig.accept_probability,
    precision: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=0.9999,
            help="Instead of a probability: the share of accepted places that shall be right.",
        ),
    ] = DecisionConfig.accept_precision,
    report: Annotated[bool, typer.Option(help="Write report.html.")] = True,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    points_topic: options.PointsTopic = None,
    depth_topic: options.DepthTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
    config_file: parameters.Config = None,
    assignments: parameters.Set = None,
    device: options.Device = options.DEVICE,
    batch: options.Batch = 0,
    force: options.Force = False,
):
    """Recognise the places of a map in another drive, frame by frame as a robot would.

    OUT gets matches.jsonl and matches.csv (one line per frame), run.json
    (what was run, what was skipped) and report.html. True poses in the bag
    are never read; `vpr_ros eval` does that.

    \b
    Examples:
      vpr_ros localize second.mcap --map town.vpr -o run
    The same frames that a live robot processed:
      vpr_ros localize second.mcap -m town.vpr -o run --only-stamps live.txt
    Accept what is right 99 times of 100, as far as the calibration knows:
      vpr_ros localize second.mcap -m town.vpr -o run --precision 0.99
    Where the robot stood, to centimetres, by its camera alone:
      vpr_ros localize second.mcap -m town.vpr -o run --verify camera
    Its matches as loop closures for a SLAM (pairs of stamps, and a g2o file):
      vpr_ros localize second.mcap -m town.vpr -o run --loops
    With the parameters of the robot's node, but for one:
      vpr_ros localize second.mcap -m town.vpr -o run --config vpr.yaml
        --set accept_probability=0.9
    """
    from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag, read_stamps
    from vpr_ros.runtime.opening import load_extractor, network_phrase
    from vpr_ros.runtime.parameters.values import drive_config, pipeline_config

    values = parameters.given(ctx, "localize", config_file, assignments, LOCALIZE_OPTIONS)
    core = pipeline_config(values)
    config = LocalizeBagConfig(
        topics=reading.topics(image=image_topic, odom=odom_topic, points=points_topic, pose="none"),
        recognition=core.recognition,
        verify=core.verify,
        local_features=core.local_features,
        loops=loops,
        batch_size=batch,
        only_stamps=None if only_stamps is None else read_stamps(only_stamps),
        drive=drive_config(values),
    )
    extractor = load_extractor(core, batch)
    with (
        growing(output, force, MATCHES, _shown_by(output)) as out,
        Progress(f"localising {bag.name}") as progress,
    ):
        result = localize_bag(bag, map_file, out, extractor, config, progress)
    counts = ", ".join(f"{count} {status}" for status, count in result.counts.items())
    state = "interrupted: " if result.interrupted else ""
    say(f"{state}{output}: {result.frames} frames ({counts}), {result.fps:.1f} frames/s ({network_phrase(extractor)})")
    if result.threshold is not None:
        say(result.threshold)
    if result.loops is not None:
        say(result.loops.sentence)
    for hint in result.hints:
        say(hint, style="yellow")
    if result.verification is not None:
        say(result.verification)
    say(result.features)
    say_mounting(result.mounting)
    say_losses(result.skipped, result.first_errors, result.notes)
    if report:
        _write_report(output, map_file)
    if result.interrupted:
        raise typer.Exit(exit_code())


def report_(
    out: Annotated[Path, typer.Argument(help="Folder that `vpr_ros localize` wrote.", show_default=False)],
    map_file: Annotated[
        Path | None, typer.Option("--map", "-m", help="Map file, if it is not where run.json says.")
    ] = None,
):
    """Write matches.csv and report.html of a run anew, of one that was killed or met a full disk as well.

    The report is the one without truth; `vpr_ros eval run` writes it with the truth.

    \b
    Example:
      vpr_ros report run
    """
    from vpr_ros.evaluation.matches import read_matches, write_csv

    records = read_matches(out / MATCHES)
    write_csv(out / "matches.csv", records)
    _write_report(out, map_file)
    judged = "; `vpr_ros eval run` draws the page with the truth again" if (out / "eval.json").exists() else ""
    say(f"{out}: {len(records)} frames in matches.csv and report.html{judged}")


def _write_report(out: Path, map_file: Path | None) -> None:
    from vpr_ros.offline.reporting import write_run_report

    kept = f"the answers are kept in '{out}'; {_shown_by(out)}"
    try:
        with interrupts_say(kept):
            write_run_report(out, map_file)
    except VprError as error:
        raise VprError(f"{str(error).rstrip('.')}; {kept}.") from error


def _shown_by(out: Path) -> str:
    return f"`vpr_ros report {out}` shows its answers"
