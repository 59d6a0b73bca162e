"""Poses from keypoints with depth: a known pose is found, its covariance is honest, and what fixes none is refused."""

from dataclasses import replace

import numpy as np
import pytest
from support.landmark_world import BENT, FISHEYE, FORWARD, PINHOLE, LandmarkWorld

from vpr_ros.geometry import invert, matrix_to_rotvec, planar_transform, rigid_transform, rotvec_to_matrix
from vpr_ros.local_features import mutual_matches
from vpr_ros.verification import CameraVerificationConfig, Neighbour, verify_features
from vpr_ros.verification.landmarks import sightings
from vpr_ros.verification.pose import Sightings, lens_slopes, refine_pose, solve_pose

T_KEYFRAME = planar_transform(0.5, -0.3, 0.05)
TILTED = rigid_transform(rotvec_to_matrix(np.array([0.03, -0.05, 0.2])), np.array([2.5, 0.9, 0.15]))


def error_of(found: np.ndarray, T_true: np.ndarray) -> np.ndarray:
    """(6,) metres and radians in the axes of the reference, at the query."""
    return np.concatenate([found[:3, 3] - T_true[:3, 3], matrix_to_rotvec(found[:3, :3] @ T_true[:3, :3].T)])


@pytest.mark.parametrize("camera", [PINHOLE, BENT, FISHEYE], ids=["pinhole", "distorted", "fisheye"])
def test_a_known_pose_is_found_among_wrong_matches(camera):
    world = LandmarkWorld(1)
    aside = FORWARD @ rigid_transform(rotvec_to_matrix(np.array([0.05, 0.1, 0.02])), np.array([0.1, 0.0, 0.2]))
    keyframe = world.seen_from(T_KEYFRAME, 2, depth_noise=0.01)
    query = world.seen_from(T_KEYFRAME @ TILTED, 3, camera, aside, wrong=0.4)
    found = verify_features(query, keyframe)
    assert found.metric and found.method == "camera" and found.reason == "posed"
    error = error_of(found.T_keyframe_query, TILTED)
    assert np.linalg.norm(error[:3]) < 0.1 and np.degrees(np.linalg.norm(error[3:])) < 0.5
    assert len(found.places) > 50 and ((found.places > 0) & (found.places < 1)).all()
    # Each pair of places is one point of the world: seen again from the true poses, it falls on the query's place.
    pixels = found.places * [640, 480, 640, 480] - 0.5
    depth = {tuple(np.round(p, 2)): d for p, d in zip(keyframe.pixels.tolist(), keyframe.depth_m, strict=True)}
    for at in pixels[:10]:
        z = depth[tuple(np.round(at[2:], 2))]
        seen = FORWARD @ np.r_[np.r_[keyframe.camera.rays(at[None, 2:])[0], 1] * z, 1]
        again, _ = camera.project((invert(TILTED @ aside) @ seen)[None, :3])
        assert np.linalg.norm(again[0] - at[:2]) < 8


def test_the_slopes_are_those_of_finite_differences():
    """The same pose by a general optimiser on naive residuals: the information is that of its numerical slopes."""
    from scipy.optimize import least_squares

    rng = np.random.default_rng(0)
    points = rng.uniform([4, -6, -1], [30, 6, 6], (40, 3))
    T_true = TILTED

    def project(T: np.ndarray) -> np.ndarray:
        inside = (points - (T @ FORWARD)[:3, 3]) @ (T @ FORWARD)[:3, :3]
        return PINHOLE.project(inside)[0]

    pixels = project(T_true) + rng.normal(0, 0.5, (40, 2))

    def residuals(step: np.ndarray) -> np.ndarray:
        moved = rigid_transform(rotvec_to_matrix(step[3:]) @ T_true[:3, :3], T_true[:3, 3] + step[:3])
        return (project(moved) - pixels).ravel()

    naive = least_squares(residuals, np.zeros(6), method="lm", xtol=1e-12)
    rays = PINHOLE.rays(pixels)
    along = np.zeros_like(points)  # depth is exact: the noise is the pixel's alone
    seen = Sightings(points, along, np.ones(40), rays, lens_slopes(PINHOLE, pixels), 1.0)
    near = TILTED @ planar_transform(0.03, -0.02, 0.003)
    found = refine_pose(seen, near, FORWARD)
    assert found is not None and found.inliers.all()
    # Both pull a little differently at the worst residuals; the estimates agree to a part of their own deviation.
    deviation = np.sqrt(np.diag(0.25 * np.linalg.inv(naive.jac.T @ naive.jac)))
    assert (np.abs(error_of(found.T_map_base, T_true) - naive.x) < deviation).all()
    widened = max(1.0, 40 / 20)  # more matches than count as independent
    expected = widened * 1.2**2 * np.linalg.inv(naive.jac.T @ naive.jac)
    np.testing.assert_allclose(found.covariance, expected, rtol=0.05, atol=1e-7)


