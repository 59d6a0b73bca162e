"""Options that several commands share, with one help text each."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.bags.config import DriveConfig
from vpr_ros.sensors.bags.config import Rotate as Turn

CHECKPOINT = str(PipelineConfig.checkpoint)  # default of every option `Checkpoint`
DEVICE = PipelineConfig.device  # default of every option `Device`
ROTATE = DriveConfig.rotate  # default of every option `Rotate`

BagArgument = Annotated[
    Path,
    typer.Argument(
        help="A ROS 2 bag folder, an .mcap or .db3 file of one, a ROS 1 .bag file, or a folder of pictures "
        "(in the order of their names, 10 a second).",
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
Rotate = Annotated[
    str,
    typer.Option(
        metavar="|".join(get_args(Turn)),
        help="Degrees clockwise that make the pictures upright: 0; 90 for a camera whose top points to the right, seen "
        "from behind; 180 for one upside down; 270. auto: by its roll in TF (/tf_static), else 0.",
    ),
]
