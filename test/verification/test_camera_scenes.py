"""Two pictures without depth: one scene or not, rotation and direction where cameras are known, never a distance."""

from dataclasses import replace

import numpy as np
import pytest
from support.landmark_world import BENT, FISHEYE, FORWARD, PINHOLE, LandmarkWorld

from vpr_ros.geometry import planar_transform, rotation_angle
from vpr_ros.verification import CameraVerificationConfig, verify_features

T_KEYFRAME = planar_transform(0.0, 0.2, -0.04)
T_QUERY = planar_transform(0.8, -1.6, 0.15, 0.1)


@pytest.mark.parametrize("scale", [1.0, 7.0])
@pytest.mark.parametrize("camera", [PINHOLE, BENT, FISHEYE], ids=["pinhole", "distorted", "fisheye"])
def test_rotation_and_direction_without_a_distance(camera, scale):
    """A world that is larger in all its lengths gives the same pictures: nothing in the answer may tell them apart."""
    world = LandmarkWorld(1)
    T, mounted = T_QUERY.copy(), FORWARD.copy()
    T[:3, 3], mounted[:3, 3] = scale * T[:3, 3], scale * mounted[:3, 3]
    T_keyframe = T_KEYFRAME.copy()
    T_keyframe[:3, 3] *= scale
    large = LandmarkWorld(1, points=scale * world.points)
    keyframe = large.seen_from(T_keyframe, 2, T_base_camera=mounted)
    found = verify_features(large.seen_from(T_keyframe @ T, 3, camera, mounted), keyframe)
    assert found.accepted and found.reason == "same_scene" and found.agreement > 0.5
    assert not found.metric and found.T_keyframe_query is None and found.covariance is None
    assert np.degrees(rotation_angle(found.R_keyframe_query, T[:3, :3])) < 1.0
    between = (T @ mounted)[:3, 3] - mounted[:3, 3]
    assert found.direction @ between / np.linalg.norm(between) > 0.98
    assert np.linalg.norm(found.direction) == pytest.approx(1.0)


def test_a_camera_that_only_turned_has_no_direction():
    world = LandmarkWorld(2)
    turn = planar_transform(0.0, 0.0, 0.2)
    ahead = FORWARD.copy()
    ahead[:3, 3] = 0.0  # about its own centre
    keyframe = world.seen_from(np.eye(4), 1, T_base_camera=ahead, noise_px=0.2)
    found = verify_features(world.seen_from(turn, 2, T_base_camera=ahead, noise_px=0.2), keyframe)
    assert found.accepted and found.direction is None
    assert np.degrees(rotation_angle(found.R_keyframe_query, turn[:3, :3])) < 1.0


def test_another_scene_is_refused():
    here, there = LandmarkWorld(3), LandmarkWorld(4)
    keyframe = here.seen_from(T_KEYFRAME, 1)
    assert verify_features(there.seen_from(T_QUERY, 2), keyframe).reason == "few_matches"
    # As many matches, but of points that stand elsewhere: their looks agree, no geometry does.
    shuffled = LandmarkWorld(3, points=np.random.default_rng(0).permutation(here.points))
    found = verify_features(shuffled.seen_from(T_QUERY, 2), keyframe)
    assert not found.accepted and found.reason == "other_scene"
    assert found.R_keyframe_query is None and found.direction is None


def test_one_object_that_looks_the_same_is_no_place():
    """Two streets share a mast and nothing else: its points agree, whether their depth is known or not."""
    rng = np.random.default_rng(6)
    mast = rng.uniform([11, 2, 1], [12, 3, 4], (200, 3))
    one, other = LandmarkWorld(6), LandmarkWorld(7)
    alike = LandmarkWorld(8, points=mast).looks
    for world in (one, other):
        world.points, world.looks = np.vstack([mast, world.points]), np.vstack([alike, world.looks])
    for depth_noise in (None, 0.01):
        keyframe = one.seen_from(T_KEYFRAME, 1, depth_noise=depth_noise, wrong=0.0)
        found = verify_features(other.seen_from(T_QUERY, 2, wrong=0.0), keyframe)
        assert not found.accepted and found.reason == "one_object" and not found.metric
        loose = CameraVerificationConfig(min_pose_cells=1, min_scene_cells=1)
        assert verify_features(other.seen_from(T_QUERY, 2, wrong=0.0), keyframe, config=loose).accepted


def test_without_intrinsics_only_the_scene_is_told():
    world = LandmarkWorld(5)
    keyframe, query = world.seen_from(T_KEYFRAME, 1), world.seen_from(T_QUERY, 2)
    for a, b in ((replace(query, camera=None), keyframe), (query, replace(keyframe, camera=None))):
        found = verify_features(a, b)
        assert found.accepted and found.R_keyframe_query is None and found.direction is None
    other = LandmarkWorld(6).seen_from(T_QUERY, 3)
    assert not verify_features(replace(other, camera=None), keyframe).accepted
    assert not verify_features(replace(query, kind="sift"), keyframe).accepted  # not comparable at all
