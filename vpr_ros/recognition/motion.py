"""What odometry says between two queries, with its failures: absent, not finite, jumping."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.configuration import MotionConfig
from vpr_ros.geometry import invert
from vpr_ros.recognition.topology import motion_between


@dataclass(frozen=True, slots=True)
class Motion:
    """Motion since the last query.

    `step_m` None means that odometry says nothing. `shift_m` (signed, forward positive) is set when enough motion has
    gathered for the belief to be moved by it.
    """

    step_m: float | None
    shift_m: float | None = None
    note: str = ""


def leap_m(T_from: np.ndarray, T_to: np.ndarray, elapsed_s: float, config: MotionConfig) -> float:
    """Metres between two poses (4, 4) where no robot goes that far in the time: odometry has jumped; else 0."""
    metres = float(np.linalg.norm(T_to[:3, 3] - T_from[:3, 3]))
    return metres if metres > config.max_speed_mps * elapsed_s + config.jump_slack_m else 0.0


class MotionTracker:
    """Gathers odometry into shifts of at least the keyframes' spacing.

    A belief over keyframes two metres apart cannot move by ten centimetres; shifting it on every image would leave it
    where it is for ever, or smear it. So motion is measured from an anchor pose, which advances when a shift is handed
    out. Measuring from the anchor instead of adding steps also keeps the jitter of a standing robot from looking like
    travel.
    """

    def __init__(self, config: MotionConfig, turn_weight_m: float):
        self.config = config
        self.turn_weight_m = turn_weight_m
        self.reset()

    def reset(self) -> None:
        """Forgets the past; the next query starts a new path."""
        self._anchor: np.ndarray | None = None
        self._last: np.ndarray | None = None
        self._last_ns = 0
        self._reached_m = 0.0

    def update(self, stamp_ns: int, T_odom_base: np.ndarray | None, shift_from_m: float) -> Motion:
        """Motion up to this query; `shift_from_m` is the least motion that makes a shift."""
        pose = None if T_odom_base is None else np.asarray(T_odom_base, dtype=np.float64)
        T = None if pose is None or pose.shape != (4, 4) or not np.isfinite(pose).all() else pose
        last, last_ns = self._last, self._last_ns
        self._last, self._last_ns = T, stamp_ns
        if T is None or last is None or self._anchor is None:
            self._anchor, self._reached_m = T, 0.0
            return Motion(None)
        elapsed_s = (stamp_ns - last_ns) * 1e-9
        leap = leap_m(last, T, elapsed_s, self.config)
        if leap:
            self._anchor, self._reached_m = T, 0.0
            return Motion(None, note=f"odometry_jump of {leap:.1f} m in {elapsed_s:.2f} s")
        moved_m = float(motion_between(self._anchor, T, self.turn_weight_m))
        step_m = max(0.0, moved_m - self._reached_m)
        self._reached_m = max(self._reached_m, moved_m)
        if moved_m < shift_from_m:
            return Motion(step_m)
        forward = (invert(self._anchor) @ T)[0, 3] >= 0.0
        # A turn has no direction along the path: going round the same corner reads as forward.
        turned_m = moved_m - float(np.linalg.norm(T[:3, 3] - self._anchor[:3, 3]))
        forward = forward or turned_m > 0.5 * moved_m
        self._anchor, self._reached_m = T, 0.0
        return Motion(step_m, shift_m=moved_m if forward else -moved_m)
