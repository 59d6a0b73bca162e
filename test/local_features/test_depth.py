"""Depth at keypoints of a room of planes, whose true depth is a division, by cloud, depth image and two keyframes."""

from dataclasses import replace

import numpy as np
import pytest

from vpr_ros.geometry import invert, planar_transform, rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.local_features import LocalFeatures
from vpr_ros.local_features.depth import LEAST_KNOWN, depth_from_cloud, depth_from_image
from vpr_ros.local_features.triangulation import Triangulator, epipolar_distance, triangulated
from vpr_ros.sensors.cameras import Camera

R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
T_BASE_CAMERA = rigid_transform(roll_pitch_yaw_to_matrix(0.01, 0.03, -0.02) @ R_BODY_OPTICAL, [0.4, 0.05, 1.4])
CAMERAS = {
    "straight": Camera(np.array([[200.0, 0, 160], [0, 200, 120], [0, 0, 1]]), 320, 240, np.zeros(0)),
    "bent": Camera(np.array([[210.0, 0, 158], [0, 205, 122], [0, 0, 1]]), 320, 240, np.array([-0.2, 0.03, 0.001, 0])),
    "fisheye": Camera(
        np.array([[180.0, 0, 160], [0, 180, 120], [0, 0, 1]]), 320, 240, np.array([0.05, -0.01, 0, 0]), "equidistant"
    ),
}
# Surfaces n . p = d in the base: the ground, a wall ahead, one on the left.
PLANES = (np.array([0.0, 0, 1, 0]), np.array([1.0, 0.1, 0, 14]), np.array([0.1, 1.0, 0, 5]))


def depth_of(rays, T_base_camera, planes=PLANES):
    """True depth (N,) along the optical axis of rays (N, 3) with z = 1, the nearest surface ahead."""
    directions, origin = rays @ T_base_camera[:3, :3].T, T_base_camera[:3, 3]
    depths = []
    for plane in planes:
        with np.errstate(divide="ignore"):
            z = (plane[3] - origin @ plane[:3]) / (directions @ plane[:3])
        depths.append(np.where(z > 0, z, np.inf))
    return np.min(depths, axis=0)


