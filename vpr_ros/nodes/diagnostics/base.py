"""What /diagnostics of both nodes share: the updater and the stage `input`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from diagnostic_updater import Updater
from rclpy.clock import Clock, ClockType

from vpr_ros.errors import VprError
from vpr_ros.nodes.parameters.declaration import undeclared
from vpr_ros.runtime.health import Health, Stream, Task

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
SENTENCE_AGE_S = 10.0  # how long the sentence about a bad message is the summary
_RATES: tuple[Stream, ...] = ("image", "odom", "points", "depth")


class Diagnostics:
    """Reads the node's parts once a second; never touches the network or the map's file."""

    def __init__(self, node: Any, health: Health):
        self._node, self._health = node, health
        self.updater = Updater(node)
        # The updater's own timer stops with simulated time, at the end of a bag, when there is something to report.
        self.updater.timer.cancel()
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(self.updater.period, self.updater.force_update, clock=steady)
        self.updater.setHardwareID(node.get_fully_qualified_name())  # tells the robots of several namespaces apart
        for stage, task in self.tasks().items():
            self.updater.add(stage, partial(_guarded, task))

    def tasks(self) -> dict[str, Callable[[Any], Any]]:
        """What fills the status of each stage, in the order in which they are shown."""
        return {"input": self._input, "parameters": self._parameters}

    def _parameters(self, status):
        sentences = undeclared(self._node, self._node.table, self._node.active)
        status.summary(WARN if sentences else OK, "; ".join(sentences) or "all that were given are known")
        return status

    def _input(self, status):
        node, health = self._node, self._health
        if not node.active:
            status.summary(OK, "not active: the node listens to nothing")
            return status
        age, limit = health.age_s("image"), node.get_parameter("image_timeout_s").value
        problems = node.inputs.problems()
        silent = node.active_for_s if age is None else min(age, node.active_for_s)
        if silent > limit:
            status.summary(ERROR, "; ".join([f"no image for {silent:.0f} s", *problems]))
        elif problems:
            status.summary(WARN, "; ".join(problems))
        elif sentences := health.newest("input", SENTENCE_AGE_S):
            status.summary(WARN, sentences)
        else:
            status.summary(OK, f"{health.rate_hz('image'):.1f} images/s")
        for stream in _RATES:
            status.add(f"{stream} rate (Hz)", f"{health.rate_hz(stream):.1f}")
        for topic in node.inputs.topics:
            how = "reliable" if topic.reliable else "best effort"
            status.add(f"{topic.name} subscribed", f"{how}, as its publishers" if topic.wanted == "auto" else how)
            if arrived := topic.stamps.share():
                status.add(f"{topic.name} arrived", f"{100 * arrived[1]:.0f} % of {arrived[0]:.1f}/s, by the stamps")
        status.add("last image (s ago)", "never" if age is None else f"{age:.1f}")
        if (ahead_s := node.inputs.stamps_ahead_s) is not None:
            status.add("last image's stamp against the node's clock (s)", f"{ahead_s:+.3f}")
        status.add("received", str(node.inputs.received))
        status.add("dropped (newer came first)", str(node.inputs.dropped))
        mounting = node.inputs.mounting
        if mounting is not None:
            status.add("pictures are turned by (degrees)", f"{mounting.rotation} ({mounting.reason})")
        return with_counts(status, health, "input")


def _guarded(task: Callable[[Any], Any], status: Any) -> Any:
    """The status of a stage; one that cannot be told, as of a map whose file was damaged, must not end the node."""
    try:
        return task(status)
    except VprError as error:
        status.summary(ERROR, str(error))
        return status


def with_counts(status: Any, health: Health, task: Task) -> Any:
    """The status with the number of each event of a task."""
    for event, n in sorted(health.counts(task).items()):
        status.add(event, str(n))
    return status
