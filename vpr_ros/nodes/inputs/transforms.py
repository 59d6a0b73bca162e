"""TF for the nodes: tf2 computes the poses, Links keeps when each link was measured."""

import math
import threading
from copy import copy
from typing import Any

import numpy as np
import tf2_ros
from rclpy.duration import Duration
from rclpy.time import Time

from vpr_ros.errors import FrameError, VprError
from vpr_ros.runtime.health import Health
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.poses.link_times import Links
from vpr_ros.sensors.poses.trajectory import rigid

_KEPT_S = 30
_NAMED = 20  # faulty links that get a sentence
_NORM_TOLERANCE = 0.01  # of a quaternion's squared length, tf2's own


class _Listener(tf2_ros.TransformListener):
    """Feeds the buffer as its base does, and adds every link to `links` afterwards.

    Links that tf2 refuses are left out: it would log an error for each, as often as they come. Here they are counted,
    and the first one of a pair of frames is named.
    """

    def __init__(self, buffer, node, links: Links, health: Health):
        self._links, self._health = links, health
        self._named: set[tuple[str, str, str]] = set()
        self.fixed_messages = 0
        super().__init__(buffer, node, spin_thread=False)

    def _usable(self, data: Any) -> Any:
        """The message without the links that tf2 refuses."""
        faults = [_fault(link) for link in data.transforms]
        if not any(faults):
            return data
        for link, fault in zip(data.transforms, faults, strict=True):
            if fault:
                named = frame_of(link), str(link.child_frame_id), fault
                sentence = f"TF '{named[0]}' to '{named[1]}' is left out: {fault}; mend its publisher"
                first = named not in self._named and len(self._named) < _NAMED
                self._health.count("input", f"TF link with {fault}", sentence if first else "")
                if first:
                    self._named.add(named)
                    self.node.get_logger().warning(sentence)
        usable = copy(data)
        usable.transforms = [link for link, fault in zip(data.transforms, faults, strict=True) if not fault]
        return usable

    def callback(self, data) -> None:
        data = self._usable(data)
        moving = [(frame_of(t), str(t.child_frame_id).lstrip("/"), stamp_ns(t)) for t in data.transforms]
        if any(self._links.jumps_back(*link) for link in moving):
            self.buffer.clear()  # fixed links survive it
            self._links.forget()
        super().callback(data)
        for parent, child, stamp in moving:
            self._links.add(parent, child, stamp, static=False)

    def static_callback(self, data) -> None:
        data = self._usable(data)
        super().static_callback(data)
        for t in data.transforms:
            self._links.add(frame_of(t), str(t.child_frame_id).lstrip("/"), 0, static=True)
        self.fixed_messages += 1


def _fault(link: Any) -> str:
    """Why tf2 refuses a link, "" where it does not."""
    parent, child = frame_of(link), str(link.child_frame_id).lstrip("/")
    t, q = link.transform.translation, link.transform.rotation
    numbers = t.x, t.y, t.z, q.x, q.y, q.z, q.w
    if not parent or not child:
        return "an empty frame name"
    if parent == child:
        return "a frame that is its own parent"
    if not all(map(math.isfinite, numbers)):
        return "numbers that are not finite"
    if abs(sum(n * n for n in numbers[3:]) - 1.0) >= _NORM_TOLERANCE:
        return "a quaternion that is no rotation"
    return ""


class TransformInput:
    """The TF tree of the last 30 s, subscribed at the first need between `open` and `close`; for any thread.

    Nothing here waits: what TF does not know now is answered by None or a VprError.
    """

    def __init__(self, node, arrivals: Arrivals, health: Health):
        self._node, self._arrivals, self._health = node, arrivals, health
        self._lock = threading.Lock()
        self._open = False
        self._listener: _Listener | None = None
        self._new()

    def _new(self) -> None:
        self._buffer = tf2_ros.Buffer(cache_time=Duration(seconds=_KEPT_S))
        self.links = Links(self._sample, self._arrivals, _KEPT_S)

    @property
    def listening(self) -> bool:
        """Whether TF is subscribed."""
        return self._listener is not None

    @property
    def fixed_messages(self) -> int:
        """Messages of fixed links that came; every publisher of such sends one at once to who subscribes."""
        listener = self._listener
        return 0 if listener is None else listener.fixed_messages

    def open(self) -> None:
        """Allow the subscription from now on."""
        with self._lock:
            self._open = True

    def listen(self) -> None:
        """Subscribe TF; no effect when that was done or when closed."""
        with self._lock:
            if self._open and self._listener is None:
                self._listener = _Listener(self._buffer, self._node, self.links, self._health)

    def close(self) -> None:
        """Destroy the subscriptions and forget everything."""
        with self._lock:
            self._open, listener, self._listener = False, self._listener, None
            if listener is not None:
                listener.unregister()
                listener.unregister = lambda: None  # its __del__ would destroy them a second time
            self._new()

    def forget_after(self, now_ns: int) -> None:
        """Forget what a clock that was set back has left in the future."""
        if self.links.forget_after(now_ns):
            self._buffer.clear()

    def at(self, target: str, source: str, stamp: int, max_gap_s: float) -> np.ndarray | None:
        """T_target_source (4, 4) at a stamp as a drive has it: see Links.at."""
        return self.links.at(target, source, stamp, max_gap_s)

    def newest(self, target: str, source: str) -> np.ndarray | None:
        """T_target_source (4, 4) at the newest stamp at which moving links connect the two, else None."""
        stamp = self.links.newest_ns(target, source)
        return None if stamp is None else self._sample(target, source, stamp)

    def fixed(self, target: str, source: str) -> np.ndarray | None:
        """T_target_source (4, 4) when fixed links alone connect the two, else None."""
        return self._sample(target, source, 0) if self.links.fixed(target, source) else None

    def lookup(self, target: str, source: str, stamp: int) -> np.ndarray:
        """T_target_source (4, 4) at a stamp; VprError that names what TF lacks."""
        target, source = target.strip("/"), source.strip("/")
        if not target or not source:
            raise VprError("a message names no frame; let its driver set header.frame_id")
        if (dispute := self.links.dispute(target, source)) is not None:
            raise VprError(dispute)
        try:
            found = self._buffer.lookup_transform_core(target, source, Time(nanoseconds=stamp))
            return rigid(found.transform.translation, found.transform.rotation)
        except (tf2_ros.TransformException, FrameError) as error:
            raise VprError(f"TF has no {target} <- {source} at {stamp * 1e-9:.3f} s: {error}") from None

    def _sample(self, target: str, source: str, stamp: int) -> np.ndarray | None:
        try:
            return self.lookup(target, source, stamp)
        except VprError:
            return None
