"""The lifecycle node `recorder`: camera, LiDAR and poses into a training set. Glue around Inputs and Recording."""

import time
from contextlib import suppress
from typing import Any

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn

from vpr_ros.errors import FrameError, VprError
from vpr_ros.nodes import parameters
from vpr_ros.nodes.diagnostics import ERROR, NEWS_S, OK, WARN, Diagnostics, with_counts
from vpr_ros.nodes.inputs.inputs import Inputs, InputSettings
from vpr_ros.nodes.parameters import RECORDER_PARAMETERS
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.recording import Recording
from vpr_ros.runtime.worker import Worker

_STEP_S = 0.2


class RecorderNode(LifecycleNode):
    """configure opens the folder, activate records, deactivate pauses, cleanup ends the drive."""

    def __init__(self, **kwargs):
        super().__init__("recorder", **kwargs)
        parameters.declare(self, RECORDER_PARAMETERS)
        self.health = Health()
        self.inputs: Inputs | None = None
        self.recording: Recording | None = None
        self.last_error = ""
        self._worker: Worker | None = None
        self._active_since: float | None = None
        self._diagnostics = RecorderDiagnostics(self, self.health)

    @property
    def active(self) -> bool:
        """Whether the node records."""
        return self._active_since is not None

    @property
    def active_for_s(self) -> float:
        """Steady seconds since activate."""
        return 0.0 if self._active_since is None else time.monotonic() - self._active_since

    # Lifecycle

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Opens the training set; fails with the reason in the log and in /diagnostics."""
        values = parameters.values(self, RECORDER_PARAMETERS)
        self.health.clear()
        self.last_error = ""
        try:
            if self._worker is not None:
                raise VprError("the last image of the run before is still being written: try again in a few seconds")
            if reason := parameters.unusable(values, RECORDER_PARAMETERS):
                raise VprError(reason)
            topic = self.resolve_topic_name("image/compressed" if values["compressed"] else "image")
            self.recording = Recording(values, lambda: _writer(values, topic), self.health)
            settings = InputSettings.from_values(
                values, clouds=True, mapping=True, mount=False, clouds_needed=values["require_cloud"]
            )
            self.inputs = Inputs(self, settings, self.health)
        except Exception as error:
            self._fail(error, "configure failed")
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._worker = Worker("recorder", self._step, self._failed)
        writer = self.recording.writer
        self.get_logger().info(f"drive '{writer.drive}' goes into the training set {writer.folder}")
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Begins to record."""
        assert self.inputs is not None and self._worker is not None
        try:
            self._worker.start()
        except VprError as error:
            self._fail(error, "activate failed")
            return TransitionCallbackReturn.FAILURE
        self.inputs.start()
        self._active_since = time.monotonic()
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Pauses; what was recorded is on disk."""
        self._quiet()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Ends the drive."""
        self._quiet()
        self._release()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        return self.on_cleanup(state)

    def on_error(self, state) -> TransitionCallbackReturn:
        """As cleanup; the node can be configured again."""
        return self.on_cleanup(state)

    def close(self) -> bool:
        """Ends everything; False where the worker is still busy after a second."""
        self._quiet()
        return self._release(1.0)

    def _quiet(self) -> None:
        self._active_since = None
        if self.inputs is not None:
            self.inputs.stop()
        if self._worker is not None:
            self._worker.stop(2.0)

    def _release(self, timeout_s: float = 5.0) -> bool:
        done = self._worker is None or self._worker.stop(timeout_s)
        recording, self.recording, self.inputs = self.recording, None, None
        if done:
            self._worker = None
        if recording is not None:
            try:
                recording.close()
            except VprError as error:
                self._fail(error, "the training set could not be closed")
            if self.context.ok():  # after Ctrl-C nobody is there to be told
                self.get_logger().info(
                    f"{recording.writer.count} frames in drive '{recording.writer.drive}' of {recording.writer.folder}"
                )
        return done

    # The worker

    def _step(self) -> None:
        inputs, recording = self.inputs, self.recording
        message = inputs.next(_STEP_S) if inputs is not None else None
        if inputs is None or recording is None or message is None:
            return
        started = time.perf_counter()
        try:
            observation = inputs.observe(message)  # counts what it refuses
        except FrameError as error:
            self._once(f"image unusable: {error}")
            return
        if not self.active:  # told to stop meanwhile
            return
        try:
            recording.take(observation, inputs.camera)
        except VprError as error:
            self.health.count("recording", "write failed", str(error))
            self._once(str(error))
        self.health.timed("total", time.perf_counter() - started)

    # Telling

    def _failed(self, error: Exception) -> None:
        if not self.context.ok():
            return
        self.health.count("recording", "error", f"{type(error).__name__}: {error}")
        self._once(f"an image could not be recorded ({type(error).__name__}: {error})")

    def _fail(self, error: Exception, what: str) -> None:
        self.last_error = str(error) if isinstance(error, VprError) else f"{type(error).__name__}: {error}"
        with suppress(Exception):
            self.get_logger().error(f"{what}: {self.last_error}")

    def _once(self, sentence: str) -> None:
        # Bad frames come at the camera's rate; the counts are in /diagnostics.
        with suppress(Exception):
            self.get_logger().warning(sentence, throttle_duration_sec=5.0)


class RecorderDiagnostics(Diagnostics):
    """/diagnostics of the recorder: what is heard, and what becomes of it."""

    stages = ("input", "recording")

    def _recording(self, status):
        node, health, recent = self._node, self._health, self._health.recent("recording")
        if node.recording is None:
            status.summary(ERROR if node.last_error else WARN, node.last_error or "the node is not configured")
            return status
        writer, counts = node.recording.writer, health.counts("recording")
        lacking = {reason: n for reason, n in recent.items() if reason.startswith(("no ", "waiting"))}
        if recent["write failed"] or recent["error"]:
            status.summary(ERROR, health.newest("recording"))
        elif lacking and sum(lacking.values()) == sum(recent.values()):
            reasons = ", ".join(f"{n} with {reason}" for reason, n in lacking.items())
            status.summary(WARN, f"nothing recorded of the last {sum(recent.values())} images: {reasons}")
        elif news := health.newest("recording", NEWS_S):
            status.summary(WARN, news)
        else:
            status.summary(OK, f"{writer.count} frames in drive '{writer.drive}'")
        status.add("training set", str(writer.folder))
        status.add("drive", writer.drive)
        status.add("frames", str(writer.count))
        status.add("poses", node.recording.poses or "not known yet")
        if counts and (timing := health.timing("total")):
            status.add("total p50/p95 (ms)", f"{1e3 * timing.p50_s:.1f} / {1e3 * timing.p95_s:.1f}")
        return with_counts(status, health, "recording")


def _writer(values: dict[str, Any], topic: str):
    """A drive of the training set that the parameters name."""
    from vpr_ros.training_set.writer import TrainingSetWriter

    if not values["output"]:
        raise VprError("output is empty: name the folder of the training set (output:=FOLDER)")
    drive = values["drive"] or time.strftime("%Y-%m-%d_%H-%M-%S")
    return TrainingSetWriter(
        values["output"],
        drive,
        values["city"],
        values["condition"],
        values["jpeg_quality"],
        values["max_width"],
        source=topic,
    )
