"""Options that several commands share, with one help text each."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from vpr_ros.cli.console import say_aside
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics, rotate_of
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


_BAG = typer.Argument(
    help="A ROS 2 bag folder, an .mcap or .db3 file, a ROS 1 .bag file or a folder of its parts, or a folder of "
    "pictures (in the order of their names, 10 a second).",
    show_default=False,
)
BagArgument = Annotated[Path, _BAG]
BagsArgument = Annotated[list[Path], _BAG]
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
DepthTopic = Annotated[
    str | None,
    typer.Option(
        help="Depth image aligned with the camera's (16UC1 millimetres, 32FC1 metres): depth of the keypoints. Found "
        "by its name where that says so.",
        rich_help_panel="Topics",
    ),
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


_FRAMES = "Frames, TF and clocks"


def _of_reading(name: str, kind: Any, text: str, least: float | None = None) -> inspect.Parameter:
    option = typer.Option(f"--{name.replace('_', '-')}", help=text, rich_help_panel=_FRAMES, min=least)
    default = getattr(DriveConfig, name, None)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


_CLOCK = (
    "Seconds added to the stamps of {}, where another clock sets them than the images'; `vpr_ros doctor` measures it."
)
_READING = (
    _of_reading("base_frame", str, "The robot's frame; robot1/base_link is found by its last name."),
    _of_reading("odom_frame", str, "Odometry's frame, for TF."),
    _of_reading("map_frame", str, "The map's frame, for TF."),
    _of_reading("tf_topic", str | None, "TF topic (default: /tf, or the one robot's own, such as /robot1/tf)."),
    _of_reading(
        "tf_static_topic", str | None, "Topic of the fixed TF links (default: /tf_static, or the robot's own)."
    ),
    _of_reading("max_gap_s", float, "Poses are interpolated between samples at most this far apart.", 0.001),
    _of_reading("odom_offset_s", float, _CLOCK.format("odometry")),
    _of_reading("pose_offset_s", float, _CLOCK.format("poses in the map frame and GNSS fixes")),
    _of_reading("points_offset_s", float, _CLOCK.format("clouds")),
)
# The parameters of the node that these options set, too, by the same names.
READING = {one.name: one.name for one in _READING if hasattr(DriveConfig, one.name)}
# Those that the options of every command set that runs the live core over a bag.
RUNNING = {"checkpoint": "checkpoint", "device": "device", "rotate": "rotate"} | READING


@dataclass(frozen=True)
class Reading:
    """What the options of `reads_bag` say: TF topics, and the fields of DriveConfig."""

    tf: str | None
    tf_static: str | None
    config: DriveConfig

    def drive(self, rotate: str) -> DriveConfig:
        """How a bag is read, with pictures turned as `--rotate` says."""
        return replace(self.config, rotate=rotate_of(rotate))

    def topics(self, **roles: str | None) -> DriveTopics:
        """The topics by role, with those of TF."""
        return DriveTopics(**roles, tf=self.tf, tf_static=self.tf_static)


def reads_bag(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options on frames, TF and clocks; its parameter `reading` gets what they say."""
    signature = inspect.signature(command)
    own = [one for one in signature.parameters.values() if one.name != "reading"]

    @wraps(command)
    def run(*args: Any, **given: Any) -> Any:
        values = {one.name: given.pop(one.name) for one in _READING}
        tf, tf_static = values.pop("tf_topic"), values.pop("tf_static_topic")
        return command(*args, reading=Reading(tf, tf_static, DriveConfig(**values)), **given)

    run.__signature__ = signature.replace(parameters=[*own, *_READING])  # pyright: ignore[reportAttributeAccessIssue]
    annotations = {name: kind for name, kind in command.__annotations__.items() if name != "reading"}
    run.__annotations__ = annotations | {one.name: one.annotation for one in _READING}
    return run
