"""How far odometry is trusted, and its steps as edges of a graph."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.geometry import invert, rotation_angle
from vpr_ros.offline.pose_graph.edges import Edge


@dataclass(frozen=True)
class OdometryNoise:
    """Standard deviations of odometry.

    A wheel's scale error of a few per cent is spread evenly over the steps between two constraints, whatever their
    common size; so drift is told by the square root of a metre, and is the same however short the steps are.
    """

    drift_m: float = 0.1  # after a metre; after 100 m ten times as much
    drift_rad: float = np.radians(0.5)
    turn_rad: float = np.radians(2.0)  # after a turn by one radian
    tremble_m: float = 0.01  # of any step
    tremble_rad: float = 0.002

    def covariances(self, steps: np.ndarray) -> np.ndarray:
        """Covariances (N, 6, 6), x y z rotX rotY rotZ, of steps (N, 4, 4)."""
        metres, turns = np.linalg.norm(steps[:, :3, 3], axis=1), rotation_angle(np.eye(3), steps[:, :3, :3])
        variance_m = self.tremble_m**2 + self.drift_m**2 * metres
        variance_rad = self.tremble_rad**2 + self.drift_rad**2 * metres + self.turn_rad**2 * turns
        return np.eye(6) * np.repeat(np.column_stack([variance_m, variance_rad]), 3, axis=1)[:, :, None]


def odometry_edges(vertices: np.ndarray, T: np.ndarray, noise: OdometryNoise) -> list[Edge]:
    """Steps between neighbours of `vertices` (N,), whose poses by odometry are T (N, 4, 4)."""
    steps = invert(T[:-1]) @ T[1:]
    pairs = zip(vertices[:-1].tolist(), vertices[1:].tolist(), steps, noise.covariances(steps), strict=True)
    return [Edge(a, b, step, covariance, "odometry") for a, b, step, covariance in pairs]
