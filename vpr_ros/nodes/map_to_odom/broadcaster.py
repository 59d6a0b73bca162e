"""Publishes map -> odom from verified poses, and says how it stands."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from tf2_ros import TransformBroadcaster

from vpr_ros.errors import VprError
from vpr_ros.nodes.map_to_odom.tf_watch import TfWatch
from vpr_ros.nodes.outputs.messages import header_of, pose_of
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig
from vpr_ros.runtime.map_to_odom.follower import Follower, Outcome, Status
from vpr_ros.runtime.map_to_odom.track import MapPose

PERIOD_S = 0.05
UNCONNECTED_S = 5.0  # after the first fix: odometry's TF may come a little later than the node
_LOUD = ("relocalised", "odometry jumped", "clock jumped", "held")


class MapToOdomBroadcaster:
    """From `open` to `close` it watches TF, from `start` to `stop` it publishes; `take` is for the worker's thread, the
    others for the executor's.

    The transform is sent by a steady timer, so that it goes on while images or the network pause, and is stamped
    `tolerance_s` ahead of the node's clock: who looks a pose of now up finds map -> odom already there, and need not
    wait for the next one. What is sent is what was known then, for as long.
    """

    def __init__(
        self,
        node: Any,
        config: MapToOdomConfig,
        map_frame: str,
        odom_frame: str,
        base_frame: str,
        health: Health,
        newest_T_odom_base: Callable[[], np.ndarray | None],
    ):
        self._node, self._config, self._health = node, config, health
        self._newest_T_odom_base = newest_T_odom_base
        self._map_frame, self._odom_frame, self._base_frame = (
            frame.strip("/") for frame in (map_frame, odom_frame, base_frame)
        )
        if self._map_frame == self._odom_frame:
            raise VprError(
                f"publish_tf: the map's poses are in the frame '{self._map_frame}', which is odom_frame, too: there is "
                "nothing to publish between them"
            )
        self._lock = threading.RLock()
        self._follower = Follower(config)
        self._watch = TfWatch(node, self._map_frame, self._odom_frame, self._on_other)
        self._broadcaster: Any = None
        self._timer: Any = None
        self._jumps: Any = None
        self._forget()

    def _forget(self) -> None:
        self._follower.reset()
        self._last_ns = 0
        self._used_at: float | None = None  # steady seconds
        self._fixed_at: float | None = None
        self._told_of_odometry = self._told_of_base = self._clock_jumped = False
        self.refused = ""  # a sentence: another publisher has appeared

    def open(self) -> None:
        """Look for another publisher of the frame and go on watching; VprError where there is one."""
        self._watch.start()
        if sentence := self._watch.other():
            raise VprError(f"publish_tf is refused: {sentence}")

    def close(self) -> None:
        """Watch no more."""
        self._watch.stop()

    def start(self) -> None:
        """Publish from the first fix on; VprError where another publisher has appeared since `open`."""
        if sentence := self._watch.other():
            raise VprError(f"publish_tf is refused: {sentence}")
        with self._lock:
            self._forget()
            self._broadcaster = TransformBroadcaster(self._node)
        self._timer = self._node.create_timer(PERIOD_S, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))
        threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
        self._jumps = self._node.get_clock().create_jump_callback(threshold, post_callback=self._on_clock_jump)

    def stop(self) -> None:
        """Publish no more, and forget the estimate."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
            self._jumps.unregister()
            self._timer = self._jumps = None
        with self._lock:
            if self._broadcaster is not None:
                self._node.destroy_publisher(self._broadcaster.pub_tf)
                self._broadcaster = None
            self._forget()

    def take(
        self, stamp_ns: int, T_odom_base: np.ndarray | None, T_map_base: tuple[np.ndarray, np.ndarray] | None
    ) -> None:
        """An answered image: odometry (4, 4) of its stamp as TF has it, and where the geometry measured one, the base's
        pose (4, 4) in the map with its covariance (6, 6)."""
        pose = None if T_map_base is None else MapPose(*T_map_base)
        with self._lock:
            if self._broadcaster is None or self.refused:
                return
            for outcome in self._follower.take(stamp_ns, T_odom_base, pose):
                self._tell(outcome)
                if outcome.event in ("first fix", "used", "found again", "relocalised"):
                    self._used_at = time.monotonic()
                    self._fixed_at = self._fixed_at or self._used_at
        if T_odom_base is None and pose is not None and not self._told_of_odometry:
            self._told_of_odometry = True
            self._node.get_logger().warning(f"{self._unconnected()}; without it no pose is used")

    def forget(self) -> None:
        """Hold the last transform until the next fix."""
        with self._lock:
            self._follower.forget()

    def status(self) -> tuple[Status, float | None]:
        """How the transform stands, and seconds since the last pose that was used."""
        with self._lock:
            age_s = None if self._used_at is None else time.monotonic() - self._used_at
            return self._follower.status(), age_s

    def problem(self) -> str:
        """A sentence where nothing connects the transform with the robot; "" otherwise."""
        if self._watch.connects(self._base_frame):
            return ""
        return self._unconnected()

    def _unconnected(self) -> str:
        return (
            f"publish_tf needs {self._odom_frame} -> {self._base_frame} in TF, which nobody publishes: let the node "
            "that makes odometry publish it"
        )

    def _tell(self, outcome: Outcome) -> None:
        self._health.count("tf", outcome.event)
        log = self._node.get_logger()
        # Two calls: rclpy refuses one place in the code that logs at changing levels.
        if outcome.sentence and outcome.event in _LOUD:
            log.warning(outcome.sentence)
        elif outcome.sentence:
            log.info(outcome.sentence)

    def _tick(self) -> None:
        if self._clock_jumped:
            self._clock_jumped = False
            self._node.get_logger().warning("the clock was set back: map -> odom waits for a first pose")
        now_ns = self._node.get_clock().now().nanoseconds
        newest = self._newest_T_odom_base()
        stamp = now_ns + round(self._config.tolerance_s * 1e9)
        with self._lock:
            # A clock that stands still would only repeat the stamp, which tf2 complains about.
            if self._broadcaster is None or self.refused or not now_ns or stamp <= self._last_ns:
                return
            T = self._follower.transform(now_ns * 1e-9, newest)
            if (change := self._follower.change()) is not None:
                self._tell(change)
            if T is None:
                return
            self._last_ns = stamp
            self._watch.sends(stamp)
            message = TransformStamped(header=header_of(stamp, self._map_frame), child_frame_id=self._odom_frame)
            pose = pose_of(T)
            message.transform.rotation = pose.orientation
            p, t = pose.position, message.transform.translation
            t.x, t.y, t.z = p.x, p.y, p.z
            try:
                self._broadcaster.sendTransform(message)
            except Exception:
                if self._node.context.ok():  # after a shutdown rclpy raises errors of several kinds
                    raise
        if not self._told_of_base and self._fixed_at and time.monotonic() - self._fixed_at > UNCONNECTED_S:
            self._told_of_base = True
            if sentence := self.problem():
                self._node.get_logger().warning(sentence)

    def _on_other(self, sentence: str) -> None:
        with self._lock:
            if self._broadcaster is None or self.refused:
                return
            self.refused = f"publish_tf has stopped: {sentence}"
        self._health.count("tf", "another publisher")
        with suppress(Exception):  # after Ctrl-C the logger may be gone
            self._node.get_logger().error(self.refused)

    def _on_clock_jump(self, _: Any) -> None:
        with self._lock:
            self._clock_jumped = self._last_ns > 0  # told by the timer: a clock's callback must be quick
            self._follower.reset()
            self._last_ns, self._used_at = 0, None
