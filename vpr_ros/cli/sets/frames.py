"""`vpr_ros frames`: one's own bags as a training set; `vpr_ros.training` is imported inside the command only."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli import options
from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import exit_code
from vpr_ros.runtime.settings import RecordingConfig


def frames(
    reading: options.Reading,
    bag: options.BagArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Training set; a drive is added when it exists.", show_default=False)
    ],
    drive: Annotated[str, typer.Option(help="Name of this drive (default: the bag's)")] = RecordingConfig.drive,
    city: Annotated[str, typer.Option(help="Area; map poses of one area are in one frame.")] = RecordingConfig.city,
    condition: Annotated[
        str, typer.Option(help="Light, season, weather in your words, such as night/rain.")
    ] = RecordingConfig.condition,
    spacing_m: Annotated[
        float, typer.Option("--spacing-m", min=0, help="A frame after so many metres; 0: all.")
    ] = RecordingConfig.spacing_m,
    heading_deg: Annotated[
        float, typer.Option("--heading-deg", min=0.1, help="Or after turning by so many degrees.")
    ] = RecordingConfig.heading_deg,
    frame_every: Annotated[
        int, typer.Option(min=1, help="Without any poses in the bag: every n-th complete frame.")
    ] = RecordingConfig.frame_every,
    require_cloud: Annotated[
        bool, typer.Option(help="Skip images that have no LiDAR cloud.")
    ] = RecordingConfig.require_cloud,
    jpeg_quality: Annotated[
        int, typer.Option(min=1, max=100, help="Quality of the stored JPEG images.")
    ] = RecordingConfig.jpeg_quality,
    max_width: Annotated[
        int, typer.Option(min=16, help="Wider images are shrunk to this, in pixels.")
    ] = RecordingConfig.max_width,
    trajectory: Annotated[
        Path | None, typer.Option(help="TUM file of poses in the city's frame, such as from `vpr_ros align`.")
    ] = None,
    image_topic: options.ImageTopic = None,
    odom_topic: options.OdomTopic = None,
    pose_topic: options.PoseTopic = None,
    points_topic: options.PointsTopic = None,
    rotate: options.Rotate = options.ROTATE,
    strict: options.Strict = False,
):
    """Put a bag's drive into a training set: image, cloud and pose every metre, as the recorder node does live.

    Drive the same streets several times, in different light. Pairs of one
    place follow from poses in one frame (a localisation, satellite fixes,
    converted data sets). Drives with odometry alone share no frame, and bags
    without poses are taken, too: where they have clouds, `vpr_ros pairs` finds
    their pairs, and a teacher that sees the clouds can draw the batches
    (batches: unlabelled).

    \b
    Examples:
      vpr_ros frames monday.mcap -o town --condition summer/day
      vpr_ros frames tuesday.mcap -o town --condition summer/night
      vpr_ros pairs town
      vpr_ros train student --train town
    """
    from vpr_ros.offline.record_bag import FramesConfig, bag_to_frames
    from vpr_ros.runtime.recording import LACKS

    config = FramesConfig(
        topics=reading.topics(image=image_topic, odom=odom_topic, pose=pose_topic, points=points_topic),
        drive=drive,
        city=city,
        condition=condition,
        spacing_m=spacing_m,
        heading_deg=heading_deg,
        frame_every=frame_every,
        require_cloud=require_cloud,
        jpeg_quality=jpeg_quality,
        max_width=max_width,
        trajectory="" if trajectory is None else str(trajectory),
        reading=reading.drive(rotate),
    )
    with Progress(f"frames of {bag.name}") as progress:
        result = bag_to_frames(bag, output, config, progress)
    state = "interrupted: " if result.interrupted else ""
    poses = "no poses" if result.poses in (None, "none") else f"poses of {result.poses}"
    say(f"{state}{output}: {result.frames} frames of {result.images} images, drive {', '.join(result.drives)}, {poses}")
    if result.poses in ("odometry", "none"):
        say(
            "no pair with other drives of the city is known: find them by the clouds (vpr_ros pairs), bring the drives "
            "into one frame (vpr_ros align), or let a teacher that sees the clouds draw batches (batches: unlabelled)"
        )
    for reason, count in result.reasons.items():
        if reason in LACKS:
            say(f"left out {count}: {reason}", style="yellow")
    for reason, count in result.skipped.items():
        say(f"skipped {count}: {reason} (first: {result.first_errors.get(reason, reason)})", style="yellow")
    if result.interrupted:
        raise typer.Exit(exit_code())
