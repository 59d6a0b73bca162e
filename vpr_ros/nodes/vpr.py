"""The lifecycle node `vpr`: images in; ranked places, poses and loop closures out."""

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rclpy.lifecycle import TransitionCallbackReturn
from std_srvs.srv import SetBool, Trigger

from vpr_ros.errors import FrameError, VprError
from vpr_ros.nodes.diagnostics.vpr import VprDiagnostics
from vpr_ros.nodes.inputs.inputs import Inputs
from vpr_ros.nodes.lifecycle import MESSAGE_WAIT_S, images_sentence
from vpr_ros.nodes.map_node import MapNode
from vpr_ros.nodes.map_to_odom.broadcaster import MapToOdomBroadcaster
from vpr_ros.nodes.outputs.outputs import Outputs
from vpr_ros.nodes.queries import Queries
from vpr_ros.place_map import MountedCamera, limits
from vpr_ros.place_map.describer import input_size_of
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig
from vpr_ros.runtime.parameters.tables import VPR_PARAMETERS
from vpr_ros.runtime.parameters.values import DECISION, decision_config, pipeline_config

if TYPE_CHECKING:
    from vpr_ros.runtime.pipeline import Pipeline

KEYFRAMES_PERIOD_S = 5.0


class VprNode(MapNode):
    """configure loads the model and the map, activate subscribes, deactivate unsubscribes, cleanup frees the memory.

    Callbacks only leave the newest image in a mailbox; one worker thread owns the network and answers it.
    """

    table = VPR_PARAMETERS
    health_task, action, busy_action = "inference", "answered", "answered"

    def __init__(self, **kwargs: Any):
        super().__init__("vpr", **kwargs)
        self.camera: MountedCamera | None = None
        self.map_to_odom: MapToOdomBroadcaster | None = None  # with publish_tf
        self._outputs: Outputs | None = None
        self._queries: Queries | None = None
        self._stamps: TextIO | None = None
        self._wants_initial_pose = False
        self._told_of_map = ""
        self._answered = 0  # images since configure
        self._last_answer, self._next_keyframes = -float("inf"), float("inf")  # steady seconds; the worker's
        self.create_service(Trigger, "~/relocalize", self._relocalize)
        self.create_service(Trigger, "~/save_map", self._save_map)
        self.create_service(Trigger, "~/clear_session", self._clear_session)
        self.create_service(SetBool, "~/set_mapping", self._set_mapping)
        self._diagnostics = VprDiagnostics(self, self.health)

    # Lifecycle

    def open_resources(self, values: dict[str, Any]) -> Inputs:
        """Model, map, publishers, and the file for the stamps."""
        from vpr_ros.runtime.pipeline import Pipeline  # torch: imported here, so that the node itself starts at once

        self._answered, self._told_of_map = 0, ""
        mapping = values["mode"] != "localize"
        if values["stamps_log"]:
            self._stamps = _opened(values["stamps_log"])
        self.pipeline = Pipeline.open(pipeline_config(values), self.health, self.spare_extractor)
        self.pipeline.warm_up()
        needed = values["verify"] == "lidar" or values["keep_clouds"]
        depth = mapping and self.pipeline.features.extractor is not None  # of keypoints, by whatever sensor there is
        clouds = needed or depth or values["verify"] == "auto"
        least = input_size_of(self.pipeline.extractor)
        settings = InputSettings.from_values(values, clouds, mapping, clouds_needed=needed, depth=depth, least=least)
        inputs = Inputs(self, settings, self.health)
        self._outputs = Outputs(self, self.pipeline)
        self._queries = Queries(self, self.pipeline, self._outputs)
        place_map = self.pipeline.place_map
        if values["publish_tf"]:
            self.map_to_odom = MapToOdomBroadcaster(
                self,
                MapToOdomConfig.from_values(values),
                place_map.frame_id,
                values["odom_frame"],
                values["base_frame"],
                self.health,
                inputs.newest_T_odom_base_in_tf,
            )
            self.map_to_odom.open()
        self.get_logger().info(
            f"mode {self.pipeline.mode}, map {place_map.path} ({len(place_map)} keyframes, id {place_map.map_id}), "
            f"model {self.pipeline.extractor.name} on {self.pipeline.extractor.device}"
        )
        self.get_logger().info(self.pipeline.features.sentence)
        if not mapping:
            for sentence in limits(place_map.keyframes()):
                self.warn(sentence)
        return inputs

    def start_outputs(self) -> None:
        """Creates the publishers; the worker publishes the keyframes, because a large map's table takes long."""
        assert self._outputs is not None and self._queries is not None
        if self.map_to_odom is not None:
            self.map_to_odom.start()
        self._outputs.start()
        self._outputs.publish_vision_info()
        self._queries.start()
        self._next_keyframes = time.monotonic()

    def stop_outputs(self) -> None:
        """Saves what was mapped."""
        if self.pipeline is not None and self.pipeline.mode != "localize":
            try:
                self.pipeline.save()
            except VprError as error:
                self.report_failure(error, "the map could not be saved")
        if self.map_to_odom is not None:
            self.map_to_odom.stop()
        if self._queries is not None:
            self._queries.stop()
        if self._outputs is not None:
            self._outputs.stop()

    def summary(self) -> str:
        """What came of the images since configure."""
        pipeline, inputs = self.pipeline, self.inputs
        if pipeline is None or inputs is None:
            return ""
        results = []
        if pipeline.mode != "map":
            results.append(f"{self.health.counts('decision').get('accepted', 0)} places accepted")
        if pipeline.mode == "localize":
            results.append(f"map {pipeline.place_map.path}")
        else:
            results.append(f"{pipeline.saved} keyframes saved in {pipeline.place_map.path}")
        return f"{images_sentence(inputs.received, self._answered, 'answered', inputs.dropped)}; {', '.join(results)}"

    def close_resources(self) -> None:
        """Closes the map and lets go of the model."""
        if self.pipeline is not None:
            try:
                self.pipeline.close()
            except VprError as error:
                self.report_failure(error, "the map could not be closed")
        if self.map_to_odom is not None:
            self.map_to_odom.close()
        if self._stamps is not None:
            self._stamps.close()
        self.pipeline = self.camera = self.map_to_odom = self._outputs = self._queries = self._stamps = None

    def on_cleanup(self, state) -> TransitionCallbackReturn:
        """Closes the map and frees the model's memory."""
        result = super().on_cleanup(state)
        _free_memory()
        return result

    # The worker

    def step(self) -> None:
        """Answers the newest image, if one comes in time, and looks after the map."""
        pipeline, inputs, outputs, queries = self.pipeline, self.inputs, self._outputs, self._queries
        if pipeline is None or inputs is None or outputs is None or queries is None:
            return
        queries.answer()
        limit = self.get_parameter("rate_limit_hz").value
        pause = self._last_answer + 1.0 / limit - time.monotonic() if limit else 0.0
        if pause > 0:
            time.sleep(min(pause, MESSAGE_WAIT_S))
            message = None
        else:
            message = inputs.next(MESSAGE_WAIT_S)
        if message is not None:
            self._last_answer = time.monotonic()
            self._answer(message, pipeline, inputs, outputs)
        try:
            pipeline.idle()
        except VprError as error:
            self.health.count("map", "write failed", str(error))
        if pipeline.on_disk.problem != self._told_of_map:
            self._told_of_map = pipeline.on_disk.problem
            if self._told_of_map:
                self.get_logger().warning(self._told_of_map)
        if self.active and time.monotonic() >= self._next_keyframes:
            started = time.monotonic()
            try:
                outputs.publish_vision_info()
                outputs.publish_keyframes()
            except VprError as error:  # the file was damaged meanwhile; answers come from what was loaded
                self.health.count("map", "read failed", str(error))
            # A large table takes long to build: never more than a twentieth of the time goes there.
            self._next_keyframes = time.monotonic() + max(KEYFRAMES_PERIOD_S, 20 * (time.monotonic() - started))

    def _answer(self, message: Any, pipeline: "Pipeline", inputs: Inputs, outputs: Outputs) -> None:
        started = time.perf_counter()
        decision = decision_config({name: self.get_parameter(name).value for name in DECISION})
        try:
            if decision != pipeline.config.recognition.decision:
                pipeline.set_decision(decision)
        except VprError as error:
            self.warn(f"the rules of acceptance stay as they were: {error}")
        try:
            observation = inputs.observe(message)  # counts what it refuses
        except FrameError as error:
            self.warn(f"image unusable: {error}")
            return
        try:
            self.camera = MountedCamera.of(observation)
            answer = pipeline.process(observation)
        except FrameError as error:
            self.health.count("input", "image unusable", str(error))
            self.warn(f"image unusable: {error}")
            return
        except VprError as error:
            self.health.count("map", "write failed", str(error))
            self.warn(str(error))
            return
        if not self.active:  # the node was told to stop meanwhile
            return
        recognition, transform = answer.recognition, self.map_to_odom
        outputs.publish_match(answer)
        try:
            answer = pipeline.verified(answer)  # it takes longer: the match does not wait for it
        except VprError as error:
            self.health.count("map", "read failed", str(error))
            self.warn(str(error))
        if not self.active:
            return
        pose = pipeline.T_map_query(answer)
        initial = self._wants_initial_pose and pose is not None
        outputs.publish(answer, pose, initial)
        if transform is not None:
            verified = answer.verified
            metric = pose if verified is not None and verified.metric else None
            transform.take(observation.stamp_ns, inputs.T_odom_base_in_tf(observation.stamp_ns), metric)
        self._answered += 1
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

    def _relocalize(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response = self._reply(response, lambda pipeline: pipeline.relocalize())
        self._wants_initial_pose = self._wants_initial_pose or response.success
        if response.success and self.map_to_odom is not None:
            self.map_to_odom.forget()
        return response

    def _save_map(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._reply(response, lambda pipeline: pipeline.save())

    def _clear_session(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return self._reply(response, lambda pipeline: pipeline.clear_session())

    def _set_mapping(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        return self._reply(response, lambda pipeline: pipeline.set_mapping(request.data))

    def _reply(self, response: Any, call: Callable[["Pipeline"], str]) -> Any:
        """The response with the call's sentence, or with the reason of its refusal."""
        response.success, response.message = False, "the node is not configured"
        if self.pipeline is not None:
            try:
                response.message = call(self.pipeline)
                response.success = True
            except VprError as error:
                response.message = str(error)
        return response


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _opened(path: str) -> TextIO:
    try:
        return Path(path).expanduser().open("w", encoding="utf-8")
    except OSError as error:
        raise VprError(f"stamps_log '{path}' cannot be written ({error.strerror}): name another file") from None
