"""The LiDAR cloud of an image's time, in the base frame, moved to that time by odometry."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import PointCloud2

from vpr_ros.nodes.inputs.poses import Poses
from vpr_ros.nodes.inputs.subscription import TopicInput
from vpr_ros.nodes.inputs.transforms import TransformInput
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.clouds import base_cloud, moved
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.stamps import JUMP_NS, Slips, jump_text

_KEPT = 10  # undecoded: at 10 Hz the last second
_FLOWING_S = 2.0


@dataclass(slots=True)
class _Cloud:
    """A cloud's message, decoded at the first image that needs it."""

    stamp_ns: int
    msg: PointCloud2 | None
    points: np.ndarray | None = None  # (N, 3) in the base frame; None with msg None: unusable


class CloudTopic:
    """The newest clouds of `points`; `at` is for one worker thread."""

    def __init__(self, node, settings, health, tf: TransformInput, poses: Poses, arrivals: Arrivals, depth: int):
        self._node, self._settings, self._health, self._tf, self._poses = node, settings, health, tf, poses
        self._arrivals = arrivals
        self.input = TopicInput(node, PointCloud2, "points", self._on_message, settings.points_reliability, depth)
        self._clouds: deque[_Cloud] = deque(maxlen=_KEPT)
        self._slips: Slips[_Cloud] = Slips(self._on_slip)
        self._received_at = -np.inf

    def start(self) -> None:
        """Subscribe."""
        self._tf.listen()
        self.input.start()

    def stop(self) -> None:
        """Unsubscribe and forget."""
        self.input.stop()
        self._received_at = -np.inf
        with self._arrivals:
            self._clouds.clear()
            self._slips.reset()

    def forget_after(self, now_ns: int) -> None:
        """Forget what a clock that was set back has left in the future."""
        with self._arrivals:
            if self._clouds and self._clouds[-1].stamp_ns > now_ns:
                self._clouds.clear()

    def at(self, stamp: int, expired: Callable[[], bool], timeout_s: float) -> np.ndarray | None:
        """Points (N, 3) float32 of the cloud nearest to a stamp, as the base sees them then; None without one.

        Waits for the cloud after the stamp while clouds flow. What cannot be used is counted.
        """
        if time.monotonic() - self._received_at < _FLOWING_S:
            self._arrivals.wait_until(
                lambda: bool(self._clouds) and self._clouds[-1].stamp_ns >= stamp, expired, timeout_s
            )
        with self._arrivals:
            nearest = min(self._clouds, key=lambda c: abs(c.stamp_ns - stamp), default=None)
        if nearest is None or abs(nearest.stamp_ns - stamp) > self._settings.max_cloud_gap_s * 1e9:
            self._count_missing(nearest, stamp)
            return None
        if nearest.msg is not None:
            nearest.points = base_cloud(
                nearest.msg,
                self._poses.base_frame,
                lambda base, frame: self._tf.lookup(base, frame, nearest.stamp_ns),
                lambda reason, sentence: self._health.count("input", reason, sentence),
            )
            nearest.msg = None
        if nearest.points is None:
            return None
        if nearest.stamp_ns == stamp:
            return nearest.points.copy()
        return moved(nearest.points, self._poses.T_odom_base(nearest.stamp_ns), self._poses.T_odom_base(stamp))

    def _count_missing(self, nearest: _Cloud | None, stamp: int) -> None:
        if nearest is None:
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

    def _on_message(self, msg) -> None:
        self._health.seen("points")
        stamp = stamp_ns(msg) or self._node.get_clock().now().nanoseconds  # as with a bag: better than no cloud
        stamp += round(self._settings.points_offset_s * 1e9)
        self._received_at = time.monotonic()
        with self._arrivals:
            for _, cloud in self._slips.take(stamp, _Cloud(stamp, msg)):
                if self._clouds and cloud.stamp_ns < self._clouds[-1].stamp_ns - JUMP_NS:
                    self._clouds.clear()
                self._clouds.append(cloud)
            self._arrivals.notify()

    def _on_slip(self, stamp: int, last: int) -> None:
        self._health.count("input", "cloud stamp slipped", f"points: a single stamp is {jump_text(last, stamp)}")
