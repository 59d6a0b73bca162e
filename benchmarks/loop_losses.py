"""Which loss makes false loops harmless: a 3 km drive of known truth, with loops that verification wrongly let through.

python benchmarks/loop_losses.py

The drive is that of loops.py's city 2174, planned and not rendered: its odometry drifts, and every second frame that is
within 5 m of where the drive was before, looking the same way, closes a loop with 4 cm and 0.2 degrees of noise. False
ones join frames that are at least 25 m apart: each by itself, or in stretches of 15 that agree with one another as two
streets do that look alike. Rows: share of false loops among all, and how many of the loops are kept. Columns: ATE in
metres and CPU seconds of plain least squares; of Huber's loss, then Cauchy's; of dynamic covariance scaling (switchable
constraints in closed form); of Huber's, then Geman-McClure's; and of graduated non-convexity, which the product uses.
"""

import time
from typing import Any

import gtsam
import numpy as np

from vpr_ros.geometry import invert, make_transform, planar_transform, turn_between, yaw_of
from vpr_ros.offline.loops.accuracy import true_error
from vpr_ros.offline.pose_graph import Edge, OdometryNoise, OptimiserConfig, odometry_edges, optimise
from vpr_ros.sensors import Trajectory
from vpr_ros.training.synthetic import CameraConfig, LidarConfig, named_conditions, plan_drive

SEED = 2174
LOSSES = {"least squares": ("Null",), "Huber, Cauchy": ("Huber", "Cauchy"), "DCS": ("DCS",)} | {
    "Huber, Geman-McClure": ("Huber", "GemanMcClure"),
    "GNC": (),
}
COVARIANCE = np.diag([0.04**2] * 3 + [0.004**2] * 3)
WIDTH = 3.0  # of every loss, in standard deviations
FALSE_FROM_M, STRETCH = 25.0, 15


def main() -> None:
    conditions = named_conditions("day", seed=10 * SEED)
    drive = plan_drive(SEED, conditions, CameraConfig(), LidarConfig(), length_m=3000.0, spacing_m=2.0, lap_m=1000.0)
    true, odometry, rng = drive.T_map_base, drive.T_odom_base, np.random.default_rng(0)
    truth = Trajectory(drive.stamps_ns, true)
    print(f"odometry: {true_error(Trajectory(drive.stamps_ns, odometry), truth).rmse_m:.2f} m")
    right = true_loops(true, rng)
    print("false | loops | " + " | ".join(LOSSES))
    for share, together in ((0.0, False), (0.2, False), (0.5, False), (0.2, True), (0.4, True)):
        false = false_loops(true, odometry, int(len(right) * share / (1 - share)), together, rng)
        for every in (1, 10):
            kept = right[::every] + (false[: len(false) // every] if together else false[::every])
            kept.sort(key=lambda edge: edge.second)
            columns = []
            for losses in LOSSES.values():
                started = time.process_time()
                T = solved(odometry, kept, losses)
                seconds = time.process_time() - started
                columns.append(f"{true_error(Trajectory(drive.stamps_ns, T), truth).rmse_m:.2f} ({seconds:.1f})")
            told = f"{share:.0%}{' in stretches' if together else ''}"
            print(f"{told} | {len(kept)} | {' | '.join(columns)}", flush=True)


def loop(rng: np.random.Generator, first: int, second: int, T: np.ndarray) -> Edge:
    """An edge that says T (4, 4), with noise."""
    noise = make_transform(rng.normal(0, 0.04, 3), np.array([*rng.normal(0, 0.002, 3), 1.0]))
    return Edge(first, second, T @ noise, COVARIANCE, "metric")


def true_loops(true: np.ndarray, rng: np.random.Generator) -> list[Edge]:
    """One for every second frame that comes back to where the drive was."""
    found = []
    for second in range(60, len(true), 2):
        before = true[: second - 30]
        apart = np.linalg.norm(before[:, :2, 3] - true[second, :2, 3], axis=1)
        near = np.flatnonzero((apart < 5) & (np.abs(turn_between(yaw_of(before), yaw_of(true[second]))) < 0.5))
        if len(near):
            first = int(near[apart[near].argmin()])
            found.append(loop(rng, first, second, invert(true[first]) @ true[second]))
    return found


def false_loops(
    true: np.ndarray, odometry: np.ndarray, count: int, together: bool, rng: np.random.Generator
) -> list[Edge]:
    """Loops between frames that are far apart, `together` in stretches that agree with one another."""
    found: list[Edge] = []
    while len(found) < count:
        second = int(rng.integers(100, len(true) - STRETCH))
        first = int(rng.integers(0, second - 50))
        if np.linalg.norm((true[first] - true[second])[:2, 3]) < FALSE_FROM_M:
            continue
        at = planar_transform(rng.uniform(-5, 5), rng.uniform(-5, 5), rng.normal(0, 0.1))
        for n in range(STRETCH if together else 1):
            ways = [invert(odometry[end]) @ odometry[end + n] for end in (first, second)]
            found.append(loop(rng, first + n, second + n, invert(ways[0]) @ at @ ways[1]))
    return found[:count]


def solved(odometry: np.ndarray, loops: list[Edge], losses: tuple[str, ...]) -> np.ndarray:
    """Poses (N, 4, 4) with one loss after the other on the loops; without any by the product's optimiser."""
    steps = odometry_edges(np.arange(len(odometry)), odometry, OdometryNoise())
    if not losses:
        return optimise(odometry, np.arange(len(odometry)) == 0, [*steps, *loops]).poses
    base, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    for vertex, T in enumerate(odometry):
        values.insert(vertex, gtsam.Pose3(T))
    base.add(gtsam.PriorFactorPose3(0, gtsam.Pose3(odometry[0]), gtsam.noiseModel.Isotropic.Sigma(6, 1e-5)))
    for edge in steps:
        base.add(factor(edge, gtsam.noiseModel.Gaussian.Covariance(ordered(edge.covariance))))
    config = OptimiserConfig()
    wider = np.diag([config.measured_m**2] * 3 + [config.measured_rad**2] * 3)
    for name in losses:
        graph = gtsam.NonlinearFactorGraph(base)
        estimator: Any = getattr(gtsam.noiseModel.mEstimator, name)
        for edge in loops:
            noise = gtsam.noiseModel.Gaussian.Covariance(ordered(edge.covariance + wider))
            kind = estimator.Create() if name == "Null" else estimator.Create(WIDTH)
            graph.add(factor(edge, gtsam.noiseModel.Robust.Create(kind, noise)))
        values = gtsam.LevenbergMarquardtOptimizer(graph, values).optimize()
    return np.array([values.atPose3(vertex).matrix() for vertex in range(len(odometry))])


def factor(edge: Edge, noise: Any) -> Any:
    return gtsam.BetweenFactorPose3(edge.first, edge.second, gtsam.Pose3(edge.T), noise)


def ordered(covariance: np.ndarray) -> np.ndarray:
    """Rotations first."""
    order = [3, 4, 5, 0, 1, 2]
    return covariance[np.ix_(order, order)]


if __name__ == "__main__":
    main()
