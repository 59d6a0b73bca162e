"""Pose graphs: odometry and measured loops, and the poses that they make most likely."""

from vpr_ros.offline.pose_graph.carrying import carried
from vpr_ros.offline.pose_graph.edges import Edge, EdgeKind, seen_from_second
from vpr_ros.offline.pose_graph.odometry import OdometryNoise, odometry_edges
from vpr_ros.offline.pose_graph.optimising import Optimised, OptimiserConfig, load_gtsam, optimise

__all__ = [
    "Edge",
    "EdgeKind",
    "Optimised",
    "OptimiserConfig",
    "OdometryNoise",
    "carried",
    "load_gtsam",
    "odometry_edges",
    "optimise",
    "seen_from_second",
]
