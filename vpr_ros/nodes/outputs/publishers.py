"""The publishers of the node `vpr`: what an answer becomes on the wire, and who has to listen before it is drawn."""

import threading
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float64MultiArray
from vision_msgs.msg import Detection3D, VisionInfo
from visualization_msgs.msg import MarkerArray

from vpr_ros.errors import VprError
from vpr_ros.nodes.outputs import messages
from vpr_ros.nodes.outputs.markers import markers_of
from vpr_ros.recognition.types import Hypothesis
from vpr_ros.runtime.answer import place_covariance
from vpr_ros.runtime.match_picture import Partner, match_picture


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
}


class Outputs:
    """Publishers of one node for one pipeline; they exist from `start` to `stop`, in between nothing is sent.

    `publish` is for the worker thread, the others for any. Once the node's context is shut down nothing is sent
    and nothing raised: `silence` then tells why.
    """

    def __init__(self, node: Any, pipeline: Any):
        self._node = node
        self._pipeline = pipeline
        self._publishers: dict[str, Any] = {}
        self._lock = threading.RLock()  # stop() must not destroy a publisher that the worker is using
        place_map = pipeline.place_map
        self._map_id, self._frame_id = place_map.map_id, place_map.frame_id
        self._path = messages.KeyframePath(self._map_id, self._frame_id)
        self._path_is_out = False
        self.silence = ""

    def start(self) -> None:
        """Create the publishers; no effect while they exist."""
        with self._lock:
            # Plain publishers: they come and go with the state, so the lifecycle's own gate has nothing left to do.
            for name, (kind, qos) in TOPICS.items():
                if name not in self._publishers:
                    self._publishers[name] = self._node.create_publisher(kind, f"~/{name}", qos)
            self._path_is_out, self.silence = False, ""

    def stop(self) -> None:
        """Destroy the publishers. Whatever was latched is gone with them."""
        with self._lock:
            for publisher in self._publishers.values():
                self._node.destroy_publisher(publisher)
            self._publishers.clear()

    def publish(self, answer: Any, T_map_query: tuple[np.ndarray, np.ndarray] | None, initial: bool) -> None:
        """Send one answer. `T_map_query`: the base's pose (4, 4) in the map and its covariance (6, 6), for an accepted
        match that has one; `initial`: tell it to whoever waits for an initial pose, too."""
        with self._lock:
            if answer.recognition is not None:
                self._publish_recognition(answer, T_map_query, initial)
            # The data is out by now: what is only looked at must not delay it.
            if self._watched("markers") and answer.recognition is not None:
                self._send("markers", self._markers(answer, T_map_query))
            if self._watched("match_image/compressed"):
                self._send("match_image/compressed", self._picture(answer))

    def publish_keyframes(self) -> None:
        """Send the keyframes again if they have changed, or if nobody can have them yet."""
        with self._lock:
            if "keyframes" not in self._publishers:
                return
            # Only keyframes that are durable: from then on their ids are permanent.
            up_to = self._pipeline.place_map.saved_up_to()
            changed = self._path.extend(self._pipeline.keyframes(self._path.last_id), up_to)
            if changed or not self._path_is_out:
                self._path_is_out = self._send("keyframes", self._path.message)

    def publish_vision_info(self) -> None:
        place_map = self._pipeline.place_map
        method = f"{place_map.model_name or 'model'} {place_map.fingerprint[:12]}"
        with self._lock:
            self._send(
                "vision_info",
                messages.vision_info(
                    method=method,
                    location=str(place_map.path),
                    version=place_map.version,
                    frame_id=self._frame_id,
                ),
            )

    def _publish_recognition(self, answer: Any, T_map_query: Any, initial: bool) -> None:
        recognition, match = answer.recognition, answer.recognition.match
        radius_m = self._radius_m()
        self._send(
            "matches",
            messages.detection(
                recognition,
                map_id=self._map_id,
                frame_id=self._frame_id,
                place_radius_m=radius_m,
                covariance=place_covariance(radius_m),
            ),
        )
        if match is None:
            return
        if T_map_query is not None:
            T, covariance = T_map_query
            pose = messages.stamped_pose(T, covariance, recognition.stamp_ns, self._frame_id)
            self._send("pose", pose)
            if initial:
                self._send("initial_pose", pose)
        if self._of_this_drive(match):
            self._send("loop_candidate", messages.loop_candidate(recognition.stamp_ns, match.stamp_ns))
        verified = answer.verified
        if verified is not None and verified.accepted:
            self._send(
                "loop_closure",
                messages.stamped_pose(
                    verified.T_keyframe_query,
                    verified.covariance,
                    recognition.stamp_ns,
                    messages.class_id(self._map_id, match.keyframe_id),
                ),
            )

    def _of_this_drive(self, match: Hypothesis) -> bool:
        session = self._pipeline.session
        return session is not None and int(self._pipeline.recogniser.topology.sessions[match.row]) == session

    def _markers(self, answer: Any, T_map_query: Any) -> MarkerArray:
        return markers_of(
            answer.recognition,
            T_map_base=self._T_map_base(answer, T_map_query),
            frame_id=self._frame_id,
            place_radius_m=self._radius_m(),
        )

    def _T_map_base(self, answer: Any, T_map_query: Any) -> np.ndarray | None:
        """Where the robot is by other means than the match itself; None where nothing tells."""
        if answer.observation.T_map_base is not None:
            return answer.observation.T_map_base
        if answer.verified is not None and answer.verified.accepted and T_map_query is not None:
            return T_map_query[0]
        if answer.keyframe_id is not None:  # a map that lives in its first drive's odometry has given it a pose
            own = self._pipeline.keyframes(answer.keyframe_id - 1)
            if len(own) and np.isfinite(own.T_map_base[0]).all():
                return own.T_map_base[0]
        return None

    def _radius_m(self) -> float:
        recogniser = self._pipeline.recogniser
        return self._pipeline.place_map.place_radius_m if recogniser is None else recogniser.topology.radius

    def _picture(self, answer: Any) -> CompressedImage:
        observation, recognition = answer.observation, answer.recognition
        if recognition is None:
            partner = self._partner("new keyframe", answer.keyframe_id)
        else:
            partner = self._partner("keyframe", recognition.best.keyframe_id if recognition.best else None)
        data = match_picture(observation.image, recognition, partner, answer.reason)
        return messages.jpeg(data, observation.stamp_ns, self._frame_id)

    def _partner(self, word: str, keyframe_id: int | None) -> Partner | None:
        if keyframe_id is None:
            return None
        try:
            thumbnail = self._pipeline.place_map.thumbnail(keyframe_id)
        except VprError:  # a damaged page of the map: the words are still worth drawing
            thumbnail = None
        return Partner(f"{word} {keyframe_id}", thumbnail)

    def _watched(self, name: str) -> bool:
        publisher = self._publishers.get(name)
        return publisher is not None and bool(self._guarded(publisher.get_subscription_count))

    def _send(self, name: str, message: Any) -> bool:
        publisher = self._publishers.get(name)
        return publisher is not None and self._guarded(lambda: publisher.publish(message) or True) is True

    def _guarded(self, call: Any) -> Any:
        try:
            return call()
        except Exception as error:
            # After a shutdown rclpy raises errors of several kinds; before it, each of them is a defect to be seen.
            if self._node.context.ok():
                raise
            self.silence = f"nothing is published any more: ROS was shut down ({error})"
            return None
