"""The camera that a drive was mapped with: how it sat on the robot and how wide it saw."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_ros.geometry import rigid_transform
from vpr_ros.observation import Observation, Rotation
from vpr_ros.sensors.upright import R_camera_upright, T_base_upright, rotation_of


@dataclass(frozen=True)
class MountedCamera:
    """`T_base_camera` (4, 4) maps points of the camera's optical frame into the base frame; `hfov_deg` is the
    horizontal field of view of the upright picture. Either is None where it was not known. `rotation` made the camera's
    pictures upright."""

    T_base_camera: np.ndarray | None = None
    hfov_deg: float | None = None
    rotation: Rotation = 0

    @classmethod
    def of(cls, observation: Observation) -> "MountedCamera | None":
        """The camera of a picture; None where nothing is known of it."""
        T, camera, rotation = observation.T_base_camera, observation.camera, observation.rotation
        if T is None and camera is None and not rotation:
            return None
        mounted = None if T is None else T @ rigid_transform(R_camera_upright(rotation).T, np.zeros(3))
        return cls(mounted, None if camera is None else camera.hfov_deg, rotation)

    @property
    def T_base_upright(self) -> np.ndarray | None:
        """Pose (4, 4) of the camera that would have taken the upright pictures: what two mountings are compared by."""
        if self.T_base_camera is None:
            return None
        return self.T_base_camera @ rigid_transform(R_camera_upright(self.rotation), np.zeros(3))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        T = self.T_base_camera
        matrix = None if T is None else np.asarray(T).tolist()
        return {"T_base_camera": matrix, "optical": True, "hfov_deg": self.hfov_deg, "rotation": self.rotation}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MountedCamera":
        """What `to_dict` gave. Files of older versions name no rotation and turned nothing, and have the frame as TF
        had it, which may have been a camera body's."""
        T, rotation = values.get("T_base_camera"), rotation_of(values.get("rotation"))
        matrix = None if T is None else np.array(T, dtype=np.float64).reshape(4, 4)
        if matrix is not None and not values.get("optical"):
            matrix = T_base_upright(matrix, "", rotation)
            if matrix is not None:
                matrix = matrix @ rigid_transform(R_camera_upright(rotation).T, np.zeros(3))
        return cls(matrix, values.get("hfov_deg"), rotation)
