"""What the launch files share: their arguments, and the life of a node from its start to the end of the bag.

`launch` is imported where it is used: nothing here needs ROS until a launch file runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.plan import Plan, log_arguments, make_plan, truth

RVIZ_TOPICS = ("keyframes", "markers", "pose", "match_image/compressed")  # of the node, in config/vpr.rviz
LAST_FRAMES_S = 4.0  # after the end of the bag, for the images that still wait for odometry or for the network
STOP_S = 20  # for the node to write the rest of the map, before it is killed

ARGUMENTS: dict[str, tuple[str, str]] = {  # name -> (default, description)
    "namespace": ("", "Namespace of the node, for several robots or cameras."),
    "use_sim_time": ("", "Take the time from /clock; with a bag always true."),
    "params_file": ("", "Your parameter file, on top of the defaults in config/; arguments given here win over it."),
    "map": ("", "Map file. Mapping makes a missing one; an existing one gets another session."),
    "output": ("", "Folder of the training set; an existing one gets another drive."),
    "checkpoint": ("", "The network: nano (shipped) or a .safetensors file."),
    "mode": ("", "map (if not told otherwise) writes the map; slam also recognises it and the drive's own past."),
    "device": ("", "auto, cpu, cuda or cuda:N."),
    "verify": ("", "Register accepted matches by LiDAR."),
    "keep_clouds": ("", "Keep the LiDAR cloud of each keyframe, so that matches can be verified later."),
    "drive": ("", "Name of the recorded drive."),
    "city": ("", "Name of the recorded area; drives of one area share one map frame."),
    "condition": ("", "Light, season and weather of the recorded drive, in your words."),
    "image_topic": ("", "Camera topic, with /compressed where its name ends so; found by type in a bag."),
    "compressed": ("", "The image topic sends CompressedImage; known in a bag, and from a name ending in /compressed."),
    "camera_info_topic": ("", "Calibration of the camera; '' is the camera_info beside the image topic."),
    "points_topic": ("", "LiDAR topic (PointCloud2); found by type in a bag."),
    "odom_topic": ("", "Odometry topic; found by type in a bag; none does without odometry."),
    "pose_topic": ("", "Poses in the map frame; found by type in a bag (never ground truth); none does without."),
    "pose_source": ("", "What the pose topic sends: pose, pose_with_covariance, odometry; or tf, or none."),
    "rviz": ("false", "Start RViz with config/vpr.rviz."),
    "bag": ("", "Play this bag with simulated time, and end with it."),
    "rate": ("1.0", "Speed of the bag."),
    "autostart": ("true", "Configure and activate the node; false leaves it unconfigured."),
    "log_level": ("", "debug, info, warn, error or fatal, for this node."),
}
COMMON = (
    "namespace",
    "use_sim_time",
    "params_file",
    "image_topic",
    "compressed",
    "camera_info_topic",
    "points_topic",
    "odom_topic",
    "rviz",
    "bag",
    "rate",
    "autostart",
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


def names_of(node: NodeLaunch) -> list[str]:
    """The arguments of a launch file, in the order in which they are shown."""
    return [name for name in ARGUMENTS if name in node.arguments + COMMON]


def markdown(nodes: dict[str, NodeLaunch]) -> str:
    """A table for the documentation; `nodes` by the launch files' names."""
    rows = ["| argument | of | default | meaning |", "|---|---|---|---|"]
    for name, (default, description) in ARGUMENTS.items():
        files = [file for file, node in nodes.items() if name in names_of(node)]
        of = "all" if len(files) == len(nodes) else ", ".join(files)
        rows.append(f"| `{name}` | {of} | {f'`{default}`' if default else ''} | {description} |")
    return "\n".join(rows) + "\n"