def test_the_covariance_is_that_of_many_trials():
    """Normalised error squared by Monte Carlo: six on average, were all noise independent and exactly as assumed."""
    squared = []
    for seed in range(60):
        world = LandmarkWorld(1000 + seed, 250)
        keyframe = world.seen_from(T_KEYFRAME, 2 * seed, depth_noise=0.03, noise_px=0.7, wrong=0.1)
        query = world.seen_from(T_KEYFRAME @ TILTED, 2 * seed + 1, noise_px=0.7, wrong=0.1)
        neighbour = Neighbour(keyframe, np.eye(4))
        pairs = mutual_matches(query, keyframe)
        found = solve_pose(sightings(query, [(neighbour, pairs)]), FORWARD)
        assert found is not None
        error = error_of(found.T_map_base, TILTED)
        # Without the widening for errors that neighbours share, which these points do not.
        shared = max(1.0, found.inliers.sum() / 20)
        squared.append(shared * error @ np.linalg.solve(found.covariance, error))
    assert 3.0 < np.mean(squared) < 12.0


def test_points_of_neighbouring_keyframes_count_alike():
    world = LandmarkWorld(5, 150)
    T_next = planar_transform(2.0, 0.0, 0.02)
    keyframe = world.seen_from(T_KEYFRAME, 1, depth_noise=0.02)
    beside = world.seen_from(T_KEYFRAME @ T_next, 2, depth_noise=0.02)
    query = world.seen_from(T_KEYFRAME @ TILTED, 3)
    alone, both = (verify_features(query, keyframe, n) for n in ((), (Neighbour(beside, T_next),)))
    assert alone.metric and both.metric
    assert np.trace(both.covariance[:3, :3]) <= np.trace(alone.covariance[:3, :3])
    assert np.linalg.norm(error_of(both.T_keyframe_query, TILTED)[:3]) < 0.1
    # And where the matched keyframe has no depth itself, its neighbour's is enough.
    only = verify_features(query, replace(keyframe, depth_m=None), (Neighbour(beside, T_next),))
    assert only.metric and len(only.places) == 0


def test_another_place_is_refused_and_one_far_away_is_none():
    here, there = LandmarkWorld(1), LandmarkWorld(2)
    keyframe = here.seen_from(T_KEYFRAME, 1, depth_noise=0.01)
    other = verify_features(there.seen_from(T_KEYFRAME, 2), keyframe)
    assert not other.accepted and not other.metric and other.T_keyframe_query is None
    near = CameraVerificationConfig(max_distance_m=1.0)
    far = verify_features(here.seen_from(T_KEYFRAME @ TILTED, 3), keyframe, config=near)
    assert not far.accepted and far.reason == "too_far"


def test_points_on_one_line_fix_no_pose():
    line = np.column_stack([np.full(200, 12.0), np.linspace(-6, 6, 200), np.full(200, 2.0)])
    world = LandmarkWorld(3, 200, line)
    keyframe = world.seen_from(T_KEYFRAME, 1, depth_noise=0.01, wrong=0.0)
    found = verify_features(world.seen_from(T_KEYFRAME @ planar_transform(1, 0, 0), 2, wrong=0.0), keyframe)
    assert not found.metric and found.T_keyframe_query is None and found.covariance is None


def test_few_points_or_no_mounting_measure_nothing():
    world = LandmarkWorld(4)
    keyframe = world.seen_from(T_KEYFRAME, 1, depth_noise=0.01)
    query = world.seen_from(T_KEYFRAME @ TILTED, 2)
    few = np.where(np.arange(len(keyframe)) < 8, keyframe.depth_m, np.nan).astype(np.float32)
    for a, b in (
        (query, replace(keyframe, depth_m=few)),
        (replace(query, T_base_camera=None), keyframe),
        (query, replace(keyframe, T_base_camera=None)),
        (replace(query, camera=None), keyframe),
    ):
        found = verify_features(a, b)
        assert found.accepted and found.reason == "same_scene" and not found.metric
        assert found.T_keyframe_query is None and found.covariance is None
