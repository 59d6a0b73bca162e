"""Loop closures as files: pairs of stamps, a graph in g2o's format, and what its vertices are."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.atomic import whole_text
from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.offline.loops.frames import LoopFrame
from vpr_ros.offline.loops.graph import Graph, build_graph
from vpr_ros.place_map import Keyframes
from vpr_ros.sensors.stamps import seconds_text

PAIRS, GRAPH, VERTICES = "loops.txt", "loops.g2o", "loops_vertices.csv"
_HEADER = (
    "# Loop closures of a camera: the query shows the place of the keyframe, within the map's place radius.\n"
    "# stamp_query stamp_keyframe probability\n"
    "# Stamps are those of the images in seconds, to the nanosecond; the probability is calibrated.\n"
)
_UPPER = np.triu_indices(6)


@dataclass(frozen=True)
class LoopFiles:
    """What was written."""

    pairs: int
    graph: Graph | None
    why_no_graph: str = ""

    @property
    def sentence(self) -> str:
        """For people."""
        if self.graph is None:
            return f"{PAIRS}: {self.pairs} loop closures; no {GRAPH}: {self.why_no_graph}"
        g = self.graph
        return (
            f"{PAIRS}: {self.pairs} loop closures; {GRAPH}: {len(g.poses)} poses, {g.count('odometry')} steps of "
            f"odometry, {g.count('place')} closures by place and {g.count('metric')} measured"
        )

    def to_dict(self) -> dict[str, int | str]:
        """For run.json."""
        if self.graph is None:
            return {"pairs": self.pairs, "no_graph": self.why_no_graph}
        kinds = {kind: self.graph.count(kind) for kind in ("odometry", "place", "metric")}
        return {"pairs": self.pairs, "vertices": len(self.graph.poses), **kinds}


def write_loops(out: Path, frames: Sequence[LoopFrame], keyframes: Keyframes, radius: float) -> LoopFiles:
    """Write OUT/loops.txt, and OUT/loops.g2o with OUT/loops_vertices.csv where drive and map have poses.

    `radius` is the place radius: metres in a map with poses.
    """
    pairs = write_pairs(out / PAIRS, frames, keyframes)
    graph, why = None, ""
    if not pairs:
        why = "no frame was accepted"
    elif not keyframes.has_pose.any():
        why = "the map has no poses"
    elif all(frame.T_odom_base is None for frame in frames):
        why = "the drive has no odometry"
    elif (graph := build_graph(frames, keyframes, radius)) is None:
        why = "no accepted frame has odometry and a keyframe with a pose"
    else:
        write_g2o(out / GRAPH, graph)
        write_vertices(out / VERTICES, graph)
    return LoopFiles(pairs, graph, why)


def write_pairs(path: Path, frames: Sequence[LoopFrame], keyframes: Keyframes) -> int:
    """One line for each accepted frame, as TUM's tools write pairs of stamps; returns how many."""
    stamp_of = dict(zip(keyframes.ids.tolist(), keyframes.stamps_ns.tolist(), strict=True))
    written = 0
    with whole_text(path) as stream:
        stream.write(_HEADER)
        for frame in frames:
            if frame.keyframe_id is not None:
                query, keyframe = seconds_text(frame.stamp_ns), seconds_text(stamp_of[frame.keyframe_id])
                stream.write(f"{query} {keyframe} {frame.probability:.6f}\n")
                written += 1
    return written


def write_g2o(path: Path, graph: Graph) -> None:
    """VERTEX_SE3:QUAT `v x y z qx qy qz qw`; EDGE_SE3:QUAT `first second`, the pose of the second in the first, and the
    upper triangle of the information matrix, row by row, in the order x y z rotX rotY rotZ and radians."""
    with whole_text(path) as stream:
        for vertex, T in enumerate(graph.poses):
            stream.write(f"VERTEX_SE3:QUAT {vertex} {_pose_text(T)}\n")
        for edge in graph.edges:
            information = np.linalg.inv(edge.covariance + 1e-12 * np.eye(6))
            upper = " ".join(f"{value:.9g}" for value in ((information + information.T) / 2)[_UPPER])
            stream.write(f"EDGE_SE3:QUAT {edge.first} {edge.second} {_pose_text(edge.T)} {upper}\n")


def write_vertices(path: Path, graph: Graph) -> None:
    """Which image each vertex is: the drive's frames have neither keyframe nor session."""
    with whole_text(path) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("vertex", "stamp_ns", "keyframe_id", "session"))
        columns = (graph.stamps_ns.tolist(), graph.keyframe_ids.tolist(), graph.sessions.tolist())
        for vertex, (stamp, keyframe, session) in enumerate(zip(*columns, strict=True)):
            writer.writerow((vertex, stamp, *(("", "") if keyframe < 0 else (keyframe, session))))


def _pose_text(T: np.ndarray) -> str:
    return " ".join(f"{v:.9f}" for v in (*T[:3, 3].tolist(), *matrix_to_quaternion(T[:3, :3]).tolist()))
