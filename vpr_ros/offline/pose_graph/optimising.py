"""The most likely poses of a graph whose measured edges may be wrong.

Graduated non-convexity with truncated least squares (Yang et al., RA-L 2020), as GTSAM has it: measured edges are
trusted wholly or not at all, and which ones is found while the loss goes from a convex one to the truncated. Odometry
is never doubted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.offline.pose_graph.edges import Edge

FIXED = 1e-5  # metres and radians by which a fixed pose may move
_ROTATIONS_FIRST = np.array([3, 4, 5, 0, 1, 2])  # GTSAM's order of a pose's six numbers


@dataclass(frozen=True)
class OptimiserConfig:
    """What is added to the covariances of measured edges, and up to where they are believed.

    A registration's own covariance knows nothing of what has moved, nor of clouds and pictures taken while turning.
    """

    measured_m: float = 0.05
    measured_rad: float = np.radians(0.3)
    believed: float = 0.99  # share of right edges that lie within the truncation, were their covariances true


@dataclass(frozen=True)
class Optimised:
    """Poses (V, 4, 4) of a graph, and which of its edges (E,) bool are trusted: all steps of odometry are."""

    poses: np.ndarray
    trusted: np.ndarray


def optimise(
    poses: np.ndarray, fixed: np.ndarray, edges: Sequence[Edge], config: OptimiserConfig | None = None
) -> Optimised:
    """The most likely poses, from the start `poses` (V, 4, 4); those that are `fixed` (V,) bool stay.

    Every vertex must hang on a fixed one by edges of odometry and others that may be trusted. Raises VprError where
    gtsam is not installed.
    """
    gtsam, config = load_gtsam(), config or OptimiserConfig()
    graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    for vertex, T in enumerate(poses):
        values.insert(vertex, gtsam.Pose3(T))
    held = gtsam.noiseModel.Isotropic.Sigma(6, FIXED)
    for vertex in np.flatnonzero(fixed).tolist():
        graph.add(gtsam.PriorFactorPose3(vertex, gtsam.Pose3(poses[vertex]), held))
    doubted = np.array([edge.kind != "odometry" for edge in edges], bool)
    for at in np.argsort(doubted, kind="stable").tolist():
        edge = edges[at]
        noise = gtsam.noiseModel.Gaussian.Covariance(_covariance(edge, config))
        graph.add(gtsam.BetweenFactorPose3(edge.first, edge.second, gtsam.Pose3(edge.T), noise))
    trusted = np.ones(len(edges), bool)
    if doubted.any():
        params = gtsam.GncLMParams()
        params.setKnownInliers(list(range(graph.size() - int(doubted.sum()))))
        optimiser = gtsam.GncLMOptimizer(graph, values, params)
        optimiser.setInlierCostThresholdsAtProbability(config.believed)
        values = optimiser.optimize()
        trusted[doubted] = np.asarray(optimiser.getWeights())[-int(doubted.sum()) :] > 0.5
    else:
        values = gtsam.LevenbergMarquardtOptimizer(graph, values).optimize()
    return Optimised(np.array([values.atPose3(vertex).matrix() for vertex in range(len(poses))]), trusted)


def load_gtsam() -> Any:
    """The library of pose graphs. Raises VprError where it is not installed."""
    try:
        return import_module("gtsam")
    except ImportError as error:
        raise VprError(
            f"pose graphs need gtsam ({error}): pip install 'vpr_ros[slam]', with Python 3.11 or later"
        ) from error


def _covariance(edge: Edge, config: OptimiserConfig) -> np.ndarray:
    """The covariance (6, 6) of an edge as gtsam wants it."""
    covariance = edge.covariance
    if edge.kind != "odometry":
        covariance = covariance + np.diag([config.measured_m**2] * 3 + [config.measured_rad**2] * 3)
    return covariance[np.ix_(_ROTATIONS_FIRST, _ROTATIONS_FIRST)]
