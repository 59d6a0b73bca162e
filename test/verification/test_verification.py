import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, planar_transform, yaw_of
from vpr_ros.verification import VerificationConfig, verify_clouds

pytest.importorskip("small_gicp")


def street(seed, corridor=False):
    """Points of a ground, two façades and, but for the bare corridor, boxes and poles; in a world frame."""
    rng = np.random.default_rng(seed)
    n = 3000
    ground = np.column_stack([rng.uniform(-40, 40, n), rng.uniform(-8, 8, n), np.zeros(n)])
    walls = [np.column_stack([rng.uniform(-40, 40, n), np.full(n, y), rng.uniform(0, 6, n)]) for y in (-8.0, 8.0)]
    parts = [ground, *walls]
    for _ in range(0 if corridor else 25):
        centre, size = np.r_[rng.uniform(-35, 35), rng.uniform(-7, 7), 0], rng.uniform(0.5, 3.0, 3)
        faces = rng.uniform(-0.5, 0.5, (250, 3))
        axis = rng.integers(0, 3, 250)
        faces[np.arange(250), axis] = np.sign(faces[np.arange(250), axis]) * 0.5
        parts.append(centre + (faces + [0, 0, 0.5]) * size)
    return np.concatenate(parts)


def scan(world, T_world_base, seed):
    """What a LiDAR with 2 cm noise sees within 30 m, in its base frame; another sample of the points for each scan."""
    rng = np.random.default_rng(seed)
    T = invert(T_world_base)
    points = world[rng.uniform(size=len(world)) < 0.7] @ T[:3, :3].T + T[:3, 3]
    points = points[np.linalg.norm(points, axis=1) < 30]
    return (points + rng.normal(0, 0.02, points.shape)).astype(np.float32)


T_KEYFRAME = planar_transform(1.0, -0.5, 0.1)


@pytest.mark.parametrize(
    ("T_query", "T_init"),
    [
        (planar_transform(3.2, 0.7, 0.25), None),
        (planar_transform(-2.0, 1.5, 2.8), None),
        (planar_transform(3.2, 0.7, 0.25), planar_transform(2.0, 1.0, 0.1)),
        (planar_transform(3.2, 0.7, 0.25), planar_transform(-9.0, 6.0, -1.5)),
    ],
    ids=["near", "turned round", "good guess", "bad guess"],
)
def test_the_relative_pose_is_found(T_query, T_init):
    world = street(0)
    result = verify_clouds(scan(world, T_query, 1), scan(world, T_KEYFRAME, 2), T_init)
    error = invert(invert(T_KEYFRAME) @ T_query) @ result.T_keyframe_query
    assert result.accepted and result.reason == "registered" and result.agreement > 0.8
    assert np.linalg.norm(error[:3, 3]) < 0.1 and abs(yaw_of(error)) < 0.01
    covariance = result.covariance
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    assert covariance.shape == (6, 6) and (np.linalg.eigvalsh(covariance) > 0).all()
    assert np.linalg.norm(error[:3, 3]) < 4 * np.sqrt(np.trace(covariance[:3, :3]))


def test_another_street_is_not_verified():
    here, there = street(0), street(9) * [0.8, 1.35, 1.0]
    result = verify_clouds(scan(here, T_KEYFRAME, 1), scan(there, T_KEYFRAME, 2))
    assert not result.accepted and result.reason == "little_agreement"


def test_a_bare_corridor_does_not_tell_where_along_it():
    world = street(0, corridor=True)
    result = verify_clouds(scan(world, planar_transform(2, 0.5, 0), 1), scan(world, T_KEYFRAME, 2), np.eye(4))
    assert not result.accepted and result.reason == "degenerate"
    std = np.sqrt(np.diag(result.covariance)[:3])
    assert std[0] > 3 * std[1]


def test_an_offset_beyond_the_limit_is_no_match():
    world, near = street(0), VerificationConfig(max_distance_m=1.0)
    result = verify_clouds(scan(world, planar_transform(4, 0, 0), 1), scan(world, T_KEYFRAME, 2), config=near)
    assert not result.accepted and result.reason == "too_far"


def test_too_few_points():
    cloud = np.full((500, 3), np.nan)
    cloud[:50] = 1.0
    result = verify_clouds(cloud, scan(street(0), T_KEYFRAME, 2))
    assert (result.accepted, result.reason, result.T_keyframe_query) == (False, "too_few_points", None)
    assert verify_clouds(np.empty((0, 3)), cloud).reason == "too_few_points"


def test_without_small_gicp_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "small_gicp", None)
    with pytest.raises(VprError, match=r"\[lidar\]"):
        verify_clouds(np.zeros((500, 3)), np.zeros((500, 3)))
