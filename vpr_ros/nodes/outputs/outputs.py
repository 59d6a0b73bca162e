"""What an answer of the pipeline becomes on the topics, and which of it is made only for subscribers."""

from typing import TYPE_CHECKING, Any

import numpy as np
from sensor_msgs.msg import CompressedImage
from vision_msgs.msg import Detection3D
from visualization_msgs.msg import MarkerArray

from vpr_ros.errors import VprError
from vpr_ros.nodes.outputs import messages
from vpr_ros.nodes.outputs.markers import markers_of
from vpr_ros.nodes.outputs.publishers import Publishers
from vpr_ros.recognition.types import Hypothesis, Recognition
from vpr_ros.runtime.answer import Answer, place_covariance
from vpr_ros.runtime.match_picture import Partner, match_picture

if TYPE_CHECKING:
    from vpr_ros.runtime.pipeline import Pipeline

PoseInMap = tuple[np.ndarray, np.ndarray]  # T_map_base (4, 4) and its covariance (6, 6)


class Outputs:
    """Publishes the answers of one pipeline between `start` and `stop`.

    `publish` is for the worker thread, the others for any.
    """

    def __init__(self, node: Any, pipeline: "Pipeline"):
        self.publishers = Publishers(node)
        self._pipeline = pipeline
        place_map = pipeline.place_map
        self._map_id, self._frame_id = place_map.map_id, place_map.frame_id
        self._path = messages.KeyframePath(self._map_id, self._frame_id)
        self._path_is_out = False
        self._version_out: int | None = None  # of the map, as last told

    def start(self) -> None:
        """Create the publishers; no effect while they exist."""
        with self.publishers.lock:
            self.publishers.start()
            self._path_is_out, self._version_out = False, None

    def stop(self) -> None:
        """Destroy the publishers. Whatever was latched is gone with them."""
        self.publishers.stop()

    def publish_match(self, answer: Answer) -> None:
        """Send what is recognised in one answer, before anything is verified."""
        recognition = answer.recognition
        if recognition is None:
            return
        with self.publishers.lock:
            self.publishers.send("matches", self._detection(recognition))
            match = recognition.match
            if match is not None and self._of_this_drive(match):
                self.publishers.send("loop_candidate", messages.loop_candidate(recognition.stamp_ns, match.stamp_ns))

    def publish(self, answer: Answer, T_map_query: PoseInMap | None, initial: bool) -> None:
        """Send what follows from one answer, verified where that was asked for. `T_map_query`: the base's pose (4, 4)
        in the map and its covariance (6, 6), for an accepted match that has one; `initial`: publish it as the initial
        pose, too."""
        with self.publishers.lock:
            if answer.recognition is not None:
                self._publish_pose(answer, answer.recognition, T_map_query, initial)
            # After the data, which pictures must not delay.
            if self.publishers.subscriptions("markers") and answer.recognition is not None:
                self.publishers.send("markers", self._markers(answer, answer.recognition, T_map_query))
            if self.publishers.subscriptions("match_image/compressed"):
                self.publishers.send("match_image/compressed", self._picture(answer))

    def publish_query(self, recognition: Recognition) -> None:
        """Send the answer to a single picture, and the picture of the best place's keyframe where the map has one."""
        best = recognition.best
        partner = None if best is None else self._partner("keyframe", best.keyframe_id)
        with self.publishers.lock:
            self.publishers.send("query_matches", self._detection(recognition))
            if best is not None and partner is not None and partner.thumbnail is not None:
                name = messages.class_id(self._map_id, best.keyframe_id)
                picture = messages.jpeg(partner.thumbnail, recognition.stamp_ns, name)
                self.publishers.send("query_keyframe/compressed", picture)

    def publish_keyframes(self) -> None:
        """Send the keyframes if they have changed, or were not sent since `start`."""
        with self.publishers.lock:
            if "keyframes" not in self.publishers:
                return
            # Only keyframes that are durable: from then on their ids are permanent.
            up_to = self._pipeline.place_map.saved_up_to()
            changed = self._path.extend(self._pipeline.keyframes(self._path.last_id), up_to)
            if changed or not self._path_is_out:
                self._path_is_out = self.publishers.send("keyframes", self._path.message)

    def publish_vision_info(self) -> None:
        """Send which model answers from which map, if its version has changed or it was not sent since `start`."""
        place_map = self._pipeline.place_map
        method = f"{place_map.model_name or 'model'} {place_map.fingerprint[:12]}"
        with self.publishers.lock:
            version = place_map.version
            message = messages.vision_info(
                method=method, location=str(place_map.path), version=version, frame_id=self._frame_id
            )
            if version != self._version_out and self.publishers.send("vision_info", message):
                self._version_out = version

    def _publish_pose(
        self, answer: Answer, recognition: Recognition, T_map_query: PoseInMap | None, initial: bool
    ) -> None:
        match = recognition.match
        if match is None:
            return
        if T_map_query is not None:
            T, covariance = T_map_query
            pose = messages.stamped_pose(T, covariance, recognition.stamp_ns, self._frame_id)
            self.publishers.send("pose", pose)
            if initial:
                self.publishers.send("initial_pose", pose)
        verified = answer.verified
        if verified is not None and verified.metric:
            self.publishers.send(
                "loop_closure",
                messages.stamped_pose(
                    verified.T_keyframe_query,
                    verified.covariance,
                    recognition.stamp_ns,
                    messages.class_id(self._map_id, match.keyframe_id),
                ),
            )

    def _detection(self, recognition: Recognition) -> Detection3D:
        radius_m = self._radius_m()
        return messages.detection(
            recognition,
            map_id=self._map_id,
            frame_id=self._frame_id,
            place_radius_m=radius_m,
            covariance=place_covariance(radius_m),
        )

    def _of_this_drive(self, match: Hypothesis) -> bool:
        session, recogniser = self._pipeline.session, self._pipeline.recogniser
        return session is not None and recogniser is not None and recogniser.topology.sessions[match.row] == session

    def _markers(self, answer: Answer, recognition: Recognition, T_map_query: PoseInMap | None) -> MarkerArray:
        return markers_of(
            recognition,
            T_map_base=self._T_map_base(answer, T_map_query),
            frame_id=self._frame_id,
            place_radius_m=self._radius_m(),
        )

    def _T_map_base(self, answer: Answer, T_map_query: PoseInMap | None) -> np.ndarray | None:
        """Where the robot is by other means than the match itself; None where that is not known."""
        if answer.observation.T_map_base is not None:
            return answer.observation.T_map_base
        if answer.verified is not None and answer.verified.metric and T_map_query is not None:
            return T_map_query[0]
        if answer.keyframe_id is not None:  # a map that lives in its first drive's odometry has given it a pose
            own = self._pipeline.keyframes(answer.keyframe_id - 1)
            if len(own) and np.isfinite(own.T_map_base[0]).all():
                return own.T_map_base[0]
        return None

    def _radius_m(self) -> float:
        recogniser = self._pipeline.recogniser
        return self._pipeline.place_map.place_radius_m if recogniser is None else recogniser.topology.radius

    def _picture(self, answer: Answer) -> CompressedImage:
        observation, recognition = answer.observation, answer.recognition
        if recognition is None:
            partner = self._partner("new keyframe", answer.keyframe_id)
        else:
            partner = self._partner("keyframe", recognition.best.keyframe_id if recognition.best else None)
        data = match_picture(observation.whole_image(), recognition, partner, answer.reason)
        return messages.jpeg(data, observation.stamp_ns, self._frame_id)

    def _partner(self, label: str, keyframe_id: int | None) -> Partner | None:
        if keyframe_id is None:
            return None
        try:
            thumbnail = self._pipeline.place_map.thumbnail(keyframe_id)
        except VprError:  # a damaged page of the map: the rest of the picture is drawn
            thumbnail = None
        return Partner(f"{label} {keyframe_id}", thumbnail)
