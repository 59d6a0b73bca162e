"""Accepted matches of a drive as loop closures in files: pairs of stamps, and a pose graph."""

from vpr_ros.offline.loops.frames import LoopFrame, loop_frame
from vpr_ros.offline.loops.graph import Graph, GraphConfig, build_graph
from vpr_ros.offline.loops.writing import LoopFiles, write_loops

__all__ = ["Graph", "GraphConfig", "LoopFiles", "LoopFrame", "build_graph", "loop_frame", "write_loops"]
