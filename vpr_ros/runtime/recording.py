"""What the recorder keeps of a drive: complete frames, one after so many metres. ROS-free."""

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from vpr_ros.observation import Observation
from vpr_ros.place_map.gating import GateConfig, KeyframeGate
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.settings import RecordingConfig
from vpr_ros.sensors.stamps import begins_anew
from vpr_ros.training_set.meta import PoseKind
from vpr_ros.training_set.writer import TrainingSetWriter

Lack = Literal["no cloud", "no pose", "no pose in the map frame", "waiting for a pose in the map frame"]
LACKS: tuple[Lack, ...] = get_args(Lack)  # what an incomplete frame is counted as

_MAP_PATIENCE_NS = 2_000_000_000  # so long a drive waits for its first pose in the map frame before odometry stands in


class Recording:
    """Frames into drives of a training set. `make_writer()` begins a drive; `take` and `close` are for one thread.

    Every frame is counted in health as task "recording", by what became of it.
    VprError of the writer passes through; the set is whole then, and the next frame may be tried.
    """

    def __init__(self, config: RecordingConfig, make_writer: Callable[[], TrainingSetWriter], health: Health):
        self._config, self._make_writer, self._health = config, make_writer, health
        # Without spacing every frame is kept.
        by_count = config.frame_every if config.pose_source == "no poses" else None if config.spacing_m else 1
        gate = GateConfig(distance_m=config.spacing_m or 1.0, heading_deg=config.heading_deg, every_n=by_count)
        self._gate = KeyframeGate(gate)
        self.writer = make_writer()
        self._begin()

    def _begin(self) -> None:
        self._gate.reset()
        # None until it is known
        self.poses: PoseKind | None = "none" if self._config.pose_source == "no poses" else None
        self._first_ns: int | None = None
        self._last_ns = 0

    def take(self, observation: Observation) -> bool:
        """Record the frame if it is complete and far enough from the last one; whether it was."""
        stamp = observation.stamp_ns
        # A bag began again, or the clock was set: the same places once more are another drive.
        if self._last_ns and begins_anew(self._last_ns, stamp):
            self.writer.close()
            self.writer = self._make_writer()
            self._begin()
        self._last_ns = stamp
        missing = self._missing(observation)
        if missing is not None:
            self._health.count("recording", missing)
            return False
        assert self.poses is not None  # the frame is complete
        T = {"map": observation.T_map_base, "odometry": observation.T_odom_base, "none": None}[self.poses]
        # By the recorded pose: beside odometry, a jump of the pose in the map would go unseen.
        keep, reason = self._gate.decide(T)
        if not keep:
            self._health.count("recording", reason.replace("keyframe", "frame"))
            return False
        if observation.camera is not None:
            self.writer.set_camera(observation.camera)
        self.writer.add(stamp, observation.image, T, _seen(observation), self.poses)
        self._health.count("recording", "recorded")
        return True

    def close(self) -> None:
        """End the drive."""
        self.writer.close()

    def _missing(self, observation: Observation) -> Lack | None:
        """What the frame lacks; None when it is complete."""
        if self._config.require_cloud and _seen(observation) is None:
            return "no cloud"
        if self.poses is None:
            self._choose_poses(observation)
        if self.poses == "none":
            return None
        if self.poses == "map":
            return None if observation.T_map_base is not None else "no pose in the map frame"
        if observation.T_odom_base is None:
            return "no pose"
        return "waiting for a pose in the map frame" if self.poses is None else None

    def _choose_poses(self, observation: Observation) -> None:
        """A drive has poses of one kind: in the map frame when they come within its first seconds, else odometry's."""
        self._first_ns = self._first_ns or observation.stamp_ns
        if observation.T_map_base is not None:
            self.poses = "map"
        elif observation.T_odom_base is not None and (
            self._config.pose_source == "none" or observation.stamp_ns - self._first_ns >= _MAP_PATIENCE_NS
        ):
            self.poses = "odometry"
            self._health.count(
                "recording",
                "poses come from odometry",
                "no poses in the map frame (pose_source "
                f"{self._config.pose_source}): odometry stands in, and other drives do not share its frame",
            )


def _seen(observation: Observation) -> np.ndarray | None:
    """The cloud, if it has a point: a scan of a covered or blinded LiDAR has none, and shows a teacher nothing."""
    cloud = observation.cloud
    return cloud if cloud is not None and len(cloud) else None