def features_of(camera, count=300, seed=0, T=T_BASE_CAMERA):
    rng = np.random.default_rng(seed)
    pixels = rng.uniform([5, 5], [camera.width - 6, camera.height - 6], (count, 2)).astype(np.float32)
    descriptors = rng.normal(size=(count, 64)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return LocalFeatures("xfeat", (camera.width, camera.height), pixels, np.ones(count), descriptors, camera, T)


def true_depth(features, T_world_base=None, planes=PLANES):
    T = features.T_base_camera if T_world_base is None else T_world_base @ features.T_base_camera
    return depth_of(np.column_stack([features.rays, np.ones(len(features))]), T, planes)


def scan(planes=PLANES, beams=48, origin=(0.0, 0.0, 1.9)):
    """Points (M, 3) in the base that a LiDAR at `origin` sees."""
    elevation, azimuth = np.meshgrid(np.radians(np.linspace(-25, 15, beams)), np.radians(np.arange(-60, 60, 0.5)))
    e, a = elevation.ravel(), azimuth.ravel()
    directions = np.column_stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    origin = np.array(origin)
    reach = []
    for plane in planes:
        with np.errstate(divide="ignore"):
            t = (plane[3] - origin @ plane[:3]) / (directions @ plane[:3])
        reach.append(np.where(t > 0, t, np.inf))
    t = np.min(reach, axis=0)
    return (origin + directions * np.where(np.isfinite(t), t, 0)[:, None])[np.isfinite(t)].astype(np.float32)


@pytest.mark.parametrize("lens", CAMERAS)
def test_a_cloud_tells_the_depth_of_planes_through_every_lens(lens):
    features = features_of(CAMERAS[lens])
    depth, truth = depth_from_cloud(features, scan()), true_depth(features)
    known = np.isfinite(depth)
    assert known.mean() > 0.5 and depth.dtype == np.float32
    error = np.abs(depth - truth)[known] / truth[known]
    assert np.median(error) < 0.005 and (error > 0.1).mean() < 0.03


def test_one_beam_alone_is_no_plane_and_tells_depth_along_itself():
    """A scan of one line: only keypoints near it get a depth, and none is extrapolated across it."""
    features = features_of(CAMERAS["straight"], 2000)
    depth, truth = depth_from_cloud(features, scan(beams=2)), true_depth(features)
    known = np.isfinite(depth)
    assert 0.01 < known.mean() < 0.2
    assert np.quantile(np.abs(depth - truth)[known] / truth[known], 0.9) < 0.1


def test_where_a_near_surface_hides_a_far_one_nothing_is_told():
    """A board between camera and wall; the LiDAR beside it sees the wall behind, through which no keypoint looks."""
    camera = CAMERAS["straight"]
    features = features_of(camera, 3000)
    board = np.column_stack(
        [np.full(1200, 4.0), np.tile(np.linspace(-0.6, 0.6, 30), 40), np.repeat(np.linspace(0.9, 2, 40), 30)]
    )
    wall = scan(PLANES[1:2], beams=80)
    depth = depth_from_cloud(features, np.concatenate([board, wall]).astype(np.float32))
    T = invert(T_BASE_CAMERA)
    edge = (board @ T[:3, :3].T + T[:3, 3]) * [1, 1, 1]
    pixels, _ = camera.project(edge)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    on_board = ((features.pixels > low + 1) & (features.pixels < high - 1)).all(axis=1)
    assert on_board.sum() > 100
    told = on_board & np.isfinite(depth)
    near = np.abs(depth - 4.0 + 0.4) < 0.5
    assert not (told & ~near).any()  # the wall's depth is told for no keypoint of the board


def test_without_camera_or_its_pose_a_cloud_tells_nothing():
    features = features_of(CAMERAS["straight"], 5)
    assert depth_from_cloud(replace(features, camera=None), scan()) is None
    assert depth_from_cloud(replace(features, T_base_camera=None), scan()) is None
    for cloud in (np.empty((0, 3), np.float32), np.array([[-5.0, 0, 0]], np.float32)):
        assert np.isnan(depth_from_cloud(features, cloud)).all()


def naive_depth(image, pixels):
    found = []
    for x, y in pixels:
        column, row = int(np.round(x)), int(np.round(y))
        values = []
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                r, c = min(max(row + i, 0), image.shape[0] - 1), min(max(column + j, 0), image.shape[1] - 1)
                if np.isfinite(image[r, c]):
                    values.append(image[r, c])
        good = len(values) >= LEAST_KNOWN and max(values) - min(values) <= 0.1 * min(values)
        found.append(np.median(values) if good else np.nan)
    return np.array(found)


def test_a_depth_image_is_read_as_a_loop_reads_it():
    rng = np.random.default_rng(0)
    image = rng.uniform(2.0, 2.15, (24, 32)).astype(np.float32)
    image[:, 16:] *= 2
    image[rng.uniform(size=image.shape) < 0.2] = np.nan
    pixels = rng.uniform([-0.4, -0.4], [31.4, 23.4], (200, 2)).astype(np.float32)
    features = replace(features_of(CAMERAS["straight"], 200), pixels=pixels, size=(32, 24))
    depth = depth_from_image(features, image)
    np.testing.assert_allclose(depth, naive_depth(image, pixels), rtol=1e-6)
    assert 0.2 < np.isfinite(depth).mean() < 0.9
    assert np.isnan(depth_from_image(features, np.full((24, 32), np.nan, np.float32))).all()


# Triangulation


def seen_from(T_world_base, points, camera, noise_px=0.0, seed=0):
    """Features of world points (N, 3), descriptor i of point i."""
    T = invert(T_world_base @ T_BASE_CAMERA)
    pixels, seen = camera.project(points @ T[:3, :3].T + T[:3, 3])
    pixels = pixels + np.random.default_rng(seed).normal(0, noise_px, pixels.shape)
    descriptors = np.random.default_rng(9).normal(size=(len(points), 64)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    features = LocalFeatures(
        "xfeat",
        (camera.width, camera.height),
        np.nan_to_num(pixels).astype(np.float32),
        np.ones(len(points)),
        descriptors,
        camera,
        T_BASE_CAMERA,
    )
    return features.select(seen), points[seen] @ T[:3, :3].T + T[:3, 3]


@pytest.fixture
def world():
    rng = np.random.default_rng(4)
    return np.column_stack([rng.uniform(3, 22, 400), rng.uniform(-7, 7, 400), rng.uniform(0, 5, 400)])


@pytest.mark.parametrize("lens", CAMERAS)
def test_two_keyframes_tell_the_depth_of_points_exactly(world, lens):
    camera = CAMERAS[lens]
    earlier, _ = seen_from(np.eye(4), world, camera)
    T = planar_transform(2.0, 0.1, 0.02)
    now, points = seen_from(T, world, camera)
    depth, parallax = triangulated(now, earlier, invert(T_BASE_CAMERA) @ T @ T_BASE_CAMERA)
    known = np.isfinite(depth)
    assert known.sum() > 60 and (parallax[known] > 2).all() and (parallax[~known] == 0).all()
    np.testing.assert_allclose(depth[known], points[known, 2], rtol=0.01)


def test_a_motion_that_is_half_a_degree_off_is_corrected_by_the_matches(world):
    camera = CAMERAS["straight"]
    earlier, _ = seen_from(np.eye(4), world, camera, 0.2, 1)
    T = planar_transform(2.0, 0.0, 0.03)
    now, points = seen_from(T, world, camera, 0.2, 2)
    wrong = rigid_transform(roll_pitch_yaw_to_matrix(*np.radians([0.3, 0.5, -0.4])), np.zeros(3))
    T_odom = T @ T_BASE_CAMERA @ wrong @ invert(T_BASE_CAMERA)
    depth, _ = triangulated(now, earlier, invert(T_BASE_CAMERA) @ T_odom @ T_BASE_CAMERA)
    known = np.isfinite(depth)
    assert known.sum() > 60
    assert np.median(np.abs(depth - points[:, 2])[known] / points[known, 2]) < 0.05


def test_a_drive_compares_with_its_last_two_keyframes_and_forgets_another(world):
    camera, triangulator = CAMERAS["straight"], Triangulator()
    shares = []
    for i in range(4):
        T = planar_transform(1.5 * i, 0, 0)
        features, points = seen_from(T, world, camera)
        depth = triangulator.depth(features, T)
        assert (depth is None) == (i == 0)
        if depth is not None:
            known = np.isfinite(depth)
            shares.append(known.mean())
            np.testing.assert_allclose(depth[known], points[known, 2], rtol=0.01)
        triangulator.add(features, T)
    assert shares[1] > shares[0]  # twice the way: more parallax
    triangulator.reset()
    assert triangulator.depth(features, T) is None


def test_standing_still_and_what_is_not_known_tell_nothing(world):
    camera, triangulator = CAMERAS["straight"], Triangulator()
    features, _ = seen_from(np.eye(4), world, camera)
    triangulator.add(replace(features, camera=None), np.eye(4))
    triangulator.add(features, None)
    assert triangulator.depth(features, np.eye(4)) is None
    triangulator.add(features, np.eye(4))
    assert np.isnan(triangulator.depth(features, planar_transform(0.05, 0, 0))).all()
    assert triangulator.depth(replace(features, T_base_camera=None), np.eye(4)) is None


def test_the_epipolar_distance_is_sampsons():
    """Against the formula with one match at a time."""
    rng = np.random.default_rng(2)
    T = rigid_transform(roll_pitch_yaw_to_matrix(0.1, -0.2, 0.05), [0.3, -0.1, 1.0])
    rays, seen = (np.column_stack([rng.uniform(-1, 1, (20, 2)), np.ones(20)]) for _ in range(2))
    for distance, x, y in zip(epipolar_distance(T, rays, seen), rays, seen, strict=True):
        line = np.cross(T[:3, 3], T[:3, :3] @ x)
        back = np.array([y @ np.cross(T[:3, 3], T[:3, i]) for i in range(3)])
        assert distance == pytest.approx(y @ line / np.sqrt(line[0] ** 2 + line[1] ** 2 + back[0] ** 2 + back[1] ** 2))
