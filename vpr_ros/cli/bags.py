"""Commands about bags: what is in one, how to make one from pictures, and how to bring two into one frame."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say, table
from vpr_ros.cli.outcome.outputs import fresh
from vpr_ros.errors import VprError

COLOURS = {"OK": "green", "WARN": "yellow", "ERROR": "red"}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(options.reads_bag(doctor))
    app.command("bag")(from_pictures)
    app.command()(options.reads_bag(align))


def from_pictures(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of pictures, in the order of their names (9 before 10).", show_default=False),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Bag folder to write.", show_default=False)],
    rate_hz: Annotated[float, typer.Option("--rate-hz", min=0.001, max=10_000, help="Frames per second.")] = 10.0,
    storage: Annotated[str, typer.Option(metavar="mcap|sqlite3", help="Kind of bag.")] = "mcap",
    force: options.Force = False,
):
    """Write a folder of pictures as a ROS 2 bag (topic /camera/image/compressed).

    The other commands read such a folder directly, as the bag that this one
    makes of it.

    \b
    Example:
      vpr_ros bag walk/images -o walk_bag --rate-hz 5
    """
    from vpr_ros.sensors import folder_to_bag
    from vpr_ros.sensors.bags.kinds import refuse_bag
    from vpr_ros.sensors.picture_files import drive_pictures

    refuse_bag(folder)
    drive_pictures(folder)
    with fresh(output, force) as path, Progress("pictures") as progress:
        count = folder_to_bag(folder, path, rate_hz, storage, progress=progress)
    say(f"{output}: {count} pictures at {rate_hz:g} Hz ({storage})")


def align(
    reading: options.Reading,
    bag1: options.BagArgument,
    bag2: options.BagArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="TUM file: poses of BAG2 in the frame of BAG1.", show_default=False)
    ],
    method: Annotated[str, typer.Option(metavar="auto|gnss|lidar", help="What brings them together.")] = "auto",
    first: Annotated[
        Path | None,
        typer.Option(
            metavar="OUT",
            help="Also write BAG1's poses, in the same frame. With LiDAR they are then corrected as well: for a BAG1 "
            "without odometry, or one that comes back to the same streets.",
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT", help="PNG of both drives, their constraints and gaps, with LiDAR.")
    ] = None,
    strict: options.Strict = False,
    force: options.Force = False,
):
    """Bring two drives into one frame, through satellite fixes or by their LiDAR clouds.

    The result is the trajectory of BAG2 in the frame of BAG1: with fixes,
    east-north-up at the first fix of BAG1; with LiDAR, the odometry frame of
    BAG1. There a pose graph of odometry and of registrations between the
    drives lets BAG2 follow the drift of BAG1, so that near frames of both
    have the right relative pose. It says how many registrations hold, along
    which metres of BAG2 there are none, and what they leave unexplained, and
    refuses drives that hold together too little. `vpr_ros frames --trajectory`
    and `vpr_ros poses MAP` take the result.

    \b
    Examples:
      vpr_ros align monday.mcap tuesday.mcap -o tuesday_in_monday.tum
      vpr_ros align monday tuesday -o tuesday.tum --first monday.tum --picture tie.png
    """
    from vpr_ros.offline.align import align_bags

    with ExitStack() as outputs:
        path = outputs.enter_context(fresh(output, force))
        first_path = None if first is None else outputs.enter_context(fresh(first, force))
        picture_path = None if picture is None else outputs.enter_context(fresh(picture, force))
        with Progress("registrations") as progress:
            how = {"topics": reading.topics(), "config": reading.config, "progress": progress}
            result = align_bags(bag1, bag2, method, first is not None, **how)
        result.trajectory.to_tum(path)
        if first_path is not None and result.first is not None:
            result.first.to_tum(first_path)
        if picture_path is not None:
            if result.tie is None:
                raise VprError("--picture draws what LiDAR found, and satellite fixes were used: say --method lidar.")
            from vpr_ros.offline.align.picture import draw_tie

            draw_tie(picture_path, result.tie, (bag1.name, bag2.name))
    say(f"{output}: {len(result.trajectory)} poses; {result.summary}")
    if result.first is not None:
        say(f"{first}: {len(result.first)} poses of {bag1}, to be used in place of its odometry")
    for note in result.notes:
        say(note, style="yellow" if note != "no gaps" else None)


def doctor(
    reading: options.Reading,
    bag: options.BagArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    pose_topic: options.PoseTopic = None,
    points_topic: options.PointsTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
    map_file: Annotated[
        Path | None, typer.Option("--map", "-m", help="Compare some pictures with this map, turned all four ways.")
    ] = None,
    checkpoint: options.Checkpoint = options.CHECKPOINT,
    device: options.Device = options.DEVICE,
):
    """Look at a bag: topics, rates, stamps, gaps, encodings, and which stage would lack input.

    Exit code 1 when a stage lacks what it needs, for scripts that check a bag
    before they map it. With --map it also says whether the pictures match
    that map better turned by 90, 180 or 270 degrees.

    \b
    Examples:
      vpr_ros doctor first.mcap --image-topic /front/image_raw
      vpr_ros doctor second.mcap --map town.vpr
    """
    from vpr_ros.sensors import doctor as examine

    names = reading.topics(image=image_topic, odom=odom_topic, pose=pose_topic, points=points_topic)
    report = examine(bag, names, reading.drive(rotate))
    if map_file is not None:
        from vpr_ros.offline.orientation import examine_orientation
        from vpr_ros.runtime.opening import load_network

        extractor = load_network(checkpoint, device)
        report.stages.append(examine_orientation(report, map_file, extractor))
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, default=str))
    else:
        table(
            f"{bag}: {report.kind}, {report.duration_s:.1f} s, {report.message_count} messages",
            ["topic", "type", "count", "Hz", "longest gap s", "stamps", "content"],
            [
                (
                    t.name,
                    t.msgtype.replace("/msg/", "/"),
                    t.count,
                    f"{t.rate_hz:.1f}",
                    f"{t.max_gap_s:.2f}",
                    t.order,
                    t.detail,
                )
                for t in report.topics
            ],
        )
        for stage in report.stages:
            say(f"{stage.verdict:5} {stage.stage}: {stage.sentence}", style=COLOURS[stage.verdict])
    if report.verdict == "ERROR":
        raise typer.Exit(1)
