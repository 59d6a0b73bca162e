"""Single pictures that the node is asked about on `~/query/compressed`: the places and the keyframe's picture."""

from collections import deque
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage

from vpr_ros.errors import FrameError, VprError
from vpr_ros.nodes.outputs.outputs import Outputs
from vpr_ros.nodes.qos import create_subscription
from vpr_ros.observation import Observation
from vpr_ros.place_map.describer import input_size_of
from vpr_ros.sensors.camera_pictures import camera_picture
from vpr_ros.sensors.payload import stamp_ns

if TYPE_CHECKING:
    from vpr_ros.runtime.pipeline import Pipeline

_WAITING = 10  # pictures; the oldest gives way


class Queries:
    """The pictures that came between `start` and `stop`. No standard service has an image in its request: so a topic.

    Each is answered by itself, whatever the drive has shown, and taken to be upright. `answer` is for the worker.
    """

    def __init__(self, node: Any, pipeline: "Pipeline", outputs: Outputs):
        self._node, self._pipeline, self._outputs = node, pipeline, outputs
        self._waiting: deque[CompressedImage] = deque(maxlen=_WAITING)
        self._subscription: Any = None

    def start(self) -> None:
        """Subscribe."""
        qos = QoSProfile(depth=_WAITING, reliability=ReliabilityPolicy.RELIABLE)
        self._subscription, _ = create_subscription(
            self._node, CompressedImage, "~/query/compressed", self._on_picture, qos
        )

    def stop(self) -> None:
        """Unsubscribe and forget."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
        self._subscription = None
        self._waiting.clear()

    def _on_picture(self, message: CompressedImage) -> None:
        self._waiting.append(message)

    def answer(self) -> None:
        """Answers what has come. What cannot be answered is counted, and said in the log and in /diagnostics."""
        while self._waiting:
            try:
                message = self._waiting.popleft()
            except IndexError:  # stopped meanwhile
                return
            try:
                picture = camera_picture(message, 0, input_size_of(self._pipeline.extractor))
                observation = Observation(stamp_ns(message), picture.pixels, whole=picture.whole)
                recognition = self._pipeline.ask(observation)
            except (FrameError, VprError) as error:
                self._node.health.count("input", "query unusable", f"a picture on ~/query/compressed: {error}")
                self._node.warn(f"a picture on ~/query/compressed cannot be answered: {error}")
            else:
                self._outputs.publish_query(recognition)
