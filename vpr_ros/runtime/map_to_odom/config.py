"""How verified poses become map -> odom; each default stands here, once. Standard library only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vpr_ros.configuration import MotionConfig


@dataclass(frozen=True)
class MapToOdomConfig:
    """The fields of the first group are parameters of the node vpr, named tf_... there."""

    tolerance_s: float = 0.3  # the transform is stamped so far ahead of now
    planar: bool = True  # x, y and heading only
    max_std_m: float = 1.0  # on the ground: a vaguer pose is not used, a vaguer estimate is held
    odom_drift: float = 0.05  # standard deviation of odometry as a share of the way
    correction_m_s: float = 0.5  # the output moves a standing robot in the map at most so fast; see SmoothTransform
    correction_deg_s: float = 10.0

    max_std_rad: float = 0.2  # of heading, as max_std_m
    drift_turn_m: float = 25.0  # way on which heading drifts by odom_drift radians; and by that share of each turn
    # What covariances of single poses do not know: errors of the map's own poses, of stamps and of the sensor's
    # mounting in TF (a degree, where it was measured by hand), added to each pose; and what neighbouring poses have in
    # common, added between two of them, without which a standing robot would be sure of its first error.
    pose_floor_m: float = 0.05
    pose_floor_rad: float = 0.02
    shared_m: float = 0.02
    shared_rad: float = 0.002
    confirmations: int = 2  # poses that agree with one another before the first fix, and after being held
    contradictions: int = 6  # poses that agree with one another and not with the estimate, before they replace it
    contradiction_s: float = 3.0  # and the time that they span, since a wrong place is wrong for several frames
    jump_after_s: float = 2.0  # a correction that would take longer than this is made at once
    after_jump_m: float = 5.0  # standard deviations that an odometry jump adds
    after_jump_rad: float = 0.5
    blind_s: float = 2.0  # images so far apart: the way between them is what odometry has counted meanwhile
    motion: MotionConfig = field(default_factory=MotionConfig)  # a faster step of odometry is a jump

    @property
    def correction_rad_s(self) -> float:
        """Largest rate of a correction of heading."""
        return math.radians(self.correction_deg_s)

    def narrow(self, std_m: float, std_rad: float, times: float = 1.0) -> bool:
        """Whether standard deviations are at most so many times those that are used; NaN is not."""
        return std_m <= times * self.max_std_m and std_rad <= times * self.max_std_rad

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "MapToOdomConfig":
        """Of the parameters of the node vpr; others are ignored."""
        names = ("tolerance_s", "planar", "max_std_m", "odom_drift", "correction_m_s", "correction_deg_s")
        return cls(**{name: values[f"tf_{name}"] for name in names})
