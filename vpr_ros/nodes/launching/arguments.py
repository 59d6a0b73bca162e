"""The arguments of the launch files: names, defaults, meanings, which file has which, and what is none of them."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field

ARGUMENTS: dict[str, tuple[str, str]] = {  # name -> (default, description)
    "namespace": ("", "Namespace of the node, for several robots or cameras."),
    "use_sim_time": ("", "Take the time from /clock; with a bag always true."),
    "params_file": ("", "Your parameter file, on top of the defaults in config/; arguments given here win over it."),
    "map": ("", "Map file. Mapping makes a missing one; an existing one gets another session."),
    "output": ("", "Folder of the training set; an existing one gets another drive."),
    "checkpoint": ("", "The network: nano (shipped) or a .safetensors file."),
    "mode": ("", "map (if not told otherwise) writes the map; slam also recognises it and the drive's own past."),
    "device": ("", "auto, cpu, cuda or cuda:N."),
    "local_features": ("", "Keypoints of each keyframe: auto, xfeat, sift, none, or a file of XFeat's weights."),
    "verify": ("", "Look at the geometry of accepted matches: camera, lidar, auto or none; measures poses."),
    "publish_tf": ("", "Publish map to odom in TF from verified poses; needs verify and odom to base_link in TF."),
    "keep_clouds": ("", "Keep the LiDAR cloud of each keyframe, so that LiDAR can verify matches later."),
    "drive": ("", "Name of the recorded drive."),
    "city": ("", "Name of the recorded area; drives of one area share one map frame."),
    "condition": ("", "Light, season and weather of the recorded drive, in your words."),
    "image_topic": ("", "Camera topic, with /compressed where its name ends so; found by type in a bag."),
    "compressed": ("", "The image topic sends CompressedImage; known in a bag, and from a name ending in /compressed."),
    "camera_info_topic": ("", "Calibration of the camera; '' is the camera_info beside the image topic."),
    "rotate": (
        "",
        "Degrees clockwise that make the picture upright: 0, 90, 180, 270; auto (the default) by TF.",
    ),
    "points_topic": ("", "LiDAR topic (PointCloud2); found by type in a bag."),
    "depth_topic": ("", "Depth image aligned with the camera's; found in a bag where its name says that it is."),
    "odom_topic": ("", "Odometry topic; found by type in a bag; none does without odometry."),
    "pose_topic": ("", "Poses in the map frame; found by type in a bag (never ground truth); none does without."),
    "pose_source": ("", "What the pose topic sends: pose, pose_with_covariance, odometry; or tf, or none."),
    "rviz": ("false", "Start RViz with config/vpr.rviz."),
    "bag": ("", "Play this bag with simulated time, and end with it."),
    "rate": ("1.0", "Speed of the bag."),
    "autostart": ("true", "Configure and activate the node; false leaves it unconfigured."),
    "respawn": ("false", "Start the node again, and configure and activate it, when it has died; not with a bag."),
    "log_level": ("", "debug, info, warn, error or fatal, for this node."),
}
_OF_LAUNCH = ("launch-prefix", "launch-prefix-filter")  # `ros2 launch` itself reads them
COMMON = (
    "namespace",
    "use_sim_time",
    "params_file",
    "image_topic",
    "compressed",
    "camera_info_topic",
    "rotate",
    "points_topic",
    "odom_topic",
    "rviz",
    "bag",
    "rate",
    "autostart",
    "respawn",
    "log_level",
)


@dataclass(frozen=True)
class NodeLaunch:
    """What one launch file starts."""

    executable: str
    name: str
    config: str  # file in config/ with all parameters at their defaults
    arguments: tuple[str, ...]  # beside the common ones
    parameters: dict[str, str] = field(default_factory=dict)  # set by the launch file itself


def argument_names(node: NodeLaunch) -> list[str]:
    """The arguments of a launch file, in the order in which they are shown."""
    return [name for name in ARGUMENTS if name in node.arguments + COMMON]


def unknown_argument(name: str, file: str, node: NodeLaunch, parameters: Iterable[str]) -> str:
    """A sentence about an argument that a launch file does not have; "" for one that it has.

    `file` is the launch file's name, `parameters` the names of its node's parameters.
    """
    names = argument_names(node)
    if name in names or name in _OF_LAUNCH:
        return ""
    if name in ARGUMENTS:
        hint = "other launch files of vpr_ros have it; leave it out here"
    elif name in parameters:
        hint = f"it is a parameter of the node {node.name}: write it into a file and pass params_file:=FILE"
    elif near := difflib.get_close_matches(name, names, 1):
        hint = f"is {near[0]} meant?"
    else:
        hint = "--show-args lists those that it has"
    return f"{file} has no argument '{name}': {hint}"


def markdown(nodes: dict[str, NodeLaunch]) -> str:
    """A table for the documentation; `nodes` by the launch files' names."""
    rows = ["| argument | of | default | meaning |", "|---|---|---|---|"]
    for name, (default, description) in ARGUMENTS.items():
        files = [file for file, node in nodes.items() if name in argument_names(node)]
        of = "all" if len(files) == len(nodes) else ", ".join(files)
        rows.append(f"| `{name}` | {of} | {f'`{default}`' if default else ''} | {description} |")
    return "\n".join(rows) + "\n"
