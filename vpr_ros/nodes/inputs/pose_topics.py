"""Streams of stamped poses: a topic, or one frame in another by TF."""

import time
from typing import Literal

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.nodes.inputs.subscription import TopicInput
from vpr_ros.nodes.inputs.transforms import TransformInput
from vpr_ros.runtime.input_settings import Reliability
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.poses.buffer import PoseBuffer
from vpr_ros.sensors.poses.topic_frames import WantedFrames
from vpr_ros.sensors.poses.trajectory import pose_of
from vpr_ros.sensors.stamps import Slips, jump_text

_FLOWING_S = 2.0  # an input that was silent for longer is not waited for


class PoseTopic:
    """Poses of one topic, by header stamp moved by `offset_s`; of two publishers, those whose frames fit better."""

    def __init__(
        self,
        node,
        name: Literal["odom", "pose"],
        msgtype,
        reliability: Reliability,
        depth: int,
        health,
        arrivals: Arrivals,
        wanted: WantedFrames,
        offset_s: float = 0.0,
    ):
        self.name: Literal["odom", "pose"] = name
        self._wanted = wanted
        self._offset_ns = round(offset_s * 1e9)
        self._node, self._health, self._arrivals = node, health, arrivals
        self.input = TopicInput(node, msgtype, name, self._on_message, reliability, depth)
        self._forget()

    def _forget(self) -> None:
        self.poses = PoseBuffer(arrivals=self._arrivals)
        self._slips: Slips[tuple[np.ndarray, np.ndarray | None]] = Slips(self._on_slip)
        self._frames: tuple[str, str] | None = None  # frame and child frame of the messages in use
        self._stamped, self._received_at = False, -np.inf

    @property
    def child(self) -> str:
        """The child frame of the messages, '' before the first and where they have none."""
        return self._frames[1] if self._frames else ""

    @property
    def flowing(self) -> bool:
        """Whether messages came in the last seconds."""
        return time.monotonic() - self._received_at < _FLOWING_S

    @property
    def received(self) -> bool:
        """Whether any usable message came since the start."""
        return self._received_at > -np.inf

    def start(self) -> None:
        """Subscribe."""
        self.input.start()

    def stop(self) -> None:
        """Unsubscribe and forget."""
        self.input.stop()
        self._forget()

    def has_publisher(self) -> bool:
        """Whether the topic has a publisher."""
        return self._node.count_publishers(self.input.topic) > 0

    def newest_ns(self) -> int | None:
        """Stamp up to which poses are known."""
        return self.poses.newest_ns

    def reached(self, stamp: int) -> bool:
        """Whether a pose at or after a stamp has come."""
        newest = self.poses.newest_ns
        return newest is not None and newest >= stamp

    def at(self, stamp: int, max_gap_s: float) -> np.ndarray | None:
        """Pose (4, 4) at a stamp."""
        return self.poses.at(stamp, max_gap_s)

    def covariance_at(self, stamp: int) -> np.ndarray | None:
        """Covariance (6, 6) of the sample nearest in time, if it has one."""
        return self.poses.covariance_at(stamp)

    def _on_message(self, msg) -> None:
        self._health.seen(self.name)
        try:
            T, covariance = pose_of(msg)
        except FrameError as error:
            self._health.count("input", f"{self.name} unusable", f"{self.name}: {error}")
            return
        frames = (frame_of(msg), str(getattr(msg, "child_frame_id", "")).lstrip("/"))
        if not self._usable(*frames):
            return
        stamp = stamp_ns(msg)
        if stamp:
            self._stamped = True
        elif self._stamped:
            self._health.count("input", f"{self.name} stamp zero", f"{self.name} has a zero stamp amid stamped ones")
            return
        else:  # a driver that never stamps: as with a bag, the time of receipt is the best there is
            stamp = self._node.get_clock().now().nanoseconds
            self._health.count("input", f"{self.name} without stamps")
        self._frames, self._received_at = frames, time.monotonic()
        for at, (pose, its_covariance) in self._slips.take(stamp, (T, covariance)):
            if self.poses.add(at + self._offset_ns, pose, its_covariance):
                self._health.count("input", f"{self.name} clock jumped back")

    def _usable(self, frame: str, child: str) -> bool:
        """Whether poses of these frames are taken; those that fit better put the poses before them away."""
        if refusal := self._wanted.refusal(frame, child):
            self._health.count("input", f"{self.name} unusable", f"{self.name}: {refusal}")
            return False
        if self._frames in (None, (frame, child)):
            return True
        better = self._wanted.fit(frame, child) > self._wanted.fit(*self._frames)
        both = [" -> ".join(name or "no frame" for name in pair) for pair in ((frame, child), self._frames)]
        used, other = both if better else both[::-1]
        sentence = f"{self.name} comes from two publishers: poses of {used} are used, those of {other} are not"
        self._health.count("input", f"{self.name} in two frames", sentence)
        if better:
            self._forget()
        return better

    def _on_slip(self, stamp: int, last: int) -> None:
        self._health.count(
            "input",
            f"{self.name} stamp slipped",
            f"{self.name}: a single stamp is {jump_text(last, stamp)}: it is left out; repair the driver's clock",
        )


class TfPoses:
    """Poses of one frame in another by TF, with the interface of a PoseTopic."""

    def __init__(self, tf: TransformInput, target: str, source: str, health, offset_s: float = 0.0):
        self._tf, self._target, self._source, self._health = tf, target.strip("/"), source.strip("/"), health
        self._offset_ns = round(offset_s * 1e9)
        self.name = f"TF {self._target} <- {self._source}"
        self._newest, self._changed_at = None, -np.inf

    @property
    def flowing(self) -> bool:
        """Whether its newest stamp has changed in the last seconds."""
        newest = self.newest_ns()
        if newest != self._newest:
            self._newest, self._changed_at = newest, time.monotonic()
        return newest is not None and time.monotonic() - self._changed_at < _FLOWING_S

    def newest_ns(self) -> int | None:
        """Stamp up to which all links are known."""
        newest = self._tf.links.newest_ns(self._target, self._source)
        return None if newest is None else newest + self._offset_ns

    def reached(self, stamp: int) -> bool:
        """Whether waiting brings nothing more for a stamp."""
        return self._tf.links.reached(self._target, self._source, stamp - self._offset_ns)

    def at(self, stamp: int, max_gap_s: float) -> np.ndarray | None:
        """Pose (4, 4) at a stamp; none, and counted, where TF gives a frame two parents."""
        T = self._tf.at(self._target, self._source, stamp - self._offset_ns, max_gap_s)
        if T is None and (dispute := self._tf.links.dispute(self._target, self._source)) is not None:
            self._health.count("input", "TF with two parents", dispute)
        return T

    def covariance_at(self, stamp: int) -> None:
        """TF has none."""
        return None
