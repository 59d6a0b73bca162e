"""The camera that a drive was mapped with: how it sat on the robot and how wide it saw."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_ros.geometry import rigid_transform
from vpr_ros.observation import Rotation
from vpr_ros.sensors.upright import R_camera_upright, rotation_of


@dataclass(frozen=True)
class MountedCamera:
    """`T_base_camera` (4, 4) maps points of the optical frame, as TF has it, into the base frame; `hfov_deg` is the
    horizontal field of view of the upright picture. Either is None where it was not known. `rotation` made the camera's
    pictures upright."""

    T_base_camera: np.ndarray | None = None
    hfov_deg: float | None = None
    rotation: Rotation = 0

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
        return {"T_base_camera": matrix, "hfov_deg": self.hfov_deg, "rotation": self.rotation}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MountedCamera":
        """What `to_dict` gave; files of older versions name no rotation and turned nothing."""
        T = values.get("T_base_camera")
        matrix = None if T is None else np.array(T, dtype=np.float64).reshape(4, 4)
        return cls(matrix, values.get("hfov_deg"), rotation_of(values.get("rotation")))
