"""What the launch files share: the arguments, and what is started of them.

`launch` is imported where it is used: nothing here needs ROS until a launch file runs.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.arguments import ARGUMENTS, NodeLaunch, argument_names
from vpr_ros.nodes.launching.command_line import check_arguments, refuse_plainly
from vpr_ros.nodes.launching.life import RESPAWN_DELAY_S, NodeLife
from vpr_ros.nodes.launching.settings import LaunchSettings, launch_settings, parameters_in
from vpr_ros.nodes.launching.values import log_arguments, truth_value

RVIZ_TOPICS = ("keyframes", "markers", "pose", "match_image/compressed")  # of the node, in config/vpr.rviz
STOP_S = 20  # for the node to write the rest of the map, before it is killed


def launch_description(node: NodeLaunch) -> Any:
    """The LaunchDescription of a launch file."""
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    from launch.launch_description import LaunchDescription

    names = argument_names(node)
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

    refuse_plainly()
    config = Path(get_package_share_directory("vpr_ros")) / "config"
    notes = check_arguments(context, node, parameters_in(config / node.config))
    arguments = {name: LaunchConfiguration(name).perform(context) for name in names}
    autostart, respawn = (truth_value(name, arguments[name]) for name in ("autostart", "respawn"))
    if respawn and arguments["bag"].strip():
        raise VprError("respawn:=true is for a robot: a bag cannot go on where the node has ended; leave it out")
    settings = launch_settings(arguments, node.parameters, config)
    # A string that looks like a number must stay a string, else the node refuses it for its type.
    values = {name: ParameterValue(value, value_type=type(value)) for name, value in settings.parameters.items()}
    files = [str(config / node.config), settings.params_file] if settings.params_file else [str(config / node.config)]
    pushed = context.launch_configurations.get("ros_namespace", "")
    lifecycle_node = LifecycleNode(
        package="vpr_ros",
        executable=node.executable,
        name=node.name,
        namespace=arguments["namespace"],
        parameters=[*files, values],
        remappings=settings.remappings,
        output="screen",
        ros_arguments=log_arguments(arguments["log_level"], f"{pushed}/{arguments['namespace']}", node.name),
        sigterm_timeout=str(STOP_S),
        sigkill_timeout=str(STOP_S),
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY_S,
    )
    actions: list[Any] = [LogInfo(msg=note) for note in [*notes, *settings.notes]]
    actions += NodeLife(lifecycle_node, node.name, settings, autostart, respawn).handlers()
    if truth_value("rviz", arguments["rviz"]):
        actions.append(_rviz(config / "vpr.rviz", node.name, f"{pushed}/{arguments['namespace']}", settings))
    return [*actions, lifecycle_node]


def _rviz(config: Path, name: str, namespace: str, settings: LaunchSettings) -> Any:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix
    from launch_ros.actions import Node

    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise VprError("rviz:=true needs rviz2: install it, as in 'sudo apt install ros-$ROS_DISTRO-rviz2'") from None
    prefix = "/".join(["", *(part for part in namespace.split("/") if part), name])
    remappings = [(f"/{name}/{topic}", f"{prefix}/{topic}") for topic in RVIZ_TOPICS] if prefix != f"/{name}" else []
    simulated = {"use_sim_time": bool(settings.parameters.get("use_sim_time", False))}
    return Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", str(config)],
        output="log",
        parameters=[simulated],
        remappings=remappings,
    )
