"""The LiDAR cloud of an image's time, in the base frame, moved to that time by odometry."""

from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import PointCloud2

from vpr_ros.nodes.inputs.nearest import NearestTopic, Sensed
from vpr_ros.nodes.inputs.poses import Poses
from vpr_ros.nodes.inputs.transforms import TransformInput
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.input_settings import InputSettings
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.clouds import base_cloud, moved

_QUEUE = 2


class CloudTopic(NearestTopic):
    """The newest clouds of `points`; `at` is for one worker thread."""

    def __init__(
        self, node, settings: InputSettings, health: Health, tf: TransformInput, poses: Poses, arrivals: Arrivals
    ):
        reliability, offset_s = settings.points_reliability, settings.points_offset_s
        super().__init__(node, PointCloud2, "points", "cloud", reliability, offset_s, health, arrivals, _QUEUE)
        self._settings, self._tf, self._poses = settings, tf, poses

    def start(self) -> None:
        """Subscribe."""
        self._tf.listen()
        super().start()

    def at(self, stamp: int, expired: Callable[[], bool], timeout_s: float) -> np.ndarray | None:
        """Points (N, 3) float32 of the cloud nearest to a stamp, as the base sees them then; None without one.

        Waits for the cloud after the stamp while clouds flow. What cannot be used is counted.
        """
        nearest = self.nearest(stamp, expired, timeout_s)
        if nearest is None or abs(nearest.stamp_ns - stamp) > self._settings.max_cloud_gap_s * 1e9:
            self._count_missing(nearest, stamp)
            return None
        if nearest.msg is not None:
            nearest.decoded = base_cloud(
                nearest.msg,
                self._poses.base_frame,
                lambda base, frame: self._tf.lookup(base, frame, nearest.stamp_ns),
                lambda reason, sentence: self._health.count("input", reason, sentence),
            )
            nearest.msg = None
        if nearest.decoded is None:
            return None
        if nearest.stamp_ns == stamp:
            return nearest.decoded.copy()
        return moved(nearest.decoded, self._poses.T_odom_base(nearest.stamp_ns), self._poses.T_odom_base(stamp))

    def _count_missing(self, nearest: Sensed | None, stamp: int) -> None:
        if nearest is None:
            if self._settings.clouds_needed:
                self._health.count("input", "no cloud")
            return
        ahead_s = (nearest.stamp_ns - stamp) * 1e-9
        self._health.count(
            "input",
            "no cloud",
            f"the nearest cloud is {abs(ahead_s):.2f} s "
            f"{'after' if ahead_s > 0 else 'before'} the image, more than max_cloud_gap_s "
            f"({self._settings.max_cloud_gap_s:g} s)",
        )
