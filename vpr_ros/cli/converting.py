"""`vpr_ros convert`: public data sets as ROS 2 bags; `vpr_ros.training` is imported inside the commands only."""

from pathlib import Path
from typing import Annotated

import typer

from vpr_ros.cli.console import Progress, say
from vpr_ros.cli.outcome.interrupts import interrupts_say

Folder = Annotated[Path, typer.Argument(help="The data set's folder.", show_default=False)]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Bag folder; an interrupted one is continued.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing bag, finished or not.")]

group = typer.Typer(no_args_is_help=True, help="Turn a public data set into a ROS 2 bag.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group.command()(robotcar)
    group.command()(boreas)
    group.command()(submaps)
    app.add_typer(group, name="convert")


def robotcar(
    folder: Folder,
    output: Output,
    camera: Annotated[str, typer.Option(help="stereo/centre, stereo/left, stereo/right or mono_...")] = "stereo/centre",
    lidar: Annotated[str, typer.Option(help="auto, none, velodyne_left, velodyne_right, lms_front, ...")] = "auto",
    raw: Annotated[bool, typer.Option("--raw", help="Keep the lens's distortion; no camera_info then.")] = False,
    models: Annotated[Path | None, typer.Option(help="The kit's models/ folder, unless beside the traversal.")] = None,
    rtk: Annotated[Path | None, typer.Option(help="Ground truth rtk.csv, unless beside the traversal.")] = None,
    force: Force = False,
):
    """Convert one Oxford RobotCar traversal in the development kit's layout.

    Pictures, laser scans, INS odometry and TF, camera_info, and the ground
    truth where rtk.csv is there. It can be stopped at any time: the same
    command continues where it stopped.

    \b
    Example:
      vpr_ros convert robotcar 2014-05-19-13-20-57 -o first
      vpr_ros map first -o oxford.vpr
    """
    from vpr_ros.training.data.convert.robotcar import convert_robotcar

    with interrupts_say(_kept(output)), Progress("readings") as progress:
        result = convert_robotcar(
            folder,
            output,
            camera=camera,
            lidar=lidar,
            undistort=not raw,
            models=models,
            rtk=rtk,
            anew=force,
            progress=progress,
        )
    report(output, result)


def boreas(
    folder: Folder,
    output: Output,
    reduce: Annotated[int, typer.Option(min=1, help="Divide the pictures' sides by this; 4: 612x512.")] = 4,
    lidar: Annotated[bool, typer.Option(help="With the LiDAR scans, the larger part of the bag.")] = True,
    poses: Annotated[bool, typer.Option(help="With poses; the hidden test sequences have none.")] = True,
    partial: Annotated[bool, typer.Option("--partial", help="Accept a sequence with missing files.")] = False,
    force: Force = False,
):
    """Convert one Boreas sequence in the development kit's layout.

    Pictures, scans with the time of each point, INS odometry and TF,
    camera_info and ground truth. It can be stopped at any time: the same
    command continues where it stopped.

    \b
    Example:
      vpr_ros convert boreas boreas-2020-11-26-13-58 -o first
      vpr_ros map first -o toronto.vpr
    """
    from vpr_ros.training.data.convert.boreas import convert_boreas

    with interrupts_say(_kept(output)), Progress("readings") as progress:
        result = convert_boreas(
            folder,
            output,
            reduce=reduce,
            lidar=lidar,
            poses=poses,
            partial=partial,
            anew=force,
            progress=progress,
        )
    report(output, result)


def submaps(
    traversals: Annotated[list[Path], typer.Argument(help="Raw traversals' folders.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Root of the benchmark's folders.", show_default=False)
    ],
    images: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Folder for MinkLoc++'s pictures and their index.")
    ] = None,
    poses: Annotated[str, typer.Option(help="ins or rtk.")] = "ins",
):
    """Build PointNetVLAD submaps from raw Oxford RobotCar traversals: training and test clouds and their tables.

    \b
    Example:
      vpr_ros convert submaps robotcar/2014-* robotcar/2015-* -o benchmark --images pictures
    """
    from vpr_ros.training.data.datasets.pointnetvlad.samples import read_run
    from vpr_ros.training.data.datasets.robotcar.submaps import write_pictures, write_submaps
    from vpr_ros.training.data.datasets.robotcar.traversal import Traversal

    for folder in traversals:
        traversal, counts = Traversal(folder), []
        for kind in ("train", "test"):
            with Progress(f"{traversal.name} {kind}") as progress:
                counts.append(write_submaps(traversal, output, kind, poses=poses, progress=progress))
        written = f"{output}/oxford/{traversal.name}: {counts[0]} training and {counts[1]} test submaps"
        if images is not None:
            runs = [read_run(output, traversal.name, kind) for kind in ("train", "test")]
            stamps = sorted({stamp for run in runs for stamp in run.stamps.tolist()})
            with Progress(f"{traversal.name} pictures") as progress:
                count = write_pictures(traversal, stamps, images, progress=progress)
            written += f", {count} pictures in {images}"
        say(written)


def _kept(output: Path) -> str:
    return f"finished parts are kept in {output}; the same command goes on from there"


def report(output: Path, result) -> None:
    """What was written, and what had to be left out."""
    kept = f", {result.kept_parts} of them from before" if result.kept_parts else ""
    say(f"{output}: {result.messages} messages in {result.parts} file{'s' if result.parts != 1 else ''}{kept}")
    for name, count in result.skipped.items():
        say(f"{count} {name} left out, the first because: {result.first_errors[name]}", style="yellow")
    for note in result.notes:
        say(note, style="yellow")
