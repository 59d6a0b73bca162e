"""TF for the nodes: tf2 computes the poses, Links keeps when each link was measured."""

import threading

import numpy as np
import tf2_ros
from rclpy.duration import Duration
from rclpy.time import Time

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.payload import frame_of, stamp_ns
from vpr_ros.sensors.poses.link_times import Links
from vpr_ros.sensors.poses.trajectory import rigid

_KEPT_S = 30


class _Listener(tf2_ros.TransformListener):
    """Feeds the buffer as its base does, and adds every link to `links` afterwards."""

    def __init__(self, buffer, node, links: Links):
        self._links = links
        self.fixed_messages = 0
        super().__init__(buffer, node, spin_thread=False)

    def callback(self, data) -> None:
        moving = [(frame_of(t), str(t.child_frame_id).lstrip("/"), stamp_ns(t)) for t in data.transforms]
        if any(self._links.jumps_back(child, stamp) for _, child, stamp in moving):
            self.buffer.clear()  # fixed links survive it
            self._links.forget()
        super().callback(data)
        for parent, child, stamp in moving:
            self._links.add(parent, child, stamp, static=False)

    def static_callback(self, data) -> None:
        super().static_callback(data)
        for t in data.transforms:
            self._links.add(frame_of(t), str(t.child_frame_id).lstrip("/"), 0, static=True)
        self.fixed_messages += 1


class TransformInput:
    """The TF tree of the last 30 s, subscribed at the first need between `open` and `close`; for any thread.

    Nothing here waits: what TF does not know now is answered by None or a VprError.
    """

    def __init__(self, node, arrivals: Arrivals):
        self._node, self._arrivals = node, arrivals
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
                self._listener = _Listener(self._buffer, self._node, self.links)

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

    def fixed(self, target: str, source: str) -> np.ndarray | None:
        """T_target_source (4, 4) when fixed links alone connect the two, else None."""
        return self._sample(target, source, 0) if self.links.fixed(target, source) else None

    def lookup(self, target: str, source: str, stamp: int) -> np.ndarray:
        """T_target_source (4, 4) at a stamp; VprError that names what TF lacks."""
        target, source = target.strip("/"), source.strip("/")
        if not target or not source:
            raise VprError("a message names no frame; let its driver set header.frame_id")
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
