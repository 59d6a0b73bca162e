"""The topics of the node `vpr`, and their publishers."""

import threading
from collections.abc import Callable
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float64MultiArray
from vision_msgs.msg import Detection3D, VisionInfo
from visualization_msgs.msg import MarkerArray

from vpr_ros.nodes.qos import create_publisher


def _reliable(depth: int, latched: bool = False) -> QoSProfile:
    durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    return QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE, durability=durability)


TOPICS = {
    "matches": (Detection3D, _reliable(10)),
    "pose": (PoseWithCovarianceStamped, _reliable(10)),
    "loop_candidate": (Float64MultiArray, _reliable(5)),
    "loop_closure": (PoseWithCovarianceStamped, _reliable(5)),
    "keyframes": (Path, _reliable(1, latched=True)),
    "vision_info": (VisionInfo, _reliable(1, latched=True)),
    "match_image/compressed": (CompressedImage, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)),
    "markers": (MarkerArray, _reliable(1)),
    "initial_pose": (PoseWithCovarianceStamped, _reliable(1)),
    "query_matches": (Detection3D, _reliable(10)),
    "query_keyframe/compressed": (CompressedImage, _reliable(10)),
}


class Publishers:
    """The publishers of one node; they exist from `start` to `stop`, before and after it nothing is sent.

    Once the node's context is shut down nothing is sent and nothing raised: `silence` then says why. A caller that
    sends several messages holds `lock`, so that `stop` does not destroy a publisher in use.
    """

    def __init__(self, node: Any):
        self.lock = threading.RLock()
        self.silence = ""
        self._node = node
        self._publishers: dict[str, Any] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._publishers

    def start(self) -> None:
        """Create the publishers; no effect while they exist. VprError for a QoS of the user's that does not exist."""
        with self.lock:
            # Plain publishers: they exist in the active state only, so lifecycle publishers would add nothing.
            for name, (kind, qos) in TOPICS.items():
                if name not in self._publishers:
                    self._publishers[name] = create_publisher(self._node, kind, f"~/{name}", qos)
            self.silence = ""

    def stop(self) -> None:
        """Destroy the publishers. Whatever was latched is gone with them."""
        with self.lock:
            for publisher in self._publishers.values():
                self._node.destroy_publisher(publisher)
            self._publishers.clear()

    def subscriptions(self, name: str) -> int:
        """How many subscribers a topic has."""
        publisher = self._publishers.get(name)
        return 0 if publisher is None else self._guarded(publisher.get_subscription_count) or 0

    def send(self, name: str, message: Any) -> bool:
        """Publish on a topic; whether it went out."""
        publisher = self._publishers.get(name)
        return publisher is not None and self._guarded(lambda: publisher.publish(message) or True) is True

    def _guarded(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            # After a shutdown rclpy raises errors of several kinds; before it, each of them is a defect to be seen.
            if self._node.context.ok():
                raise
            self.silence = f"nothing is published any more: ROS was shut down ({error})"
            return None
