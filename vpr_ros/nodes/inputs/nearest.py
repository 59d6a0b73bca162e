"""The newest messages of a topic, and the one that is nearest to an image in time."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_ros.nodes.inputs.subscription import TopicInput
from vpr_ros.runtime.health import Health, Stream
from vpr_ros.runtime.input_settings import Reliability
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.stamps import JUMP_NS, Slips, jump_text

_KEPT = 10  # undecoded: at 10 Hz the last second
_FLOWING_S = 2.0


@dataclass(slots=True)
class Sensed:
    """A message, decoded at the first image that needs it."""

    stamp_ns: int
    msg: Any | None
    decoded: np.ndarray | None = None  # None with msg None: unusable


class NearestTopic:
    """The newest messages of a topic; `nearest` is for one worker thread."""

    def __init__(
        self,
        node,
        msgtype: Any,
        name: Stream,
        what: str,
        reliability: Reliability,
        offset_s: float,
        health: Health,
        arrivals: Arrivals,
        depth: int,
    ):
        self._node, self._health, self._arrivals = node, health, arrivals
        self._name: Stream = name
        self._what, self._offset_ns = what, round(offset_s * 1e9)
        self.input = TopicInput(node, msgtype, name, self._on_message, reliability, depth)
        self._kept: deque[Sensed] = deque(maxlen=_KEPT)
        self._slips: Slips[Sensed] = Slips(self._on_slip)
        self._received_at = -np.inf

    def start(self) -> None:
        """Subscribe."""
        self.input.start()

    def stop(self) -> None:
        """Unsubscribe and forget."""
        self.input.stop()
        self._received_at = -np.inf
        with self._arrivals:
            self._kept.clear()
            self._slips.reset()

    def forget_after(self, now_ns: int) -> None:
        """Forget what a clock that was set back has left in the future."""
        with self._arrivals:
            if self._kept and self._kept[-1].stamp_ns > now_ns:
                self._kept.clear()

    def nearest(self, stamp: int, expired: Callable[[], bool], timeout_s: float) -> Sensed | None:
        """The message nearest to a stamp; waits for the one after it while messages flow. None before the first."""
        if time.monotonic() - self._received_at < _FLOWING_S:
            self._arrivals.wait_until(lambda: bool(self._kept) and self._kept[-1].stamp_ns >= stamp, expired, timeout_s)
        with self._arrivals:
            return min(self._kept, key=lambda one: abs(one.stamp_ns - stamp), default=None)

    def _on_message(self, msg: Any) -> None:
        self._health.seen(self._name)
        stamp = stamp_ns(msg) or self._node.get_clock().now().nanoseconds  # as with a bag: better than none
        stamp += self._offset_ns
        self._received_at = time.monotonic()
        with self._arrivals:
            for _, one in self._slips.take(stamp, Sensed(stamp, msg)):
                if self._kept and one.stamp_ns < self._kept[-1].stamp_ns - JUMP_NS:
                    self._kept.clear()
                self._kept.append(one)
            self._arrivals.notify()

    def _on_slip(self, stamp: int, last: int) -> None:
        sentence = f"{self._name}: a single stamp is {jump_text(last, stamp)}"
        self._health.count("input", f"{self._what} stamp slipped", sentence)
