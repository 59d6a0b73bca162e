"""What became of one image, and where the robot stands by it."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.geometry import invert
from vpr_ros.observation import Observation
from vpr_ros.place_map import MountedCamera
from vpr_ros.recognition import Recognition
from vpr_ros.recognition.mapper import FrameReason
from vpr_ros.recognition.types import Hypothesis
from vpr_ros.runtime.local_features import FrameFeatures
from vpr_ros.verification import Verified


@dataclass(frozen=True)
class Answer:
    """What became of one image."""

    observation: Observation
    recognition: Recognition | None = None  # None in mode map
    keyframe_id: int | None = None  # the keyframe that it became
    reason: FrameReason | None = None  # why it became one, or did not; None in mode localize
    verified: Verified | None = None  # what the geometry says of the accepted match, where it was asked
    features: FrameFeatures | None = None  # of the frame, made when they are asked for

    @property
    def match(self) -> Hypothesis | None:
        """The accepted place; None where none was."""
        return None if self.recognition is None else self.recognition.match


def query_pose(
    answer: Answer, radius_m: float, mapped: MountedCamera | None, camera: MountedCamera | None
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pose (4, 4) of the query's base in the map and its covariance (6, 6), for an accepted match with a map pose.

    A verification that measured one gives the pose itself. Without one it is the keyframe's, as wide as a place of
    `radius_m`; where the mountings of both cameras are known, of the one that mapped and of the one that asks, it is
    the pose from which the asking robot's camera stands where the map's stood, both turned upright.
    """
    match, verified = answer.match, answer.verified
    if match is None or match.T_map_base is None:
        return None
    T_map_keyframe = match.T_map_base
    if verified is not None and verified.metric:
        assert verified.T_keyframe_query is not None and verified.covariance is not None
        turn = np.kron(np.eye(2), T_map_keyframe[:3, :3])  # positions and rotations alike, to the map's axes
        return T_map_keyframe @ verified.T_keyframe_query, turn @ verified.covariance @ turn.T
    if camera is not None and mapped is not None:
        if camera.T_base_upright is not None and mapped.T_base_upright is not None:
            T_map_query = T_map_keyframe @ mapped.T_base_upright @ invert(camera.T_base_upright)
            return T_map_query, place_covariance(radius_m)
    return T_map_keyframe, place_covariance(radius_m)


def place_covariance(radius_m: float) -> np.ndarray:
    """Covariance (6, 6) of "somewhere in this place": x y z rotX rotY rotZ.

    Variance of a uniform disc on the ground; retrieval says little of height and heading.
    """
    ground, height, tilt, heading = radius_m**2 / 4, 4 * radius_m**2, 0.3**2, 0.5**2
    return np.diag([ground, ground, height, tilt, tilt, heading])