def launch_description(node: NodeLaunch) -> Any:
    """The LaunchDescription of a launch file."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.launch_description import LaunchDescription

    names = names_of(node)
    declared = [
        DeclareLaunchArgument(name, default_value=ARGUMENTS[name][0], description=ARGUMENTS[name][1]) for name in names
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_start, args=[node, names])])


def _start(context: Any, node: NodeLaunch, names: Iterable[str]) -> list:
    from ament_index_python.packages import get_package_share_directory
    from launch.actions import LogInfo
    from launch.substitutions import LaunchConfiguration
    from launch_ros.actions import LifecycleNode
    from launch_ros.parameter_descriptions import ParameterValue

    arguments = {name: LaunchConfiguration(name).perform(context) for name in names}
    config = Path(get_package_share_directory("vpr_ros")) / "config"
    plan = make_plan(arguments, node.parameters)
    # A string that looks like a number must stay a string, else the node refuses it for its type.
    values = {name: ParameterValue(value, value_type=type(value)) for name, value in plan.parameters.items()}
    files = [str(config / node.config), plan.params_file] if plan.params_file else [str(config / node.config)]
    pushed = context.launch_configurations.get("ros_namespace", "")
    lifecycle_node = LifecycleNode(
        package="vpr_ros",
        executable=node.executable,
        name=node.name,
        namespace=arguments["namespace"],
        parameters=[*files, values],
        remappings=plan.remappings,
        output="screen",
        ros_arguments=log_arguments(arguments["log_level"], f"{pushed}/{arguments['namespace']}", node.name),
        sigterm_timeout=str(STOP_S),
        sigkill_timeout=str(STOP_S),
    )
    actions: list[Any] = [LogInfo(msg=note) for note in plan.notes]
    actions += _life(lifecycle_node, node.name, plan)
    if truth("rviz", arguments["rviz"]):
        actions.append(_rviz(config / "vpr.rviz", node.name, f"{pushed}/{arguments['namespace']}", plan))
    actions.append(lifecycle_node)
    if truth("autostart", arguments["autostart"]):
        actions.append(_change(lifecycle_node, "configure"))
    return actions


def _life(node: Any, name: str, plan: Plan) -> list:
    """Handlers: configured -> activated -> bag played -> end. What goes wrong with a bag ends the launch with 1."""
    from launch.actions import EmitEvent, ExecuteProcess, LogInfo, OpaqueFunction, RegisterEventHandler, TimerAction
    from launch.event_handlers import OnProcessExit
    from launch.events import Shutdown
    from launch_ros.event_handlers import OnStateTransition

    def on(start: str, goal: str, entities: Any) -> Any:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node, start_state=start, goal_state=goal, entities=entities, handle_once=True
            )
        )

    def failed(step: str) -> list:
        sentence = f"node {name} could not be {step}; its own message above says why"
        if not plan.play:
            return [LogInfo(msg=f"{sentence}. It is still there: correct its parameters and configure it again.")]
        return [OpaqueFunction(function=_fail, args=[sentence])]

    def node_ended(event: Any, context: Any) -> list:
        if event.returncode not in (0, -SIGINT):  # killed or crashed; while it starts, Ctrl-C ends it with -SIGINT
            raise VprError(f"node {name} ended with exit code {event.returncode}")
        return [] if context.is_shutdown else [EmitEvent(event=Shutdown(reason=f"node {name} has ended"))]

    handlers = [
        on("configuring", "inactive", [_change(node, "activate")]),
        on("configuring", "unconfigured", failed("configured")),
        on("errorprocessing", "unconfigured", failed("configured")),
        on("activating", "inactive", failed("activated")),
        RegisterEventHandler(OnProcessExit(target_action=node, on_exit=node_ended)),
    ]
    if plan.play:
        with NamedTemporaryFile("w", prefix="launch_qos_", suffix=".yaml", delete=False) as qos:
            yaml.safe_dump(plan.qos, qos)
        command = [*plan.play, "--qos-profile-overrides-path", qos.name]
        player = ExecuteProcess(cmd=command, name="bag", output="screen")

        def bag_ended(event: Any, context: Any) -> list:
            if context.is_shutdown:
                return []
            if event.returncode:
                raise VprError(f"the bag could not be played to its end (exit code {event.returncode})")
            end = EmitEvent(event=Shutdown(reason="the bag has ended"))
            return [LogInfo(msg="the bag has ended"), TimerAction(period=LAST_FRAMES_S, actions=[end])]

        handlers += [
            on("activating", "active", [player]),
            RegisterEventHandler(OnProcessExit(target_action=player, on_exit=bag_ended)),
        ]
    return handlers


def _change(node: Any, transition: str) -> Any:
    from launch.actions import EmitEvent
    from launch.events import matches_action
    from launch_ros.events.lifecycle import ChangeState
    from lifecycle_msgs.msg import Transition

    number = {"configure": Transition.TRANSITION_CONFIGURE, "activate": Transition.TRANSITION_ACTIVATE}[transition]
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=number))


def _fail(_context: Any, sentence: str) -> None:
    raise VprError(sentence)  # ends the launch with exit code 1


def _rviz(config: Path, name: str, namespace: str, plan: Plan) -> Any:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from launch_ros.actions import Node

    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise VprError("rviz:=true needs rviz2: install it, as in 'sudo apt install ros-$ROS_DISTRO-rviz2'") from None
    prefix = "/".join(["", *(part for part in namespace.split("/") if part), name])
    remappings = [(f"/{name}/{topic}", f"{prefix}/{topic}") for topic in RVIZ_TOPICS] if prefix != f"/{name}" else []
    simulated = {"use_sim_time": bool(plan.parameters.get("use_sim_time", False))}
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(config)],
        output="log",
        parameters=[simulated],
        remappings=remappings,
    )
