"""The lifecycle that the nodes share: states, one worker thread, and what happens when something fails."""

import time
from contextlib import suppress
from typing import Any, ClassVar

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from vpr_ros.errors import VprError
from vpr_ros.nodes.inputs.inputs import WARNING_PERIOD_S, Inputs
from vpr_ros.nodes.parameters.declaration import declare, values_of, warn_of_undeclared
from vpr_ros.runtime.health import Health, Task
from vpr_ros.runtime.parameters.checks import unusable
from vpr_ros.runtime.parameters.parameter import Parameter
from vpr_ros.runtime.worker import Worker

MESSAGE_WAIT_S = 0.2  # how long one step of the worker waits for an image


class WorkerNode(LifecycleNode):
    """A lifecycle node that answers images in one worker thread.

    configure opens, activate subscribes, deactivate unsubscribes, cleanup closes. A subclass says what that means in
    `open_resources`, `start_outputs`, `stop_outputs` and `close_resources`, and does its work in `step`. A transition
    that fails leaves its reason in the log and in `last_error`, which /diagnostics shows.
    """

    table: ClassVar[tuple[Parameter, ...]]
    health_task: ClassVar[Task]  # of Health: counts errors of the worker
    action: ClassVar[str]  # what the worker does with an image, as a participle: "answered"
    busy_action: ClassVar[str]  # the same in "the last image is still being ..."

    def __init__(self, name: str, **kwargs: Any):
        super().__init__(name, **kwargs)
        declare(self, self.table)
        self.health = Health()
        self.inputs: Inputs | None = None
        self.last_error = ""
        self._worker_name = name
        self._worker: Worker | None = None
        self._active_since: float | None = None

    @property
    def active(self) -> bool:
        """Whether the node is subscribed to its inputs."""
        return self._active_since is not None

    @property
    def active_for_s(self) -> float:
        """Steady seconds since activate."""
        return 0.0 if self._active_since is None else time.monotonic() - self._active_since

    # What a subclass does

    def open_resources(self, values: dict[str, Any]) -> Inputs:
        """Open what the parameters name; returns the inputs. Any exception fails the transition."""
        raise NotImplementedError

    def step(self) -> None:
        """Wait up to MESSAGE_WAIT_S for an image and handle it; in the worker thread, again and again."""
        raise NotImplementedError

    def close_resources(self) -> None:
        """Close whatever `open_resources` has opened, all of it or a part."""
        raise NotImplementedError

    def start_outputs(self) -> None:
        """Before the first subscription."""

    def stop_outputs(self) -> None:
        """After the last subscription is gone and the worker was told to stop."""

    def summary(self) -> str:
        """What came of the images so far, in one line; empty where nothing can be said."""
        return ""

    # Transitions

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Open what the parameters name; fails with the reason in the log and in /diagnostics."""
        values = values_of(self, self.table)
        warn_of_undeclared(self, self.table)
        self.health.clear()
        self.last_error = ""
        try:
            if self._worker is not None:
                raise VprError(
                    f"the last image of the run before is still being {self.busy_action}: try again in a few seconds"
                )
            if reason := unusable(values, self.table):
                raise VprError(reason)
            self.inputs = self.open_resources(values)
        except Exception as error:
            self.report_failure(error, "configure failed")
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._worker = Worker(self._worker_name, self.step, self._report_step_error)
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Subscribe and start the worker."""
        assert self.inputs is not None and self._worker is not None
        try:
            self.start_outputs()
            self.inputs.start()
            self._active_since = time.monotonic()
            self._worker.start()
        except Exception as error:  # rclpy would not say it
            self.report_failure(error, "activate failed")
            self._stop()
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Unsubscribe; what was mapped or recorded is on disk afterwards."""
        self._stop()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Close everything."""
        self._stop()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        return self.on_cleanup(state)

    def on_error(self, state) -> TransitionCallbackReturn:
        """As cleanup; the node can be configured again."""
        return self.on_cleanup(state)

    def close(self) -> bool:
        """End everything; False where the worker is still busy after a second."""
        self._stop()
        return self._release(1.0)

    def _stop(self) -> None:
        was_active, self._active_since = self.active, None
        if self.inputs is not None:
            self.inputs.stop()
        if self._worker is not None:
            self._worker.stop(2.0)
        self.stop_outputs()
        if was_active and (sentence := self.summary()):
            with suppress(Exception):  # after Ctrl-C the logger may be gone
                self.get_logger().info(sentence)

    def _release(self, timeout_s: float = 5.0) -> bool:
        ended = self._worker is None or self._worker.stop(timeout_s)
        self.close_resources()
        self.inputs = None
        if ended:
            self._worker = None
        return ended

    # Reports

    def report_failure(self, error: Exception, what: str) -> None:
        """Keep the reason of a failed transition for /diagnostics, and log it."""
        self.last_error = str(error) if isinstance(error, VprError) else f"{type(error).__name__}: {error}"
        with suppress(Exception):  # after Ctrl-C the logger may be gone
            self.get_logger().error(f"{what}: {self.last_error}")

    def warn(self, sentence: str) -> None:
        """Log a warning, at most one in five seconds."""
        with suppress(Exception):
            self.get_logger().warning(sentence, throttle_duration_sec=WARNING_PERIOD_S)

    def _report_step_error(self, error: Exception) -> None:
        if not self.context.ok():
            return  # publishing after Ctrl-C
        text = f"{type(error).__name__}: {error}"
        self.health.count(self.health_task, "error", text)
        self.warn(f"an image could not be {self.action} ({text})")


def images_sentence(received: int, used: int, action: str, dropped: int) -> str:
    """What became of the images: "60 images came: 40 answered, 18 dropped as newer came first, 2 unusable or late"."""
    others = received - used - dropped
    ending = f", {others} unusable or late" if others > 0 else ""
    return f"{received} images came: {used} {action}, {dropped} dropped as newer came first{ending}"
