"""The robot's side of the wire: publishes what a robot publishes, hears what the node says, calls its services."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from vpr_ros.geometry import matrix_to_quaternion

SECOND_NS = 1_000_000_000
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "cleanup": Transition.TRANSITION_CLEANUP,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
}


def qos(depth: int = 1000, reliable: bool = True, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def time_msg(stamp_ns: int) -> Time:
    return Time(sec=int(stamp_ns) // SECOND_NS, nanosec=int(stamp_ns) % SECOND_NS)


def stamp_of(msg: Any) -> int:
    """Header stamp in nanoseconds."""
    return msg.header.stamp.sec * SECOND_NS + msg.header.stamp.nanosec


def wait_until(condition: Callable[[], Any], timeout_s: float = 15.0, what: str = "") -> Any:
    """What the condition returns once it is true; AssertionError that says what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s in vain for {what or condition}"
        time.sleep(0.01)
    return value


class Heard:
    """Messages of one topic with the times (ns since the epoch) at which they came."""

    def __init__(self, topic: str):
        self.topic, self.messages, self.arrivals_ns = topic, [], []
        self.subscription: Any = None

    def __call__(self, msg: Any) -> None:
        self.arrivals_ns.append(time.time_ns())
        self.messages.append(msg)

    def __len__(self) -> int:
        return len(self.messages)

    def wait(self, count: int = 1, timeout_s: float = 15.0) -> list:
        """At least so many messages."""
        wait_until(
            lambda: len(self.messages) >= count,
            timeout_s,
            f"{count} messages on {self.topic}, of which {len(self.messages)} came",
        )
        return self.messages

    def latencies_s(self, since: int = 0) -> list[float]:
        """From the stamp to the arrival, for messages stamped with the clock of the day, from number `since` on."""
        return [(at - stamp_of(m)) / 1e9 for at, m in zip(self.arrivals_ns, self.messages, strict=False)][since:]

    def by_stamp(self) -> dict[int, Any]:
        return {stamp_of(msg): msg for msg in self.messages}


