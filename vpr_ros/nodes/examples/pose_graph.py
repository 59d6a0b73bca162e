"""A pose graph beside the node vpr: odometry and verified loops, straightened live; a small node to read.

It keeps all odometry of its drive; joins each `loop_closure` with it by the stamps of the two images; and after some
loops optimises the whole graph in a thread of its own and publishes the corrected path. False loops leave no trace.
"""

import sys
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import make_transform
from vpr_ros.nodes.main import run
from vpr_ros.nodes.parameters.declaration import declare, values_of, warn_of_undeclared
from vpr_ros.offline.pose_graph import (
    Edge,
    OdometryNoise,
    Optimised,
    load_gtsam,
    odometry_edges,
    optimise,
    seen_from_second,
)
from vpr_ros.runtime.loop_stamps import NANO
from vpr_ros.runtime.parameters.parameter import Parameter
from vpr_ros.sensors.poses.buffer import PoseBuffer

try:
    from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
    from nav_msgs.msg import Odometry, Path
    from rclpy.node import Node
    from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

    from vpr_ros.nodes.outputs.messages import header_of, pose_of
except ImportError:  # without ROS only main() is of use, and says so
    Node = object  # type: ignore[assignment,misc]

PARAMETERS = (
    Parameter("map_frame", "map", "Frame of the corrected path; it begins where odometry began.", read_only=True),
    Parameter("spacing_m", 1.0, "A vertex of the graph after so many metres of odometry.", 0.01, 1e9, read_only=True),
    Parameter("every_loops", 5, "Optimise when so many new loops have come.", 1, 1_000_000, read_only=True),
)
DAY_S = 86_400.0
WAITING = 200  # loops whose odometry or keyframe has not come yet


class PoseGraphExample(Node):  # pyright: ignore[reportGeneralTypeIssues]
    """Subscribes `odom`, `loop_closure` and `keyframes`; publishes `~/path`: the poses of the graph's vertices."""

    def __init__(self, **kwargs):
        super().__init__("pose_graph_example", **kwargs)
        declare(self, PARAMETERS)
        warn_of_undeclared(self, PARAMETERS)
        self._values = values_of(self, PARAMETERS)
        load_gtsam()  # now, and not at the first loop
        self._odometry = PoseBuffer(DAY_S, 10_000_000)
        self._vertices: set[int] = set()  # stamps in ns
        self._last: np.ndarray | None = None  # odometry at the last vertex of the spacing
        self._began_ns = 0
        self._elsewhere = 0  # loops with keyframes from before this drive
        self._keyframes: dict[str, int] = {}  # "<map id>/<keyframe id>" -> stamp in ns
        self._waiting: deque[Any] = deque(maxlen=WAITING)
        self._loops: list[tuple[int, int, np.ndarray, np.ndarray]] = []  # stamps, T_keyframe_query, its covariance
        self._told = 0  # loops that the last optimisation knew
        self._running: Future | None = None
        self._worker = ThreadPoolExecutor(max_workers=1)
        # Deep: GTSAM keeps Python's lock while it optimises, for seconds on a long drive.
        best_effort = QoSProfile(depth=2000, reliability=ReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(
            depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
        )
        self.create_subscription(Odometry, "odom", self._on_odometry, best_effort)
        self.create_subscription(PoseWithCovarianceStamped, "loop_closure", self._on_closure, 50)
        self.create_subscription(Path, "keyframes", self._on_keyframes, latched)
        self._publisher = self.create_publisher(Path, "~/path", latched)

    def close(self) -> None:
        """Says what became of the loops."""
        self._worker.shutdown(wait=False, cancel_futures=True)
        print(f"{len(self._loops)} loops, {self._elsewhere} with another drive, {len(self._waiting)} open", flush=True)

    def _on_odometry(self, message) -> None:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        stamp, T = _stamp_of(message), make_transform((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
        if self._odometry.add(stamp, T):
            self.get_logger().warning("odometry's clock went back: the graph begins anew")
            self._vertices, self._loops, self._last, self._told = set(), [], None, 0
        self._began_ns = self._began_ns if self._vertices else stamp
        if self._last is None or np.linalg.norm((T - self._last)[:3, 3]) >= self._values["spacing_m"]:
            self._vertices.add(stamp)
            self._last = T
        self._join()

    def _on_keyframes(self, message) -> None:
        self._keyframes = {pose.header.frame_id: _stamp_of(pose) for pose in message.poses}
        self._join()

    def _on_closure(self, message) -> None:
        self._waiting.append(message)
        self._join()

    def _join(self) -> None:
        """Loops become edges as soon as both their images have odometry."""
        for message in [self._waiting.popleft() for _ in range(len(self._waiting))]:
            keyframe, query = self._keyframes.get(message.header.frame_id), _stamp_of(message)
            if keyframe is not None and keyframe < self._began_ns:
                self._elsewhere += 1
                continue
            if keyframe is None or any(self._odometry.at(stamp) is None for stamp in (keyframe, query)):
                self._waiting.append(message)
                continue
            p, q = message.pose.pose.position, message.pose.pose.orientation
            T = make_transform((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
            self._loops.append((keyframe, query, T, np.array(message.pose.covariance).reshape(6, 6)))
            self._vertices |= {keyframe, query}
        if len(self._loops) - self._told >= self._values["every_loops"] and (
            self._running is None or self._running.done()
        ):
            self._told = len(self._loops)
            self._running = self._worker.submit(self._optimise, sorted(self._vertices), list(self._loops))
            self._running.add_done_callback(self._on_done)

    def _on_done(self, future: Future) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self.get_logger().error(f"the graph was not optimised: {error}")

    def _optimise(self, stamps: list[int], loops: list[tuple[int, int, np.ndarray, np.ndarray]]) -> None:
        T = [self._odometry.at(stamp) for stamp in stamps]
        known = [n for n, pose in enumerate(T) if pose is not None]
        stamps, poses = [stamps[n] for n in known], np.array([T[n] for n in known])
        vertex = {stamp: n for n, stamp in enumerate(stamps)}
        steps = odometry_edges(np.arange(len(stamps)), poses, OdometryNoise())
        measured = [
            Edge(vertex[keyframe], vertex[query], T_loop, seen_from_second(T_loop, covariance), "metric")
            for keyframe, query, T_loop, covariance in loops
        ]
        found = optimise(poses, np.arange(len(stamps)) == 0, [*steps, *measured])
        self._publish(stamps, poses, found, len(measured))

    def _publish(self, stamps: list[int], odometry: np.ndarray, found: Optimised, loops: int) -> None:
        frame = self._values["map_frame"]
        path = Path(header=header_of(stamps[-1], frame))
        path.poses = [
            PoseStamped(header=header_of(stamp, frame), pose=pose_of(T))
            for stamp, T in zip(stamps, found.poses, strict=True)
        ]
        self._publisher.publish(path)
        moved_m = float(np.linalg.norm((found.poses - odometry)[:, :3, 3], axis=1).max())
        trusted = int(found.trusted.sum()) - (len(found.trusted) - loops)
        self.get_logger().info(
            f"{len(stamps)} vertices, {trusted} of {loops} loops are trusted, odometry is up to {moved_m:.2f} m off"
        )


def _stamp_of(message) -> int:
    return message.header.stamp.sec * NANO + message.header.stamp.nanosec


def main() -> int:
    """Runs the example until Ctrl-C; returns the exit code."""
    try:
        return run(PoseGraphExample)
    except VprError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
