"""Streets of boxes and what a LiDAR sees of them, made in milliseconds: drives for what compares clouds."""

import numpy as np

from vpr_ros.geometry import invert, planar_transform

RANGE_M = 30.0


def box_street(line, seed, equal=False, spacing_m=6.0):
    """Points (N, 3) of a ground and of houses on both sides of a line (K, 2); `equal` ones stand at equal distances."""
    rng = np.random.default_rng(seed)
    at = np.arange(0, lengths(line)[-1], spacing_m)
    xy, heading = on_line(line, at)
    parts = []
    for (x, y), turn in zip(xy, heading, strict=True):
        across = np.array([-np.sin(turn), np.cos(turn)])
        parts.append(ground(rng, (x, y), spacing_m))
        for side in (-1, 1):
            size = np.array([4.0, 3.0, 5.0]) if equal else rng.uniform([1.0, 1.0, 1.5], [5.0, 5.0, 9.0])
            away = 9.0 if equal else rng.uniform(6.0, 11.0)
            along = 0.0 if equal else rng.uniform(-2.0, 2.0)
            centre = np.array([x, y]) + side * away * across + along * np.array([across[1], -across[0]])
            parts.append(box(rng, centre, size, turn))
    return np.concatenate(parts)


def ground(rng, centre, length_m):
    n = 120
    return np.column_stack([rng.uniform(-length_m, length_m, (n, 2)) + centre, rng.normal(0, 0.01, n)])


def box(rng, centre, size, turn):
    """Points on the faces of an upright box that stands on the ground."""
    n = 260
    faces = rng.uniform(-0.5, 0.5, (n, 3))
    axis = rng.integers(0, 2, n)
    faces[np.arange(n), axis] = np.sign(faces[np.arange(n), axis]) * 0.5
    points = (faces + [0, 0, 0.5]) * size
    c, s = np.cos(turn), np.sin(turn)
    return np.column_stack([points[:, :2] @ np.array([[c, s], [-s, c]]) + centre, points[:, 2]])


def lengths(line):
    return np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]


def on_line(line, at):
    """Positions (N, 2) and headings (N,) at metres (N,) along a line (K, 2)."""
    line, along = np.asarray(line, float), lengths(line)
    piece = np.clip(np.searchsorted(along, at, side="right") - 1, 0, len(line) - 2)
    step = line[piece + 1] - line[piece]
    xy = line[piece] + step * ((at - along[piece]) / np.linalg.norm(step, axis=1))[:, None]
    return xy, np.arctan2(step[:, 1], step[:, 0])


def drive_on(line, from_m, to_m, step_m=2.0, beside_m=0.0):
    """Poses (N, 4, 4) along a line, from its metre `from_m` to `to_m`; backwards where that is less."""
    sign = np.sign(to_m - from_m)
    xy, heading = on_line(line, np.arange(from_m, to_m, sign * step_m))
    heading = heading if sign > 0 else heading + np.pi
    left = np.column_stack([-np.sin(heading), np.cos(heading)])
    return np.array([planar_transform(*p, a) for p, a in zip(xy + beside_m * left, heading, strict=True)])


def scans(world, poses, seed):
    """Clouds in the base frames of poses: within RANGE_M, two thirds of the points each time, 2 cm noise."""
    rng = np.random.default_rng(seed)
    clouds = []
    for T in invert(poses):
        points = world[rng.uniform(size=len(world)) < 0.67] @ T[:3, :3].T + T[:3, 3]
        points = points[np.linalg.norm(points, axis=1) < RANGE_M]
        clouds.append((points + rng.normal(0, 0.02, points.shape)).astype(np.float32))
    return clouds


def drifting(poses, seed, scale=1.01, yaw_rad=0.004):
    """Odometry (N, 4, 4) from the identity that lengthens every step and turns at random."""
    rng = np.random.default_rng(seed)
    T = [np.eye(4)]
    for step in invert(poses[:-1]) @ poses[1:]:
        moved = step.copy()
        moved[:3, 3] *= scale
        T.append(T[-1] @ moved @ planar_transform(0, 0, rng.normal(0, yaw_rad)))
    return np.array(T)
