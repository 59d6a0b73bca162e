"""How a SLAM front end takes loops from vpr_ros: a small node to read and to start one's own from.

It has keyframes of its own, with exact stamps and odometry poses; joins each `loop_candidate` with two of them; and
publishes the pair as a constraint between stamps, which is what a pose graph wants. A candidate says "the same place
within its radius" and no more: the relative pose has to come from your own registration, or from `loop_closure`.
"""

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, make_transform
from vpr_ros.nodes.main import run
from vpr_ros.nodes.parameters.declaration import declare, values_of, warn_of_undeclared
from vpr_ros.runtime.loop_stamps import NANO, StampIndex, seconds_of
from vpr_ros.runtime.parameters.checks import unusable
from vpr_ros.runtime.parameters.parameter import Parameter
from vpr_ros.sensors.poses.buffer import PoseBuffer

try:
    from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
    from nav_msgs.msg import Odometry, Path
    from rclpy.node import Node
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import CameraInfo, CompressedImage, Image
    from std_msgs.msg import Float64MultiArray

    from vpr_ros.nodes.outputs.messages import header_of, pose_of

    FRAMES: dict[str, Any] = {"image": Image, "image/compressed": CompressedImage, "camera_info": CameraInfo}
except ImportError:  # without ROS only main() is of use, and says so
    Node = object  # type: ignore[assignment,misc]
    FRAMES = {}

PARAMETERS = (
    Parameter(
        "frames",
        "image",
        "Topic whose stamps are the front end's frames; camera_info has the images' stamps and is small.",
        choices=("image", "image/compressed", "camera_info"),
        read_only=True,
    ),
    Parameter(
        "keyframe_distance_m",
        0.0,
        "An own keyframe after so many metres of odometry; 0: each image is one. "
        "Only candidates whose two stamps are own keyframes can be joined.",
        0.0,
        1e9,
        read_only=True,
    ),
    Parameter(
        "tolerance_us",
        1.0,
        "Stamps are the same when they differ by no more than this, in microseconds.",
        0.25,
        1e6,
        read_only=True,
    ),
)
WAITING = 50  # images and candidates that may wait for odometry


