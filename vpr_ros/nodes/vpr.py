"""The lifecycle node `vpr`: images in; ranked places, poses and loop closures out. Glue around the core."""

import gc
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from std_srvs.srv import SetBool, Trigger

from vpr_ros.errors import FrameError, VprError
from vpr_ros.nodes import parameters
from vpr_ros.nodes.diagnostics import Diagnostics
from vpr_ros.nodes.inputs.inputs import Inputs, InputSettings
from vpr_ros.nodes.outputs.publishers import Outputs
from vpr_ros.nodes.parameters import VPR_PARAMETERS
from vpr_ros.nodes.settings import DECISION, decision_config, pipeline_config
from vpr_ros.place_map.mounting import MountedCamera
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.worker import Worker

KEYFRAMES_EVERY_S = 5.0
_STEP_S = 0.2  # how long the worker waits for an image before it looks after the map


class VprNode(LifecycleNode):
    """configure loads the model and the map, activate listens, deactivate stops listening, cleanup frees the memory.

    Callbacks only leave the newest image in a mailbox; one worker thread owns the network and answers it.
    """

    def __init__(self, **kwargs):
        super().__init__("vpr", **kwargs)
        parameters.declare(self, VPR_PARAMETERS)
        self.health = Health()
        self.pipeline: Any = None
        self.inputs: Inputs | None = None
        self.camera: MountedCamera | None = None
        self.last_error = ""
        self._outputs: Outputs | None = None
        self._worker: Worker | None = None
        self._active_since: float | None = None
        self._stamps: TextIO | None = None
        self._wants_initial_pose = False
        self.create_service(Trigger, "~/relocalize", self._relocalize)
        self.create_service(Trigger, "~/save_map", lambda _, response: self._asked(response, "save"))
        self.create_service(Trigger, "~/clear_session", lambda _, response: self._asked(response, "clear_session"))
        self.create_service(
            SetBool, "~/set_mapping", lambda request, response: self._asked(response, "set_mapping", request.data)
        )
        self._diagnostics = Diagnostics(self, self.health)

    @property
    def active(self) -> bool:
        """Whether the node listens."""
        return self._active_since is not None

    @property
    def active_for_s(self) -> float:
        """Steady seconds since activate."""
        return 0.0 if self._active_since is None else time.monotonic() - self._active_since

    # Lifecycle

    def on_configure(self, state) -> TransitionCallbackReturn:
        """Loads model and map; fails with the reason in the log and in /diagnostics."""
        from vpr_ros.runtime.pipeline import Pipeline  # torch: imported here, so that the node itself starts at once

        values = parameters.values(self, VPR_PARAMETERS)
        self.health.clear()
        self.last_error = ""
        try:
            if self._worker is not None:
                raise VprError("the last image of the run before is still being answered: try again in a few seconds")
            if reason := parameters.unusable(values, VPR_PARAMETERS):
                raise VprError(reason)
            mapping = values["mode"] != "localize"
            if values["stamps_log"]:
                self._stamps = _opened(values["stamps_log"])
            self.pipeline = Pipeline.open(pipeline_config(values), self.health)
            clouds = values["verify"] or values["keep_clouds"]
            self.inputs = Inputs(self, InputSettings.from_values(values, clouds=clouds, mapping=mapping), self.health)
            self._outputs = Outputs(self, self.pipeline)
        except Exception as error:
            self._fail(error, "configure failed")
            self._release()
            return TransitionCallbackReturn.FAILURE
        self._worker = Worker("vpr", self._step, self._failed)
        place_map = self.pipeline.place_map
        self.get_logger().info(
            f"mode {self.pipeline.mode}, map {place_map.path} ({len(place_map)} keyframes, id {place_map.map_id}), "
            f"model {self.pipeline.extractor.name} on {self.pipeline.extractor.device}"
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state) -> TransitionCallbackReturn:
        """Begins to listen."""
        assert self._outputs is not None and self.inputs is not None and self._worker is not None
        try:
            self._outputs.start()
            self._outputs.publish_vision_info()
            self._next_keyframes = time.monotonic()  # the worker's: the table of a large map takes long to build
            self.inputs.start()
            self._active_since = time.monotonic()
            self._worker.start()
        except VprError as error:
            self._fail(error, "activate failed")
            self._quiet()
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def on_deactivate(self, state) -> TransitionCallbackReturn:
        """Stops listening; what was mapped is on disk afterwards."""
        self._quiet()
        return TransitionCallbackReturn.SUCCESS

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Closes the map and frees the model's memory."""
        self._quiet()
        self._release()
        _free_memory()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state) -> TransitionCallbackReturn:
        """As cleanup, from any state."""
        return self.on_cleanup(state)

    def on_error(self, state) -> TransitionCallbackReturn:
        """As cleanup; the node can be configured again."""
        return self.on_cleanup(state)

    def close(self) -> bool:
        """Ends everything; False where the worker is still busy with the network after a second."""
        self._quiet()
        return self._release(1.0)

    def _quiet(self) -> None:
        self._active_since = None
        if self.inputs is not None:
            self.inputs.stop()
        if self._worker is not None:
            self._worker.stop(2.0)
        if self.pipeline is not None and self.pipeline.mode != "localize":
            try:
                self.pipeline.save()
            except VprError as error:
                self._fail(error, "the map could not be saved")
        if self._outputs is not None:
            self._outputs.stop()

    def _release(self, timeout_s: float = 5.0) -> bool:
        done = self._worker is None or self._worker.stop(timeout_s)
        if self.pipeline is not None:
            try:
                self.pipeline.close()
            except VprError as error:
                self._fail(error, "the map could not be closed")
        if self._stamps is not None:
            self._stamps.close()
        self.pipeline = self.inputs = self.camera = self._outputs = self._stamps = None
        if done:
            self._worker = None
        return done

    # The worker

    def _step(self) -> None:
        pipeline, inputs, outputs = self.pipeline, self.inputs, self._outputs
        if pipeline is None or inputs is None or outputs is None:
            return
        limit = self.get_parameter("rate_limit_hz").value
        pause = self._last_answer + 1.0 / limit - time.monotonic() if limit else 0.0
        if pause > 0:
            time.sleep(min(pause, _STEP_S))
            message = None
        else:
            message = inputs.next(_STEP_S)
        if message is not None:
            self._last_answer = time.monotonic()
            self._answer(message, pipeline, inputs, outputs)
        try:
            pipeline.idle()
        except VprError as error:
            self.health.count("map", "write failed", str(error))
        if self.active and time.monotonic() >= self._next_keyframes:
            started = time.monotonic()
            outputs.publish_keyframes()
            # A large table takes long to build: never more than a twentieth of the time goes there.
            self._next_keyframes = time.monotonic() + max(KEYFRAMES_EVERY_S, 20 * (time.monotonic() - started))

    _last_answer = -np.inf
    _next_keyframes = np.inf

    def _answer(self, message, pipeline, inputs: Inputs, outputs: Outputs) -> None:
        started = time.perf_counter()
        decision = decision_config({name: self.get_parameter(name).value for name in DECISION})
        if decision != pipeline.config.recognition.decision:
            pipeline.set_decision(decision)
        try:
            observation = inputs.observe(message)  # counts what it refuses
        except FrameError as error:
            self._once(f"image unusable: {error}")
            return
        try:
            self.camera = _mounted(inputs, message)
            answer = pipeline.process(observation, self.camera)
        except FrameError as error:
            self.health.count("inference", "image unusable", str(error))
            self._once(f"image unusable: {error}")
            return
        except VprError as error:
            self.health.count("map", "write failed", str(error))
            self._once(str(error))
            return
        if not self.active:  # the node was told to stop meanwhile
            return
        recognition = answer.recognition
        pose = pipeline.T_map_query(answer, self.camera)
        initial = self._wants_initial_pose and pose is not None
        outputs.publish(answer, pose, initial)
        self._wants_initial_pose = self._wants_initial_pose and not initial
        if recognition is not None:
            self.health.count("decision", recognition.reason, recognition.note)
            if recognition.note:
                self.get_logger().info(f"filter: {recognition.note}")
        if answer.reason:
            self.health.count("map", f"frame: {answer.reason}")
        if self._stamps is not None:
            self._stamps.write(f"{observation.stamp_ns}\n")
            self._stamps.flush()
        self.health.timed("total", time.perf_counter() - started)

    # Services

    def _relocalize(self, request, response):
        self._asked(response, "relocalize")
        self._wants_initial_pose = self._wants_initial_pose or response.success
        return response

    def _asked(self, response, method: str, *arguments):
        response.success, response.message = False, "the node is not configured"
        if self.pipeline is not None:
            try:
                response.message = getattr(self.pipeline, method)(*arguments)
                response.success = True
            except VprError as error:
                response.message = str(error)
        return response

    # Telling

    def _failed(self, error: Exception) -> None:
        if not self.context.ok():
            return  # publishing after Ctrl-C
        self.health.count("inference", "error", f"{type(error).__name__}: {error}")
        self._once(f"an image could not be answered ({type(error).__name__}: {error})")

    def _fail(self, error: Exception, what: str) -> None:
        text = str(error) if isinstance(error, VprError) else f"{type(error).__name__}: {error}"
        self.last_error = text
        self.get_logger().error(f"{what}: {text}")

    def _once(self, sentence: str) -> None:
        # Bad frames come at the camera's rate; the counts are in /diagnostics.
        with suppress(Exception):
            self.get_logger().warning(sentence, throttle_duration_sec=5.0)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _mounted(inputs: Inputs, message: Any) -> MountedCamera:
    camera = inputs.camera
    return MountedCamera(inputs.T_base_camera(message), camera.hfov_deg if camera is not None else None)


def _opened(path: str) -> TextIO:
    try:
        return Path(path).expanduser().open("w", encoding="utf-8")
    except OSError as error:
        raise VprError(f"stamps_log '{path}' cannot be written ({error.strerror}): name another file") from None
