"""Drives with a LiDAR along a street of boxes and poles."""

import numpy as np

from vpr_ros.geometry import invert, planar_transform
from vpr_ros.offline.crossing import ScannedDrive

LENGTH_M, STEP_M = 50.0, 2.0


def street(seed):
    """Points of the ground, boxes and poles on both sides of the x axis, world frame, metres."""
    rng = np.random.default_rng(seed)
    parts = [np.column_stack([rng.uniform(-30, LENGTH_M + 30, 2500), rng.uniform(-15, 15, 2500), np.zeros(2500)])]
    for _ in range(70):
        side = rng.choice([-1, 1])
        centre = np.r_[rng.uniform(-30, LENGTH_M + 30), side * rng.uniform(4.0, 14.0), 0]
        faces = rng.uniform(-0.5, 0.5, (110, 3))
        axis = rng.integers(0, 3, 110)
        faces[np.arange(110), axis] = np.sign(faces[np.arange(110), axis]) * 0.5
        parts.append(centre + (faces + [0, 0, 0.5]) * rng.uniform([0.5, 0.5, 1], [6, 4, 8]))
    return np.concatenate(parts)


def drive(world, seed, across_m=0.0, back=False, scale=1.0, odometry=True):
    """Clouds along the street, true poses, and odometry of which every step is `scale` times too long."""
    rng = np.random.default_rng(seed)
    at = np.arange(0, LENGTH_M + 0.1, STEP_M)
    T = np.array([planar_transform(x, across_m, 0.0) for x in at])
    if back:
        T = np.array([planar_transform(x, across_m, np.pi) for x in at[::-1]])
    clouds = []
    for pose in T:
        near = world[np.abs(world[:, 0] - pose[0, 3]) < 28]
        seen = near[rng.random(len(near)) < 0.7]
        back_again = invert(pose)
        points = seen @ back_again[:3, :3].T + back_again[:3, 3]
        clouds.append((points + rng.normal(0, 0.02, points.shape)).astype(np.float32))
    T_odom = invert(T[0]) @ T
    T_odom[:, :3, 3] *= scale
    return ScannedDrive(clouds, np.arange(len(T)) * 10**9, T_odom if odometry else None), T
