"""From a drive's frames and its measured loops to the trajectory before and after."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.offline.loops.frames import LoopFrame
from vpr_ros.offline.loops.graph import Graph
from vpr_ros.offline.pose_graph import Edge, carried, optimise
from vpr_ros.sensors import Trajectory


@dataclass(frozen=True)
class Straightened:
    """A drive in the frame of its graph: by odometry as the graph began with it, and as the loops have it.

    Both have a pose at each frame that the graph's stretches of odometry cover. `loops` are the measured edges, and
    `trusted` (L,) bool which of them the poses agree with.
    """

    before: Trajectory
    after: Trajectory
    loops: tuple[Edge, ...]
    trusted: np.ndarray

    @property
    def moved_m(self) -> float:
        """By how much the loops moved a pose at most."""
        return float(np.linalg.norm((self.after.T - self.before.T)[:, :3, 3], axis=1).max(initial=0.0))


def worth_a_vertex(frame: LoopFrame) -> bool:
    """Whether a frame stands in the graph of a long drive: the others are carried along by odometry."""
    return frame.T_odom_base is not None and (frame.keyframe is not None or frame.metric)


def straighten(frames: Sequence[LoopFrame], graph: Graph) -> Straightened:
    """The trajectory of a drive's frames by its graph. Raises VprError where gtsam is not installed."""
    found = optimise(graph.poses, graph.fixed, graph.edges)
    posed = [(f.stamp_ns, f.T_odom_base) for f in frames if f.T_odom_base is not None]
    stamps, odometry = np.array([stamp for stamp, _ in posed], np.int64), np.array([T for _, T in posed])
    vertices = np.flatnonzero(graph.sessions < 0)
    vertices = vertices[np.argsort(graph.stamps_ns[vertices], kind="stable")]
    at_ns = graph.stamps_ns[vertices]
    row_of = {stamp: row for row, stamp in enumerate(stamps.tolist())}
    T_odom_at = odometry[[row_of[stamp] for stamp in at_ns.tolist()]]
    known = stamps, odometry, at_ns, T_odom_at
    before, after = (carried(*known, T[vertices], graph.parts[vertices]) for T in (graph.poses, found.poses))
    measured = np.array([edge.kind == "metric" for edge in graph.edges], bool)
    loops = tuple(edge for edge in graph.edges if edge.kind == "metric")
    return Straightened(before, after, loops, found.trusted[measured])
