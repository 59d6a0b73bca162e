"""Options that several commands share, with one help text each."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from vpr_ros.cli.console import say_aside
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.bags.config import DriveConfig
from vpr_ros.sensors.bags.config import Rotate as Turn
from vpr_ros.sensors.bags.losses import reading_bags

CHECKPOINT = str(PipelineConfig.checkpoint)  # default of every option `Checkpoint`
DEVICE = PipelineConfig.device  # default of every option `Device`
ROTATE = DriveConfig.rotate  # default of every option `Rotate`


def _read_bags(ctx: typer.Context, strict: bool) -> bool:
    """What a bag lacks is said once on stderr, however often the command opens the bag, or refused."""
    told: set[str] = set()

    def tell(sentence: str) -> None:
        if sentence not in told:
            told.add(sentence)
            say_aside(sentence)

    if not ctx.resilient_parsing:
        ctx.with_resource(reading_bags(strict, tell))
    return strict


BagArgument = Annotated[
    Path,
    typer.Argument(
        help="A ROS 2 bag folder, an .mcap or .db3 file, a ROS 1 .bag file or a folder of its parts, or a folder of "
        "pictures (in the order of their names, 10 a second).",
        show_default=False,
    ),
]
MapArgument = Annotated[Path, typer.Argument(help="Map file.", show_default=False)]
Checkpoint = Annotated[
    str, typer.Option("--checkpoint", "-c", help="'nano' (shipped) or a .safetensors file; see `vpr_ros models`.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Batch = Annotated[
    int,
    typer.Option(
        "--batch", min=0, help="Images per forward pass; 0: one on a CPU, several on a GPU.", show_default=False
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an output that exists.")]
ImageTopic = Annotated[
    str | None, typer.Option(help="Camera topic; found by type when the bag has one.", rich_help_panel="Topics")
]
OdomTopic = Annotated[
    str | None, typer.Option(help="Odometry topic; 'none' ignores odometry.", rich_help_panel="Topics")
]
PoseTopic = Annotated[
    str | None,
    typer.Option(
        help="Pose in the map frame (PoseStamped, PoseWithCovarianceStamped, Odometry, NavSatFix); 'none' ignores it. "
        "Ground truth is never chosen by itself.",
        rich_help_panel="Topics",
    ),
]
PointsTopic = Annotated[
    str | None, typer.Option(help="PointCloud2 topic; found by type when the bag has one.", rich_help_panel="Topics")
]
# Every command that reads bags has it; its callback does the work.
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        callback=_read_bags,
        help="Refuse a bag that is cut short, unclosed or damaged, instead of reading it as far as it is whole.",
    ),
]
Rotate = Annotated[
    str,
    typer.Option(
        metavar="|".join(get_args(Turn)),
        help="Degrees clockwise that make the pictures upright: 0; 90 for a camera whose top points to the right, seen "
        "from behind; 180 for one upside down; 270. auto: by its roll in TF (/tf_static), else 0.",
    ),
]
