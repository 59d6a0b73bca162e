"""A subscription whose reliability follows the publishers that it finds, and what of theirs arrives."""

from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy

from vpr_ros.nodes.inputs.publishers import followed_reliability, type_name
from vpr_ros.nodes.qos import create_subscription, user_reliability
from vpr_ros.runtime.input_settings import FixedReliability, Reliability
from vpr_ros.sensors.arrived_stamps import ArrivedStamps
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.stamps import JUMP_NS

_POLICIES: dict[FixedReliability, ReliabilityPolicy] = {
    "reliable": ReliabilityPolicy.RELIABLE,
    "best_effort": ReliabilityPolicy.BEST_EFFORT,
}


class TopicInput:
    """One input topic between `start` and `stop`; `callback(msg)` runs in the executor's thread, as all of this does.

    With the reliability `auto` it subscribes reliably while all publishers are reliable, and best effort otherwise;
    `follow` looks again. The subscription that is replaced stays until its successor hears something, so that nothing
    is lost in between.
    """

    def __init__(
        self,
        node: Any,
        msgtype: Any,
        name: str,
        callback: Callable[[Any], None],
        reliability: Reliability,
        depth: int,
    ):
        self.msgtype, self.name = msgtype, name
        self.wanted: Reliability = user_reliability(node, name) or reliability
        self._node, self._callback, self._depth = node, callback, depth
        self._current: Any = None
        self._replaced: Any = None
        self._generation = 0  # of subscriptions
        self._reliability: FixedReliability = "best_effort" if self.wanted == "auto" else self.wanted
        self.qos = self._qos()
        self.stamps = ArrivedStamps()

    @property
    def subscribed(self) -> bool:
        """Whether it was started."""
        return self._current is not None

    @property
    def topic(self) -> str:
        """Its name after remapping."""
        return self._node.resolve_topic_name(self.name)

    @property
    def remapped(self) -> bool:
        """Whether somebody has given it another name: then it is meant to be there."""
        return self.topic != self._node.resolve_topic_name(self.name, only_expand=True)

    @property
    def reliable(self) -> bool:
        """Whether it is subscribed reliably."""
        return self.qos.reliability == ReliabilityPolicy.RELIABLE

    def start(self) -> None:
        """Subscribe."""
        self.qos = self._qos()
        self._subscribe()

    def stop(self) -> None:
        """Unsubscribe."""
        for subscription in (self._current, self._replaced):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._current = self._replaced = None
        self.stamps = ArrivedStamps()

    def follow(self) -> None:
        """Subscribe anew where the publishers are other ones than before."""
        qos = self._qos()
        if self._current is None or qos.reliability == self.qos.reliability:
            return
        self._drop_replaced()
        self._replaced, self.qos = self._current, qos
        self._subscribe()

    def _subscribe(self) -> None:
        self._generation += 1
        heard = partial(self._on_message, self._generation)
        self._current, self.qos = create_subscription(self._node, self.msgtype, self.name, heard, self.qos)

    def _on_message(self, generation: int, msg: Any) -> None:
        stamp = stamp_ns(msg)
        if generation == self._generation and self._replaced is not None:
            self._drop_replaced()
            last = self.stamps.last_ns
            if stamp and last is not None and last - JUMP_NS < stamp <= last:
                return  # both have heard it
        self.stamps.add(stamp)
        self._callback(msg)

    def _drop_replaced(self) -> None:
        if self._replaced is not None:
            self._node.destroy_subscription(self._replaced)
        self._replaced = None

    def _qos(self) -> QoSProfile:
        if self.wanted == "auto":
            publishers = self._node.get_publishers_info_by_topic(self.topic)
            self._reliability = followed_reliability(publishers, type_name(self.msgtype), self._reliability)
        policy = _POLICIES[self._reliability]
        return QoSProfile(depth=self._depth, history=HistoryPolicy.KEEP_LAST, reliability=policy)
