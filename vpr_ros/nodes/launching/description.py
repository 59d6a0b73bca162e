"""What the launch files share: the life of a node from its start to the end of the bag.

`launch` is imported where it is used: nothing here needs ROS until a launch file runs.
"""

from collections.abc import Iterable
from pathlib import Path
from signal import SIGINT
from tempfile import NamedTemporaryFile
from typing import Any, Literal

import yaml

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.arguments import ARGUMENTS, NodeLaunch, argument_names
from vpr_ros.nodes.launching.settings import LaunchSettings, launch_settings
from vpr_ros.nodes.launching.values import log_arguments, truth_value

RVIZ_TOPICS = ("keyframes", "markers", "pose", "match_image/compressed")  # of the node, in config/vpr.rviz
LAST_FRAMES_S = 4.0  # after the end of the bag, for the images that still wait for odometry or for the network
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

    arguments = {name: LaunchConfiguration(name).perform(context) for name in names}
    config = Path(get_package_share_directory("vpr_ros")) / "config"
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
    )
    actions: list[Any] = [LogInfo(msg=note) for note in settings.notes]
    actions += _lifecycle_handlers(lifecycle_node, node.name, settings)
    if truth_value("rviz", arguments["rviz"]):
        actions.append(_rviz(config / "vpr.rviz", node.name, f"{pushed}/{arguments['namespace']}", settings))
    actions.append(lifecycle_node)
    if truth_value("autostart", arguments["autostart"]):
        actions.append(_change(lifecycle_node, "configure"))
    return actions


def _lifecycle_handlers(node: Any, name: str, settings: LaunchSettings) -> list:
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
        if not settings.play:
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
    if settings.play:
        with NamedTemporaryFile("w", prefix="launch_qos_", suffix=".yaml", delete=False) as qos:
            yaml.safe_dump(settings.qos, qos)
        command = [*settings.play, "--qos-profile-overrides-path", qos.name]
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


def _change(node: Any, transition: Literal["configure", "activate"]) -> Any:
    from launch.actions import EmitEvent
    from launch.events import matches_action
    from launch_ros.events.lifecycle import ChangeState
    from lifecycle_msgs.msg import Transition

    number = {"configure": Transition.TRANSITION_CONFIGURE, "activate": Transition.TRANSITION_ACTIVATE}[transition]
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=number))


def _fail(_context: Any, sentence: str) -> None:
    raise VprError(sentence)  # ends the launch with exit code 1


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
