"""The lifecycle node `recorder`: camera, LiDAR and poses into a training set."""

import time
from typing import Any

from vpr_ros.errors import FrameError, VprError
from vpr_ros.nodes.diagnostics.recorder import RecorderDiagnostics
from vpr_ros.nodes.inputs.inputs import Inputs
from vpr_ros.nodes.lifecycle import MESSAGE_WAIT_S, WorkerNode, images_sentence
from vpr_ros.nodes.settings import recording_config
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS
from vpr_ros.runtime.recording import Recording
from vpr_ros.runtime.settings import RecordingConfig
from vpr_ros.training_set.writer import TrainingSetWriter


class RecorderNode(WorkerNode):
    """configure opens the folder, activate records, deactivate pauses, cleanup ends the drive."""

    table = RECORDER_PARAMETERS
    health_task, action, busy_action = "recording", "recorded", "written"

    def __init__(self, **kwargs: Any):
        super().__init__("recorder", **kwargs)
        self.recording: Recording | None = None
        self._seen = 0  # images since configure that could be recorded
        self._diagnostics = RecorderDiagnostics(self, self.health)

    def open_resources(self, values: dict[str, Any]) -> Inputs:
        """The training set's next drive."""
        self._seen = 0
        topic = self.resolve_topic_name("image/compressed" if values["compressed"] else "image")
        config, folder = recording_config(values), values["output"]
        self.recording = Recording(config, lambda: _writer(folder, config, topic), self.health)
        settings = InputSettings.from_values(
            values, clouds=True, mapping=True, mount=False, clouds_needed=values["require_cloud"]
        )
        inputs = Inputs(self, settings, self.health)
        writer = self.recording.writer
        self.get_logger().info(f"drive '{writer.drive}' goes into the training set {writer.folder}")
        return inputs

    def close_resources(self) -> None:
        """Ends the drive."""
        recording, self.recording = self.recording, None
        if recording is None:
            return
        try:
            recording.close()
        except VprError as error:
            self.report_failure(error, "the training set could not be closed")

    def summary(self) -> str:
        """What came of the images since configure."""
        recording, inputs = self.recording, self.inputs
        if recording is None or inputs is None:
            return ""
        writer, came = recording.writer, images_sentence(inputs.received, self._seen, "looked at", inputs.dropped)
        return f"{came}; {writer.count} frames in drive '{writer.drive}' of {writer.folder}"

    def step(self) -> None:
        """Records the newest image, if one comes in time and it is to be kept."""
        inputs, recording = self.inputs, self.recording
        message = inputs.next(MESSAGE_WAIT_S) if inputs is not None else None
        if inputs is None or recording is None or message is None:
            return
        started = time.perf_counter()
        try:
            observation = inputs.observe(message)  # counts what it refuses
        except FrameError as error:
            self.warn(f"image unusable: {error}")
            return
        if not self.active:  # told to stop meanwhile
            return
        self._seen += 1
        try:
            recording.take(observation)
        except VprError as error:
            self.health.count("recording", "write failed", str(error))
            self.warn(str(error))
        self.health.timed("total", time.perf_counter() - started)


def _writer(folder: str, config: RecordingConfig, topic: str) -> TrainingSetWriter:
    """Another drive of the training set."""
    if not folder:
        raise VprError("output is empty: name the folder of the training set (output:=FOLDER)")
    drive = config.drive or time.strftime("%Y-%m-%d_%H-%M-%S")
    return TrainingSetWriter(
        folder, drive, config.city, config.condition, config.jpeg_quality, config.max_width, source=topic
    )
