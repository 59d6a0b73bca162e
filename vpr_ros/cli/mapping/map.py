"""`vpr_ros map`: drives become a map."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options, parameters
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.mapping.several import map_several, say_what_is_there
from vpr_ros.cli.outcome.interrupts import exit_code
from vpr_ros.cli.outcome.losses import say_losses, say_mounting
from vpr_ros.configuration import GateConfig
from vpr_ros.errors import VprError
from vpr_ros.runtime.settings import PLACE_RADIUS_M

# The parameter that each option sets.
MAP_OPTIONS = options.RUNNING | {
    "session": "session",
    "distance_m": "keyframe_distance_m",
    "heading_deg": "keyframe_heading_deg",
    "novelty": "keyframe_novelty",
    "keyframe_every": "keyframe_every",
    "known_lead": "keyframe_known_lead",
    "clouds": "keep_clouds",
    "place_radius": "place_radius",
}


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("map")(options.reads_bag(map_))


def map_(
    ctx: typer.Context,
    reading: options.Reading,
    bags: options.BagsArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Map file; a session is added when it exists.", show_default=False)
    ],
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    session: Annotated[str | None, typer.Option(help="Name of this drive (default: the bag's)")] = None,
    jobs: Annotated[
        int,
        typer.Option("--jobs", "-j", min=1, help="Bags that are mapped at once.", rich_help_panel="Several bags"),
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="Where they are mapped: here, or as tasks of a Ray cluster.",
            rich_help_panel="Several bags",
        ),
    ] = "local",
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
    """Map drives: describe their images and keep those that show a new place.

    Poses are optional. Odometry spaces the keyframes; a pose in the map
    frame is stored with them. Ctrl-C ends the drive early and keeps what
    was saved.

    Several bags become sessions in the order of their names here. Each is
    mapped by itself, and all join the map in the end: it is the same map
    whatever the number of jobs, and the one that the bags make one after
    the other. A bag that fails is named and the rest goes on; the same
    command again does only what is missing.

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
    A month of drives, four at once; or on a cluster:
      vpr_ros map drives/*.mcap -o town.vpr --jobs 4
      vpr_ros map drives/*.mcap -o town.vpr --engine ray
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
        session=core.session,
        clouds=core.keep_clouds,
        place_radius=core.place_radius,
        local_features=core.local_features,
        batch_size=batch,
        drive=drive_config(values),
    )
    if len(bags) > 1 or engine == "ray":
        map_several(bags, output, core, config, jobs, engine, strict)
        return
    (bag,) = bags
    if output.exists():
        say_what_is_there(output, bag)
    extractor = load_extractor(core, batch)
    with Progress(f"mapping {bag.name}") as progress:
        result = map_bag(bag, output, extractor, config, progress)
    state = "interrupted: " if result.interrupted else ""
    session = "no session" if result.session is None else f"session {result.session} '{core.session or bag.stem}'"
    say(
        f"{state}{output}: {result.keyframes} keyframes saved of {result.frames} frames, {session}, "
        f"{result.fps:.1f} frames/s ({network_phrase(extractor)})"
    )
    if result.known:
        say(result.known)
    say(result.features)
    say_mounting(result.mounting)
    say_losses(result.skipped, result.first_errors, result.notes)
    if result.interrupted:
        raise typer.Exit(exit_code())