class Robot:
    """A node in the test process whose callbacks run in a thread of their own."""

    def __init__(self, name: str = "robot"):
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node(name, context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self._clients: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except Exception:
            if self.context.ok():  # after close(), rclpy ends with one of several errors
                raise

    def close(self) -> None:
        """Leaves the network."""
        self.context.try_shutdown()
        self._thread.join(10)
        self.node.destroy_node()
        self.executor.shutdown()  # it may hold publishers in its hands, which the next test would find

    def now_ns(self) -> int:
        return self.node.get_clock().now().nanoseconds

    # Hearing

    def listen(self, topic: str, kind: type, profile: QoSProfile | None = None) -> Heard:
        heard = Heard(topic)
        heard.subscription = self.node.create_subscription(kind, topic, heard, profile or qos())
        return heard

    def deafen(self, heard: Heard) -> None:
        self.node.destroy_subscription(heard.subscription)

    # Speaking

    def publisher(self, topic: str, kind: type, profile: QoSProfile | None = None) -> Any:
        return self.node.create_publisher(kind, topic, profile or qos(10))

    def until_heard(self, publisher: Any, timeout_s: float = 15.0) -> Any:
        """The publisher, once somebody listens to it."""
        wait_until(lambda: publisher.get_subscription_count() > 0, timeout_s, f"a listener on {publisher.topic_name}")
        return publisher

    # Services

    def client(self, kind: type, name: str, timeout_s: float = 20.0) -> Any:
        if name in self._clients:
            return self._clients[name]
        client = self._clients[name] = self.node.create_client(kind, name)
        assert client.wait_for_service(timeout_s), f"no service {name}"
        # We know the service, but perhaps the service does not know us yet, and a request would be lost. Discovery is
        # in order: once a client that was made later gets an answer, this one will.
        later = self.node.create_client(GetState, f"{name.rpartition('/')[0]}/get_state")
        wait_until(
            lambda: later.service_is_ready() and _answer(later, GetState.Request(), 1.0),
            60.0,
            f"an answer of {later.srv_name}",
        )
        self.node.destroy_client(later)
        return client

    def call(self, kind: type, name: str, request: Any = None, timeout_s: float = 30.0) -> Any:
        """The answer of a service."""
        answer = _answer(self.client(kind, name), request or kind.Request(), timeout_s)
        assert answer is not None, f"service {name} did not answer in {timeout_s:g} s"
        return answer

    def change(self, node: str, transition: str, timeout_s: float = 60.0) -> bool:
        """One step of a lifecycle node's life; False when the node refused it."""
        request = ChangeState.Request(transition=Transition(id=TRANSITIONS[transition]))
        return self.call(ChangeState, f"{node}/change_state", request, timeout_s).success

    def state(self, node: str) -> str:
        return self.call(GetState, f"{node}/get_state").current_state.label


def _answer(client: Any, request: Any, timeout_s: float) -> Any:
    done = threading.Event()
    future = client.call_async(request)
    future.add_done_callback(lambda _: done.set())
    return future.result() if done.wait(timeout_s) else None


def compressed(stamp_ns: int, jpeg: bytes, frame: str = "camera_optical_frame") -> CompressedImage:
    msg = CompressedImage(format="jpeg")
    msg.header.stamp, msg.header.frame_id = time_msg(stamp_ns), frame
    msg.data = jpeg
    return msg


def raw_image(stamp_ns: int, image: np.ndarray, frame: str = "camera_optical_frame") -> Image:
    msg = Image(height=image.shape[0], width=image.shape[1], encoding="rgb8", step=3 * image.shape[1])
    msg.header.stamp, msg.header.frame_id = time_msg(stamp_ns), frame
    msg.data = image.tobytes()
    return msg


def odometry(stamp_ns: int, T: np.ndarray, frame: str = "odom", child: str = "base_link") -> Odometry:
    msg = Odometry(child_frame_id=child)
    msg.header.stamp, msg.header.frame_id = time_msg(stamp_ns), frame
    p, o = msg.pose.pose.position, msg.pose.pose.orientation
    p.x, p.y, p.z = map(float, T[:3, 3])
    o.x, o.y, o.z, o.w = map(float, matrix_to_quaternion(T[:3, :3]))
    return msg


def transform(stamp_ns: int, parent: str, child: str, T: np.ndarray) -> TransformStamped:
    msg = TransformStamped(child_frame_id=child)
    msg.header.stamp, msg.header.frame_id = time_msg(stamp_ns), parent
    t, o = msg.transform.translation, msg.transform.rotation
    t.x, t.y, t.z = map(float, T[:3, 3])
    o.x, o.y, o.z, o.w = map(float, matrix_to_quaternion(T[:3, :3]))
    return msg


def until_answered(publisher: Any, matches: Heard, message: Callable[[int], Any], timeout_s: float = 20.0) -> Any:
    """Publishes an image, `message(stamp_ns)`, five times a second until one is answered; returns the answer."""
    sent, deadline = set(), time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        stamp_ns = time.time_ns()
        sent.add(stamp_ns)
        publisher.publish(message(stamp_ns))
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            for answer in list(matches.messages):
                if stamp_of(answer) in sent:
                    return answer
            time.sleep(0.01)
    raise AssertionError(f"none of {len(sent)} images was answered on {matches.topic}")


def flood(publisher: Any, message: Callable[[int, int], Any], rate_hz: float, seconds: float) -> list[int]:
    """Publishes `message(i, stamp_ns)` at a rate, stamped when it leaves; returns the stamps."""
    stamps, started = [], time.monotonic()
    while (due := started + len(stamps) / rate_hz) < started + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        stamps.append(time.time_ns())
        publisher.publish(message(len(stamps) - 1, stamps[-1]))
    return stamps


def keyframe_of(class_id: str) -> int:
    """The keyframe's id in `<map_id>/<keyframe id>`."""
    return int(class_id.rpartition("/")[2])
