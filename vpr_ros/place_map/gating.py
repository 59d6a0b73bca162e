"""Which frames become keyframes: those that show a place which the last keyframe does not."""

from typing import Literal

import numpy as np

from vpr_ros.configuration import GateConfig
from vpr_ros.geometry import rotation_angle

PoseKind = Literal["odometry", "map"]
GateReason = Literal[
    "first frame",
    "every n-th frame",
    "between n-th frames",
    "moved",
    "turned",
    "close to the last keyframe",
    "same view although odometry moved",
    "new view",
    "same view as the last keyframe",
]


class KeyframeGate:
    """Decides frame by frame; a standing robot that has poses writes nothing."""

    def __init__(self, config: GateConfig | None = None):
        self.config = config or GateConfig()
        self.reset()

    def reset(self) -> None:
        """Begin a new session: its first frame is a keyframe."""
        self._poses: dict[PoseKind, np.ndarray] = {}
        self._descriptor: np.ndarray | None = None
        self._since = -1  # frames since the last keyframe

    def decide(
        self,
        T_odom_base: np.ndarray | None = None,
        T_map_base: np.ndarray | None = None,
        descriptor: np.ndarray | None = None,
    ) -> tuple[bool, GateReason]:
        """Whether the frame becomes a keyframe, and why.

        Odometry is preferred to the pose in the map frame, because it has no jumps; a pose with NaN is none.
        `descriptor` (dim,) is needed only where novelty or slip is judged.
        """
        named: dict[PoseKind, np.ndarray | None] = {"odometry": T_odom_base, "map": T_map_base}
        poses: dict[PoseKind, np.ndarray] = {
            kind: T for kind, T in named.items() if T is not None and np.isfinite(T).all()
        }
        keep, reason = self._judge(poses, descriptor)
        if keep:
            self._poses, self._since = poses, 0
            self._descriptor = None if descriptor is None else np.asarray(descriptor, dtype=np.float32)
        else:
            self._since += 1
        return keep, reason

    def _judge(self, poses: dict[PoseKind, np.ndarray], descriptor: np.ndarray | None) -> tuple[bool, GateReason]:
        config = self.config
        if self._since < 0:
            return True, "first frame"
        if config.every_n is not None:
            due = self._since + 1 >= config.every_n
            return due, "every n-th frame" if due else "between n-th frames"
        kind: PoseKind | None = next((kind for kind in poses if kind in self._poses), None)
        if kind is None:
            return self._judge_view(descriptor)
        last, now = self._poses[kind], poses[kind]
        if np.linalg.norm(now[:3, 3] - last[:3, 3]) >= config.distance_m:
            reason: GateReason = "moved"
        elif rotation_angle(last[:3, :3], now[:3, :3]) >= np.radians(config.heading_deg):
            reason = "turned"
        else:
            return False, "close to the last keyframe"
        if config.slip_similarity is not None and self._similarity(descriptor) > config.slip_similarity:
            return False, "same view although odometry moved"
        return True, reason

    def _judge_view(self, descriptor: np.ndarray | None) -> tuple[bool, GateReason]:
        if self._similarity(descriptor) < self.config.novelty_similarity:
            return True, "new view"
        return False, "same view as the last keyframe"

    def _similarity(self, descriptor: np.ndarray | None) -> float:
        """Cosine to the last keyframe; -1 (all new) where either has no descriptor."""
        if descriptor is None or self._descriptor is None:
            return -1.0
        return float(np.asarray(descriptor, dtype=np.float32) @ self._descriptor)
