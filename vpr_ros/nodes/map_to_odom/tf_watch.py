"""Who else publishes odometry's frame in TF, and whether TF connects it with the robot."""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage

from vpr_ros.sensors.payload import frame_of, stamp_ns

LISTEN_S = 1.5  # before the first own transform, for those of others: localisations publish several a second
DISCOVERY_S = 0.5  # after which a publisher that is there is known
REMEMBERED_S = 10.0  # a link that moves is published again and again; a fixed one holds until the end
_OWN = 400  # stamps of own transforms that are remembered


class TfWatch:
    """Hears all of TF from `start` to `stop`. Of the links to `child` (odometry's frame) it tells own ones by their
    stamps, which have to be named by `sends`; any other would give the frame a second parent, or a second value.

    `heard(sentence)` is called for each link of another publisher, in the executor's thread.
    """

    def __init__(self, node: Any, parent: str, child: str, heard: Callable[[str], None]):
        self._node, self._parent, self._child, self._heard = node, parent, child, heard
        self._lock = threading.Lock()
        self._own: deque[int] = deque(maxlen=_OWN)
        self._parents: dict[str, str] = {}
        self._moving: tuple[float, str] | None = None  # steady seconds, sentence
        self._fixed = ""
        self._subscriptions: list[Any] = []

    def start(self) -> None:
        """Subscribe, and listen before anything is published: a link of another publisher is known afterwards.

        It blocks for LISTEN_S, for DISCOVERY_S only where nobody else publishes TF.
        """
        self._listen_first()
        self._subscriptions = self._subscribe(self._node)

    def stop(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def sends(self, stamp: int) -> None:
        """An own transform of this stamp (ns) goes out next."""
        with self._lock:
            self._own.append(stamp)

    def other(self) -> str:
        """A sentence where another publisher has the frame; "" where none was heard."""
        if self._fixed:
            return self._fixed
        if self._moving is None or time.monotonic() - self._moving[0] > REMEMBERED_S:
            return ""
        return self._moving[1]

    def connects(self, base: str) -> bool:
        """Whether TF leads from a frame of the robot up to odometry's frame."""
        frame, seen = base, set()
        while frame != self._child and frame in self._parents and frame not in seen:
            seen.add(frame)
            frame = self._parents[frame]
        return frame == self._child

    def _subscribe(self, node: Any) -> list[Any]:
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        # By the resolved names: several robots remap /tf.
        return [
            node.create_subscription(TFMessage, self._topic("/tf"), self._on_moving, QoSProfile(depth=100)),
            node.create_subscription(TFMessage, self._topic("/tf_static"), self._on_fixed, latched),
        ]

    def _topic(self, name: str) -> str:
        return self._node.resolve_topic_name(name)

    def _listen_first(self) -> None:
        # A node of its own: the callbacks of this one rest while a transition runs.
        name, context = f"{self._node.get_name()}_tf_watch", self._node.context
        options: dict[str, Any] = {"use_global_arguments": False, "start_parameter_services": False}
        probe = rclpy.create_node(
            name, context=context, namespace=self._node.get_namespace(), enable_rosout=False, **options
        )
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(probe)
        try:
            self._subscribe(probe)
            began = time.monotonic()
            while not self.other() and (elapsed_s := time.monotonic() - began) < LISTEN_S:
                executor.spin_once(timeout_sec=0.1)
                if elapsed_s > DISCOVERY_S and not self._publishers("/tf", "/tf_static"):
                    break
        finally:
            executor.shutdown()
            probe.destroy_node()

    def _publishers(self, *topics: str) -> list[str]:
        """Names of other nodes that publish on the topics; of those that discovery does not name yet, "a node"."""
        own = self._node.get_fully_qualified_name()
        names = set()
        for topic in topics:
            for info in self._node.get_publishers_info_by_topic(self._topic(topic)):
                known = info.node_name and "UNKNOWN" not in info.node_name
                names.add(f"{info.node_namespace.rstrip('/')}/{info.node_name}" if known else "a node")
        return sorted(names - {own})

    def _on_moving(self, message: Any) -> None:
        for link in message.transforms:
            self._parents[str(link.child_frame_id).lstrip("/")] = frame_of(link)
            with self._lock:
                own = stamp_ns(link) in self._own
            if self._is_other(link) and not own:
                sentence = self._sentence(frame_of(link), "/tf")
                self._moving = time.monotonic(), sentence
                self._heard(sentence)

    def _on_fixed(self, message: Any) -> None:
        for link in message.transforms:
            self._parents[str(link.child_frame_id).lstrip("/")] = frame_of(link)
            if self._is_other(link):
                self._fixed = self._sentence(frame_of(link), "/tf_static")
                self._heard(self._fixed)

    def _is_other(self, link: Any) -> bool:
        return str(link.child_frame_id).lstrip("/") == self._child

    def _sentence(self, parent: str, topic: str) -> str:
        names: list[str] = []
        with suppress(Exception):  # the graph cannot be asked while ROS shuts down
            names = self._publishers(topic)
        found = f"{topic} already has {parent} -> {self._child} from another publisher"
        among = f" (one of {', '.join(names)})" if len(names) > 1 else f" ({names[0]})" if names else ""
        return f"{found}{among}: end that one, or set publish_tf false"
