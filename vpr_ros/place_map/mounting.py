"""The camera that a drive was mapped with: how it sat on the robot and how wide it saw."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class MountedCamera:
    """`T_base_camera` (4, 4) maps points of the optical frame into the base frame; `hfov_deg` is the horizontal field
    of view. Either is None where it was not known."""

    T_base_camera: np.ndarray | None = None
    hfov_deg: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        T = self.T_base_camera
        return {"T_base_camera": None if T is None else np.asarray(T).tolist(), "hfov_deg": self.hfov_deg}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MountedCamera":
        T = values.get("T_base_camera")
        return cls(None if T is None else np.array(T, dtype=np.float64).reshape(4, 4), values.get("hfov_deg"))
