"""A transform that follows another one at a bounded rate, as it shows at the robot."""

import numpy as np

from vpr_ros.geometry import matrix_to_rotvec
from vpr_ros.runtime.map_to_odom.track import displaced


class SmoothTransform:
    """T_map_odom as it is given out.

    Rates are those of the robot's pose in the map, whatever its distance from
    odometry's origin; what odometry itself moves is not counted. A robot that drives may be moved by `share` of its way
    as well: odometry errs by a share of the way, and a bound below it would never let a fast robot catch up.
    """

    def __init__(self, rate_m_s: float, rate_rad_s: float, share: float):
        self._rate_m_s, self._rate_rad_s, self._share = rate_m_s, rate_rad_s, share
        self.value: np.ndarray | None = None

    def jump(self, T_map_odom: np.ndarray | None) -> None:
        """Be this transform (4, 4) at once, or none."""
        self.value = T_map_odom

    def lacking(self, T_goal: np.ndarray, T_odom_base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Metres (3,) and rotation vector (3,), in the map's axes, that the robot is still to be moved by."""
        assert self.value is not None
        now, goal = self.value @ T_odom_base, T_goal @ T_odom_base
        return goal[:3, 3] - now[:3, 3], matrix_to_rotvec(goal[:3, :3] @ now[:3, :3].T)

    def seconds(self, T_goal: np.ndarray, T_odom_base: np.ndarray) -> float:
        """How long it takes to get there for a robot that stands."""
        shift, turn = self.lacking(T_goal, T_odom_base)
        return float(max(np.linalg.norm(shift) / self._rate_m_s, np.linalg.norm(turn) / self._rate_rad_s))

    def advance(self, T_goal: np.ndarray, T_odom_base: np.ndarray, elapsed_s: float, way_m: float) -> None:
        """Go towards a transform (4, 4) for so long, the robot being at `T_odom_base` (4, 4) after a way of `way_m`."""
        shift, turn = self.lacking(T_goal, T_odom_base)
        metres, radians = float(np.linalg.norm(shift)), float(np.linalg.norm(turn))
        most_m, most_rad = self._rate_m_s * elapsed_s + self._share * way_m, self._rate_rad_s * elapsed_s
        if metres <= most_m and radians <= most_rad:
            self.value = T_goal
            return
        assert self.value is not None
        shift = shift * min(1.0, most_m / max(metres, 1e-12))
        turn = turn * min(1.0, most_rad / max(radians, 1e-12))
        self.value = displaced(self.value, (self.value @ T_odom_base)[:3, 3], shift, turn)
