"""The two main commands: a drive becomes a map, and another drive is recognised in it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vpr_ros.cli import options, parameters
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import exit_code, interrupts_say
from vpr_ros.cli.outcome.outputs import growing
from vpr_ros.configuration import DecisionConfig, GateConfig, RecognitionConfig
from vpr_ros.errors import VprError
from vpr_ros.runtime.settings import PLACE_RADIUS_M, PipelineConfig

if TYPE_CHECKING:
    from vpr_ros.sensors.upright import Mounting

MATCHES = "matches.jsonl"
# The parameter that each option of a command sets.
_OF_BOTH = {"checkpoint": "checkpoint", "device": "device", "rotate": "rotate"} | options.READING
MAP_OPTIONS = _OF_BOTH | {
    "session": "session",
    "distance_m": "keyframe_distance_m",
    "heading_deg": "keyframe_heading_deg",
    "novelty": "keyframe_novelty",
    "keyframe_every": "keyframe_every",
    "known_lead": "keyframe_known_lead",
    "clouds": "keep_clouds",
    "place_radius": "place_radius",
}
LOCALIZE_OPTIONS = _OF_BOTH | {
    "verify": "verify",
    "accept_probability": "accept_probability",
    "precision": "accept_precision",
    "drive_mean_frames": "drive_mean_frames",
}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("map")(options.reads_bag(map_))
    app.command()(options.reads_bag(localize))
    app.command("report")(report_)


def map_(
    ctx: typer.Context,
    reading: options.Reading,
    bag: options.BagArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Map file; a session is added when it exists.", show_default=False)
    ],
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    session: Annotated[str | None, typer.Option(help="Name of this drive (default: the bag's)")] = None,
    distance_m: Annotated[
        float,
        typer.Option(
            "--distance-m", min=0.01, help="With poses: a keyframe every so many metres.", rich_help_panel="Keyframes"
        ),
    ] = GateConfig.distance_m,
    heading_deg: Annotated[
        float,
        typer.Option(min=0.1, help="With poses: and after turning by this, in degrees.", rich_help_panel="Keyframes"),
    ] = GateConfig.heading_deg,
    novelty: Annotated[
        float,
        typer.Option(
            min=-1,
            max=1,
            help="Without poses: a keyframe when the view is less similar than this.",
            rich_help_panel="Keyframes",
        ),
    ] = GateConfig.novelty_similarity,
    keyframe_every: Annotated[
        int | None,
        typer.Option(min=1, help="A keyframe every N frames, whatever pose and view.", rich_help_panel="Keyframes"),
    ] = GateConfig.every_n,
    known_lead: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=2.0,
            help="No keyframe where the map's own of the place lead those of all others by this similarity, 0.1 say. "
            "Needs poses in the map frame.",
            rich_help_panel="Keyframes",
        ),
    ] = GateConfig.known_lead,
    clouds: Annotated[
        bool, typer.Option(help="Keep LiDAR clouds for verification.", rich_help_panel="Keyframes")
    ] = False,
    place_radius: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help=f"Size of a place in a new map: metres, or frames without poses (default {PLACE_RADIUS_M:g}).",
        ),
    ] = None,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    pose_topic: options.PoseTopic = None,
    points_topic: options.PointsTopic = None,
    depth_topic: options.DepthTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
    config_file: parameters.Config = None,
    assignments: parameters.Set = None,
    device: options.Device = options.DEVICE,
    batch: options.Batch = 0,
):
    """Map a drive: describe its images and keep those that show a new place.

    Poses are optional. Odometry spaces the keyframes; a pose in the map
    frame is stored with them. Ctrl-C ends the drive early and keeps what
    was saved.

    \b
    Examples:
      vpr_ros map first.mcap -o town.vpr
      vpr_ros map first.mcap -o town.vpr --pose-topic /gps/fix
    Add another drive to it:
      vpr_ros map tuesday.mcap -o town.vpr --session tuesday
    Only what the map does not know yet:
      vpr_ros map wednesday.mcap -o town.vpr --pose-topic /gps/fix --known-lead 0.1
    Without any poses, from a folder of pictures:
      vpr_ros map walk -o walk.vpr --keyframe-every 1
    """
    from vpr_ros.offline.map_bag import MapBagConfig, map_bag
    from vpr_ros.runtime.opening import load_extractor, network_phrase
    from vpr_ros.runtime.parameters.values import drive_config, pipeline_config

    if output.suffix.lower() in (".mcap", ".db3", ".bag", ".yaml"):
        raise VprError(f"'{output}' names a bag: give the map another ending, such as .vpr.")
    values = parameters.given(ctx, "map", config_file, assignments, MAP_OPTIONS)
    core = pipeline_config(values)
    config = MapBagConfig(
        topics=reading.topics(
            image=image_topic, odom=odom_topic, pose=pose_topic, points=points_topic, depth=depth_topic
        ),
        gate=core.gate,
        session=core.session or bag.stem,
        clouds=core.keep_clouds,
        place_radius=core.place_radius,
        local_features=core.local_features,
        batch_size=batch,
        drive=drive_config(values),
    )
    if output.exists():
        _say_what_is_there(output, bag)
    extractor = load_extractor(core, batch)
    with Progress(f"mapping {bag.name}") as progress:
        result = map_bag(bag, output, extractor, config, progress)
    state = "interrupted: " if result.interrupted else ""
    session = "no session" if result.session is None else f"session {result.session} '{config.session}'"
    say(
        f"{state}{output}: {result.keyframes} keyframes saved of {result.frames} frames, {session}, "
        f"{result.fps:.1f} frames/s ({network_phrase(extractor)})"
    )
    if result.known:
        say(result.known)
    say(result.features)
    _say_mounting(result.mounting)
    _say_losses(result.skipped, result.first_errors, result.notes)
    if result.interrupted:
        raise typer.Exit(exit_code())


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
    _say_mounting(result.mounting)
    _say_losses(result.skipped, result.first_errors, result.notes)
    if report:
        _write_report(output, map_file)
    if result.interrupted:
        raise typer.Exit(exit_code())


def _say_what_is_there(map_file: Path, bag: Path) -> None:
    """A line where a map has keyframes of this very bag, as of a drive that was killed."""
    from vpr_ros.place_map import PlaceMap

    with PlaceMap.open(map_file) as place_map:
        keyframes = place_map.poses()
        for session in place_map.sessions():
            count = int((keyframes.sessions == session.id).sum())
            if count and session.source == str(bag.absolute()):
                say(
                    f"{map_file} has {count} keyframes of this bag already, in session {session.id} '{session.name}'. "
                    "They stay beside the new ones: "
                    f"`vpr_ros prune {map_file} --drop-session {session.id}` removes them.",
                    style="yellow",
                )


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


def _say_mounting(mounting: "Mounting") -> None:
    if mounting.rotation or mounting.unclear:
        say(f"camera: {mounting.sentence}", style="yellow" if mounting.unclear else None)


def _say_losses(skipped: dict[str, int], first_errors: dict[str, str], notes: dict[str, int]) -> None:
    for reason, count in skipped.items():
        say(f"skipped {count}: {reason} (first: {first_errors.get(reason, reason)})", style="yellow")
    for note, count in notes.items():
        say(f"note: {note}" + (f" ({count} times)" if count > 1 else ""), style="yellow")
