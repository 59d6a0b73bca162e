"""Where the robot was at an image's time: odometry and map poses from topics or TF, as a Drive has them of a bag."""

import time
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry

from vpr_ros.nodes.inputs.pose_topics import PoseTopic, TfPoses
from vpr_ros.nodes.inputs.transforms import TransformInput
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.poses.topic_frames import WantedFrames

POSE_TYPES = {"pose": PoseStamped, "pose_with_covariance": PoseWithCovarianceStamped, "odometry": Odometry}

_START_S = 2.0  # after the start: what a publisher has announced but not yet sent may still come
_OTHER_CLOCK_NS = 10_000_000_000  # stamps this far apart are of two clocks: no wait brings them together


class Poses:
    """T_odom_base and T_map_base of image stamps; `settings` is an InputSettings. For one worker thread."""

    def __init__(self, node, settings, health, tf: TransformInput, arrivals: Arrivals, depth: int):
        self._node, self._settings, self._health, self._tf, self._arrivals = node, settings, health, tf, arrivals
        reliability, odom_s, pose_s = settings.odom_reliability, settings.odom_offset_s, settings.pose_offset_s
        base, odom, map_ = (f.strip("/") for f in (settings.base_frame, settings.odom_frame, settings.map_frame))
        wanted = WantedFrames(odom, child=base)
        self._odom = PoseTopic(node, "odom", Odometry, reliability, depth, health, arrivals, wanted, odom_s)
        self._odom_tf = TfPoses(tf, settings.odom_frame, settings.base_frame, health, odom_s)
        self._map: PoseTopic | TfPoses | None = None
        if settings.mapping and settings.pose_source == "tf":
            self._map = TfPoses(tf, settings.map_frame, settings.base_frame, health, pose_s)
        elif settings.mapping and settings.pose_source != "none":
            kind, wanted = POSE_TYPES[settings.pose_source], WantedFrames(map_, unlike=odom)
            self._map = PoseTopic(node, "pose", kind, reliability, depth, health, arrivals, wanted, pose_s)
        self._forget()

    def _forget(self) -> None:
        self._started_at = time.monotonic()
        self._T_child_base: np.ndarray | None = None
        self._linked = ""  # the child that this is about
        self._child_reported = False

    @property
    def topics(self) -> list[PoseTopic]:
        """Topics that must have a publisher."""
        topics = [self._odom] if self._settings.odom_source == "topic" or self._odom.received else []
        return [*topics, self._map] if isinstance(self._map, PoseTopic) else topics

    @property
    def optional_topics(self) -> list[PoseTopic]:
        """Topics that may have none."""
        return [self._odom] if self._odom.input.subscribed and self._odom not in self.topics else []

    @property
    def base_frame(self) -> str:
        """The frame whose poses these are: the base, or odometry's child frame where TF does not link the two."""
        child = self._child()
        return child if child and self._link() is None else self._settings.base_frame.strip("/")

    def start(self) -> None:
        """Subscribe what the settings name."""
        self._forget()
        source = self._settings.odom_source
        if source in ("auto", "topic"):
            self._odom.start()
        if isinstance(self._map, PoseTopic):
            self._map.start()
        if isinstance(self._map, TfPoses) or source == "tf" or (source == "auto" and not self._odom.has_publisher()):
            self._tf.listen()

    def stop(self) -> None:
        """Unsubscribe and forget."""
        for topic in (self._odom, self._map):
            if isinstance(topic, PoseTopic):
                topic.stop()

    def forget_after(self, now_ns: int) -> None:
        """Forget what a clock that was set back has left in the future."""
        for topic in (self._odom, self._map):
            if isinstance(topic, PoseTopic) and (topic.newest_ns() or 0) > now_ns:
                topic.poses.clear()

    def wait(self, stamp: int, expired: Callable[[], bool], timeout_s: float) -> None:
        """Wait, while poses flow, until they cover a stamp; counts why where they did not."""
        sources = [s for s in (self._odometry(), self._map) if s is not None and self._worth_waiting(s, stamp)]

        def link_may_come():
            return bool(self._child()) and self._link() is None and self._just_started()

        def ready() -> bool:
            return all(s.reached(stamp) for s in sources) and not link_may_come()

        if ready() or self._arrivals.wait_until(ready, expired, timeout_s):
            return
        for source in sources:
            newest = source.newest_ns()
            if newest is not None and newest < stamp and source.flowing:
                self._health.count(
                    "input",
                    f"{source.name} late",
                    f"{source.name} had not reached the image's time "
                    f"after pose_wait_s: its newest stamp is {(stamp - newest) * 1e-6:.0f} ms older",
                )

    def T_odom_base(self, stamp: int) -> np.ndarray | None:
        """Odometry pose (4, 4) of the base at a stamp, None where nothing covers it."""
        source = self._odometry()
        T = source.at(stamp, self._settings.max_gap_s) if source else None
        if T is None or source is not self._odom or not self._child():
            return T
        T_child_base = self._link()
        if T_child_base is not None:
            return T @ T_child_base
        if not self._child_reported:
            self._child_reported = True
            self._health.count(
                "input",
                "odometry about another frame",
                f"odometry is about {self._odom.child}, which TF does not link to "
                f"{self._settings.base_frame}: {self._odom.child} is taken as the base",
            )
        return T

    def T_odom_base_in_tf(self, stamp: int, expired: Callable[[], bool], timeout_s: float) -> np.ndarray | None:
        """As `T_odom_base`, but from TF whatever the odometry in use is; waits for it while TF flows."""
        self._tf.listen()
        source = self._odom_tf
        if source.flowing and not source.reached(stamp):
            self._arrivals.wait_until(lambda: source.reached(stamp), expired, timeout_s)
        return source.at(stamp, self._settings.max_gap_s)

    def T_map_base(self, stamp: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Pose (4, 4) in the map frame at a stamp and its covariance (6, 6), None where there is none."""
        T = self._map.at(stamp, self._settings.max_gap_s) if self._map else None
        return T, self._map.covariance_at(stamp) if self._map and T is not None else None

    def _odometry(self) -> PoseTopic | TfPoses | None:
        """The source in use. With 'auto' the topic, once a message came, is kept: two sources differ by a jump."""
        source = self._settings.odom_source
        if source == "none":
            return None
        if source == "topic" or (
            source == "auto" and (self._odom.received or self._just_started() and self._odom.has_publisher())
        ):
            return self._odom
        self._tf.listen()
        return self._odom_tf

    def _just_started(self) -> bool:
        return time.monotonic() - self._started_at < _START_S

    def _worth_waiting(self, source: PoseTopic | TfPoses, stamp: int) -> bool:
        """Whether waiting for a source may help."""
        newest = source.newest_ns()
        if newest is None or not source.flowing:
            return False
        if abs(stamp - newest) <= _OTHER_CLOCK_NS:
            return True
        self._health.count(
            "input",
            f"{source.name} on another clock",
            f"{source.name} is {(stamp - newest) * 1e-9:.1f} s behind the image: two clocks are in use",
        )
        return False

    def _child(self) -> str:
        """Odometry's child frame where it is not the base, else ''."""
        child = self._odom.child if self._settings.odom_source in ("auto", "topic") else ""
        return "" if child == self._settings.base_frame.strip("/") else child

    def _link(self) -> np.ndarray | None:
        """T_child_base (4, 4) by fixed TF links; None while TF does not know it, or when there is no other child."""
        child = self._child()
        if child != self._linked:
            self._T_child_base, self._linked = None, child
        if self._T_child_base is None and child:
            self._tf.listen()
            self._T_child_base = self._tf.fixed(child, self._settings.base_frame.strip("/"))
        return self._T_child_base
