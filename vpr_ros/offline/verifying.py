"""Accepted matches checked by LiDAR: only those that agree become loop closures with a pose and a covariance."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vpr_ros.atomic import whole_text
from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.observation import Observation
from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import Recognition
from vpr_ros.verification import VerificationConfig, verify_clouds

FILE = "loop_closures.jsonl"


class LoopClosures:
    """Registers queries with their accepted keyframes and writes what came out, agreement or not."""

    def __init__(self, stream, place_map: PlaceMap, config: VerificationConfig | None = None):
        self._stream, self._place_map, self._config = stream, place_map, config
        self.tried = self.agreed = 0

    def check(self, observation: Observation, recognition: Recognition) -> None:
        """Does nothing for a frame that was not accepted or where either side has no cloud."""
        match = recognition.match
        if match is None or observation.cloud is None:
            return
        cloud = self._place_map.cloud(match.keyframe_id)
        if cloud is None:
            return
        verified = verify_clouds(observation.cloud, cloud, config=self._config)
        self.tried += 1
        self.agreed += verified.accepted
        line = {
            "stamp_ns": observation.stamp_ns,
            "keyframe_id": match.keyframe_id,
            "accepted": verified.accepted,
            "reason": verified.reason,
            "agreement": verified.agreement,
        }
        if verified.accepted and verified.T_keyframe_query is not None and verified.covariance is not None:
            T = verified.T_keyframe_query
            line["T_keyframe_query"] = [*T[:3, 3].tolist(), *matrix_to_quaternion(T[:3, :3]).tolist()]
            line["covariance"] = verified.covariance.reshape(-1).tolist()
        self._stream.write(json.dumps(line) + "\n")


@contextmanager
def loop_closures(out: Path, place_map: PlaceMap, wanted: bool) -> Iterator[LoopClosures | None]:
    """A LoopClosures that writes OUT/loop_closures.jsonl, or None where it is not wanted.

    A line's `T_keyframe_query` is x y z qx qy qz qw of the query's base in the keyframe's, `covariance` its 6x6 rows
    in the order x y z rotX rotY rotZ; both are there only where `accepted`.
    """
    if not wanted:
        yield None
        return
    with whole_text(out / FILE) as stream:
        yield LoopClosures(stream, place_map)