class LoopClosureExample(Node):  # pyright: ignore[reportGeneralTypeIssues]
    """Subscribes its frames, `odom`, `loop_candidate`, `loop_closure` and `keyframes`; publishes `~/constraint` and
    `~/verified_constraint`: the pose at the older stamp, then at the newer one, both in odometry's frame."""

    def __init__(self, **kwargs):
        super().__init__("loop_closure_example", **kwargs)
        declare(self, PARAMETERS)
        warn_of_undeclared(self, PARAMETERS)
        values = values_of(self, PARAMETERS)
        if reason := unusable(values, PARAMETERS):
            raise VprError(reason)
        self._distance_m = values["keyframe_distance_m"]
        self._tolerance_ns = round(values["tolerance_us"] * 1000)
        self.counts = {"joined": 0, "unmatched": 0, "closures": 0, "closures elsewhere": 0}
        self._odometry = PoseBuffer()
        self._odom_frame = "odom"
        self._poses: dict[int, np.ndarray] = {}  # own keyframes: stamp in ns -> T_odom_base
        self._stamps = StampIndex()
        self._images: deque[int] = deque(maxlen=WAITING)  # whose odometry has not come yet
        self._settled_ns = -1  # the newest image that became a keyframe, or did not
        self._early: deque[tuple[Callable, Any]] = deque(maxlen=WAITING)  # loops of images that are not settled yet
        self._map_stamps: dict[str, int] = {}  # "<map id>/<keyframe id>" -> stamp in ns
        # Best effort receives from every publisher; deep, because here every stamp counts and not only the newest.
        best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(FRAMES[values["frames"]], values["frames"], self._on_frame, best_effort)
        self.create_subscription(Odometry, "odom", self._on_odometry, best_effort)
        self.create_subscription(Float64MultiArray, "loop_candidate", self._on_candidate, 5)
        self.create_subscription(PoseWithCovarianceStamped, "loop_closure", self._on_closure, 5)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self.create_subscription(Path, "keyframes", self._on_keyframes, latched)
        self._constraints = self.create_publisher(Path, "~/constraint", 10)
        self._verified = self.create_publisher(Path, "~/verified_constraint", 10)

    def close(self) -> None:
        """Says what became of the loops."""
        self.counts["early"] = len(self._early)
        print(", ".join(f"{count} {what}" for what, count in self.counts.items()), flush=True)

    # Own keyframes

    def _on_frame(self, message) -> None:
        self._images.append(_stamp_of(message))

    def _on_odometry(self, message) -> None:
        self._odom_frame = message.header.frame_id or self._odom_frame
        p, q = message.pose.pose.position, message.pose.pose.orientation
        stamp_ns = _stamp_of(message)
        try:
            self._odometry.add(stamp_ns, make_transform((p.x, p.y, p.z), (q.x, q.y, q.z, q.w)))
        except ValueError as error:
            self.get_logger().warning(f"odometry at {seconds_of(stamp_ns):.6f} is skipped: {error}")
            return
        while self._images and self._images[0] <= stamp_ns:
            self._add_keyframe(self._images.popleft())
        for handler, loop in [self._early.popleft() for _ in range(len(self._early))]:
            handler(loop)

    def _add_keyframe(self, stamp_ns: int) -> None:
        self._settled_ns = stamp_ns
        T = self._odometry.at(stamp_ns)
        if T is None or stamp_ns in self._poses:
            return
        last = self._stamps.newest_ns
        if last is None or np.linalg.norm((T - self._poses[last])[:3, 3]) >= self._distance_m:
            self._poses[stamp_ns] = T
            self._stamps.add(stamp_ns)

    # Outputs of vpr_ros

    def _on_candidate(self, message) -> None:
        if len(message.data) != 2 or not np.isfinite(message.data).all():
            self.get_logger().warning(f"a loop candidate has two times, not {list(message.data)}: skipped")
            return
        query_s, keyframe_s = message.data
        if query_s > seconds_of(self._settled_ns + self._tolerance_ns):
            self._early.append((self._on_candidate, message))
            return
        query, keyframe = (self._stamps.find(s, self._tolerance_ns) for s in (query_s, keyframe_s))
        if query is None or keyframe is None:
            self.counts["unmatched"] += 1
            reasons = "; ".join(self._why(s) for s in (query_s, keyframe_s))
            self.get_logger().warning(f"candidate {query_s:.6f} -> {keyframe_s:.6f} is not joined: {reasons}")
            return
        self.counts["joined"] += 1
        self.get_logger().info(f"loop: {_seconds(query)} is at the place of {_seconds(keyframe)}")
        self._constraints.publish(self._pair(keyframe, self._poses[keyframe], query, self._poses[query]))

    def _why(self, seconds: float) -> str:
        nearest = self._stamps.nearest(seconds)
        if nearest is None:
            return "there are no own keyframes yet"
        off_us = abs(seconds - seconds_of(nearest)) * 1e6
        if off_us * 1000 <= self._tolerance_ns:
            return f"{seconds:.6f} is an own keyframe"
        return f"the own keyframe nearest to {seconds:.6f} is {off_us:.1f} us away"

    def _on_keyframes(self, message) -> None:
        self._map_stamps = {pose.header.frame_id: _stamp_of(pose) for pose in message.poses}

    def _on_closure(self, message) -> None:
        name, query = message.header.frame_id, _stamp_of(message)
        if query > self._settled_ns:
            self._early.append((self._on_closure, message))
            return
        keyframe = self._map_stamps.get(name)
        if keyframe not in self._poses or query not in self._poses:
            self.counts["closures elsewhere"] += 1
            self.get_logger().info(f"{_seconds(query)} was registered with keyframe {name}: not two own keyframes")
            return
        self.counts["closures"] += 1
        p, q = message.pose.pose.position, message.pose.pose.orientation
        T_keyframe_query = make_transform((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
        measured = self._poses[keyframe] @ T_keyframe_query
        drift_m = np.linalg.norm((invert(measured) @ self._poses[query])[:3, 3])
        self.get_logger().info(
            f"verified loop: {_seconds(query)} with keyframe {name}; odometry is {drift_m:.2f} m off"
        )
        self._verified.publish(self._pair(keyframe, self._poses[keyframe], query, measured))

    def _pair(self, older_ns: int, T_older: np.ndarray, newer_ns: int, T_newer: np.ndarray) -> Any:
        path = Path(header=header_of(newer_ns, self._odom_frame))
        path.poses = [
            PoseStamped(header=header_of(stamp, self._odom_frame), pose=pose_of(T))
            for stamp, T in ((older_ns, T_older), (newer_ns, T_newer))
        ]
        return path


def _stamp_of(message) -> int:
    return message.header.stamp.sec * NANO + message.header.stamp.nanosec


def _seconds(stamp_ns: int) -> str:
    return f"{stamp_ns // NANO}.{stamp_ns % NANO:09d}"


def main() -> int:
    """Runs the example until Ctrl-C; returns the exit code."""
    try:
        return run(LoopClosureExample)
    except VprError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
