"""The life of a launched node: led to its active state, the bag played, the end; and again where it is respawned.

`launch` is imported where it is used, see the package.
"""

import time
from signal import SIGINT, Signals
from tempfile import NamedTemporaryFile
from typing import Any, Literal

import yaml

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.settings import LaunchSettings

LAST_FRAMES_S = 4.0  # after the end of the bag, for the images that still wait for odometry or for the network
RESPAWN_DELAY_S = 2.0
_ASK_S = 2.0  # for an answer of a service, before it is asked again


class NodeLife:
    """Event handlers of one node. It is led to its active state after each start of its process, once.

    Then, and without `autostart` from the beginning, its states are its user's. What goes wrong with a bag ends the
    launch with exit code 1.
    """

    def __init__(self, node: Any, name: str, settings: LaunchSettings, autostart: bool, respawn: bool):
        self._node, self._name, self._settings = node, name, settings
        self._autostart, self._respawn = autostart, respawn
        self._leads = False

    def handlers(self) -> list:
        """To be registered before the node is started."""
        from launch.actions import RegisterEventHandler
        from launch.event_handlers import OnProcessExit, OnProcessStart

        handlers = [
            RegisterEventHandler(OnProcessStart(target_action=self._node, on_start=self._node_started)),
            self._on("configuring", "inactive", lambda _: [_change(self._node, "activate")]),
            self._on("configuring", "unconfigured", lambda _: self._failed("configured")),
            self._on("errorprocessing", "unconfigured", lambda _: self._failed("configured")),
            self._on("activating", "inactive", lambda _: self._failed("activated")),
            self._on("activating", "active", lambda _: self._led()),
            RegisterEventHandler(OnProcessExit(target_action=self._node, on_exit=self._node_ended)),
        ]
        return [*handlers, *self._bag()] if self._settings.play else handlers

    def _on(self, start: str, goal: str, react: Any) -> Any:
        """A handler of a transition that the launch itself has asked for."""
        from launch.actions import OpaqueFunction, RegisterEventHandler
        from launch_ros.event_handlers import OnStateTransition

        def reaction(context: Any) -> list | None:
            return react(context) if self._leads else None

        entities = [OpaqueFunction(function=reaction)]
        handler = OnStateTransition(
            target_lifecycle_node=self._node, start_state=start, goal_state=goal, entities=entities
        )
        return RegisterEventHandler(handler)

    def _node_started(self, _event: Any, context: Any) -> None:
        if self._autostart:
            self._leads = True
            ready = context.asyncio_loop.run_in_executor(None, self._configure_when_ready, context)
            context.add_completion_future(ready)

    def _configure_when_ready(self, context: Any) -> None:
        """Emits `configure` once the node answers. After a crash its dead services are listed for seconds, and launch
        would wait for ever for an answer of one of them."""
        from launch_ros.ros_adapters import get_ros_node
        from lifecycle_msgs.srv import GetState

        ros = get_ros_node(context)
        try:
            client = ros.create_client(GetState, f"{self._node.node_name}/get_state")
            while not context.is_shutdown and not _answers(client, GetState.Request()):
                pass
            ros.destroy_client(client)
        except Exception:
            if not context.is_shutdown:
                raise  # else launch takes its ROS node away while we ask
        if not context.is_shutdown:
            event = _change(self._node, "configure").event
            context.asyncio_loop.call_soon_threadsafe(context.emit_event_sync, event)

    def _led(self) -> list:
        self._leads = False
        return []

    def _failed(self, step: Literal["configured", "activated"]) -> list:
        from launch.actions import LogInfo

        sentence = f"node {self._name} could not be {step}; its own message above says why"
        if self._settings.play:
            raise VprError(sentence)
        return [LogInfo(msg=f"{sentence}. It is still there: correct its parameters and configure it again.")]

    def _node_ended(self, event: Any, context: Any) -> list:
        from launch.actions import EmitEvent, LogInfo
        from launch.events import Shutdown

        sentence = f"node {self._name} {ending(event.returncode)}"
        if self._respawn and not context.is_shutdown:
            return [LogInfo(msg=f"{sentence}; it starts again in {RESPAWN_DELAY_S:g} s")]
        if event.returncode not in (0, -SIGINT):  # while it starts, Ctrl-C ends it with -SIGINT
            raise VprError(sentence)
        return [] if context.is_shutdown else [EmitEvent(event=Shutdown(reason=sentence))]

    def _bag(self) -> list:
        from launch.actions import EmitEvent, ExecuteProcess, LogInfo, RegisterEventHandler, TimerAction
        from launch.event_handlers import OnProcessExit
        from launch.events import Shutdown
        from launch_ros.event_handlers import OnStateTransition

        with NamedTemporaryFile("w", prefix="launch_qos_", suffix=".yaml", delete=False) as qos:
            yaml.safe_dump(self._settings.qos, qos)
        command = [*self._settings.play, "--qos-profile-overrides-path", qos.name]
        player = ExecuteProcess(cmd=command, name="bag", output="screen")

        def bag_ended(event: Any, context: Any) -> list:
            if context.is_shutdown:
                return []
            if event.returncode:
                raise VprError(f"the bag could not be played to its end: `ros2 bag play` {ending(event.returncode)}")
            end = EmitEvent(event=Shutdown(reason="the bag has ended"))
            return [LogInfo(msg="the bag has ended"), TimerAction(period=LAST_FRAMES_S, actions=[end])]

        active = OnStateTransition(
            target_lifecycle_node=self._node,
            start_state="activating",
            goal_state="active",
            entities=[player],
            handle_once=True,
        )
        return [
            RegisterEventHandler(active),
            RegisterEventHandler(OnProcessExit(target_action=player, on_exit=bag_ended)),
        ]


def _answers(client: Any, request: Any) -> bool:
    """Whether a service answers within seconds."""
    if not client.wait_for_service(timeout_sec=0.5):
        return False
    future, deadline = client.call_async(request), time.monotonic() + _ASK_S
    while not future.done() and time.monotonic() < deadline:
        time.sleep(0.02)
    if not future.done():
        client.remove_pending_request(future)
    return future.done()


def ending(returncode: int) -> str:
    """How a process has ended, as the end of a sentence about it."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    try:
        name = Signals(-returncode).name
    except ValueError:
        name = f"signal {-returncode}"
    return f"was ended from outside or has crashed ({name}, exit code {returncode})"


def _change(node: Any, transition: Literal["configure", "activate"]) -> Any:
    from launch.actions import EmitEvent
    from launch.events import matches_action
    from launch_ros.events.lifecycle import ChangeState
    from lifecycle_msgs.msg import Transition

    number = {"configure": Transition.TRANSITION_CONFIGURE, "activate": Transition.TRANSITION_ACTIVATE}[transition]
    return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=number))
