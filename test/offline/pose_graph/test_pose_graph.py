"""Pose graphs whose answer is known: laps of a square whose odometry drifts, closed by true and by false loops."""

import numpy as np
import pytest
from loop_graphs import ate_m, closures, false_closures, laps

from vpr_ros.geometry import make_transform, planar_transform
from vpr_ros.offline.pose_graph import Edge, OdometryNoise, OptimiserConfig, odometry_edges, optimise, seen_from_second
from vpr_ros.offline.pose_graph.optimising import _covariance

gtsam = pytest.importorskip("gtsam")

TRUE, ODOMETRY = laps()
STEPS = odometry_edges(np.arange(len(TRUE)), ODOMETRY, OdometryNoise())
FIRST_IS_FIXED = np.arange(len(TRUE)) == 0


def straightened(edges):
    return optimise(ODOMETRY, FIRST_IS_FIXED, [*STEPS, *edges])


def test_loops_take_the_drift_away_and_the_first_pose_stays():
    found = straightened(closures(TRUE, every=4))
    assert ate_m(ODOMETRY, TRUE) > 3.5
    assert ate_m(found.poses, TRUE) < 0.1 * ate_m(ODOMETRY, TRUE)
    assert found.trusted.all()
    np.testing.assert_allclose(found.poses[0], ODOMETRY[0], atol=1e-4)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in agreement"])
def test_false_loops_leave_no_trace(together):
    """A fifth of the loops, also such as agree with one another, as two streets that look alike make them."""
    right = closures(TRUE, every=4)
    wrong = false_closures(TRUE, ODOMETRY, len(right) // 4, together)
    edges = sorted([*right, *wrong], key=lambda edge: edge.second)
    found = straightened(edges)
    clean = straightened(right)
    np.testing.assert_allclose(found.poses[:, :3, 3], clean.poses[:, :3, 3], atol=0.02)
    false = np.array([any(edge is one for one in wrong) for edge in edges])
    assert (found.trusted[len(STEPS) :] == ~false).all()


def test_without_loops_odometry_stays():
    np.testing.assert_allclose(straightened([]).poses, ODOMETRY, atol=1e-4)


def test_fixed_poses_stay_and_the_others_follow():
    """The last pose is known, too: what lies between bends by metres and not more at one place than at another."""
    fixed = np.isin(np.arange(50), (0, 49))
    start = ODOMETRY[:50].copy()
    start[49] = TRUE[49]
    found = optimise(start, fixed, STEPS[:49]).poses
    np.testing.assert_allclose(found[[0, 49]], start[[0, 49]], atol=1e-4)
    assert np.linalg.norm(found[25, :3, 3] - TRUE[25, :3, 3]) < np.linalg.norm((ODOMETRY - TRUE)[25, :3, 3]) + 0.1


def test_odometry_is_trusted_by_the_root_of_its_way_and_turn():
    steps = [planar_transform(4.0, 0.0, 0.0), planar_transform(0.0, 0.0, 2.0), np.eye(4)]
    T = [np.eye(4)]
    for step in steps:
        T.append(T[-1] @ step)
    noise = OdometryNoise(drift_m=0.1, drift_rad=0.01, turn_rad=0.05, tremble_m=0.02, tremble_rad=0.003)
    edges = odometry_edges(np.array([5, 6, 9, 7]), np.array(T), noise)
    assert [(e.first, e.second, e.kind) for e in edges] == [(5, 6, "odometry"), (6, 9, "odometry"), (9, 7, "odometry")]
    for edge, step in zip(edges, steps, strict=True):
        np.testing.assert_allclose(edge.T, step, atol=1e-12)
        metres, turn = float(np.hypot(*step[:2, 3])), abs(float(np.arctan2(step[1, 0], step[0, 0])))
        variances = [0.02**2 + 0.1**2 * metres] * 3 + [0.003**2 + 0.01**2 * metres + 0.05**2 * turn] * 3
        np.testing.assert_allclose(edge.covariance, np.diag(variances), atol=1e-12)


def test_covariances_are_turned_into_gtsams_axes_and_order():
    """By what a small motion in the first's axes at the second's position is to gtsam, one axis at a time."""
    T = make_transform([3.0, -2.0, 0.5], [0.1, -0.2, 0.6, 0.7])
    root = np.random.default_rng(0).normal(0, 1, (6, 6))
    covariance = root @ root.T
    jacobian, step = np.zeros((6, 6)), 1e-6
    for axis in range(6):
        moved = T.copy()
        if axis < 3:
            moved[axis, 3] += step
        else:
            moved[:3, :3] = gtsam.Rot3.Expmap(step * np.eye(3)[axis - 3]).matrix() @ T[:3, :3]
        jacobian[:, axis] = gtsam.Pose3(T).localCoordinates(gtsam.Pose3(moved)) / step
    edge = Edge(0, 1, T, seen_from_second(T, covariance), "metric")
    for widened in (0.0, 0.5):
        config = OptimiserConfig(measured_m=widened, measured_rad=widened)
        expected = jacobian @ covariance @ jacobian.T + widened**2 * np.eye(6)
        np.testing.assert_allclose(_covariance(edge, config), expected, atol=1e-4)
