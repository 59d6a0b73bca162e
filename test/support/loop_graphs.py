"""Laps of a square with odometry that drifts, loops between the laps, and false loops: graphs whose answer is known."""

import numpy as np
from scanned_streets import drifting, drive_on

from vpr_ros.geometry import invert, planar_transform
from vpr_ros.offline.pose_graph import Edge

SQUARE = np.array([(0, 0), (60, 0), (60, 40), (0, 40), (0, 0)])
MEASURED = np.diag([0.03**2] * 3 + [0.003**2] * 3)


def laps(count=3, step_m=2.0, seed=4):
    """True poses (N, 4, 4) of `count` laps and their odometry."""
    line = np.concatenate([SQUARE, *([SQUARE[1:]] * (count - 1))])
    true = drive_on(line, 0, 200 * count, step_m)
    return true, true[0] @ drifting(true, seed, scale=1.005, yaw_rad=0.012)


def closures(true, every=1, lap=100, seed=0):
    """Edges from the first lap to every `every`-th frame of the later ones."""
    rng = np.random.default_rng(seed)
    return [measured(rng, true, n % lap, n) for n in range(lap, len(true), every)]


def measured(rng, true, first, second):
    """The true pose of `second` in `first`, with noise as MEASURED says."""
    T = invert(true[first]) @ true[second] @ planar_transform(*rng.normal(0, 0.03, 2), rng.normal(0, 0.003))
    return Edge(first, second, T, MEASURED, "metric")


def false_closures(true, odometry, count, together=False, seed=1):
    """Edges between frames that are far apart and claim to be near; `together` in stretches of ten that agree."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < count:
        first, second = sorted(rng.integers(0, len(true) - 10, 2).tolist())
        if np.linalg.norm((true[first] - true[second])[:3, 3]) < 25:
            continue
        at = planar_transform(*rng.uniform(-5, 5, 2), rng.normal(0, 0.1))
        for n in range(10 if together else 1):
            steps = [invert(odometry[end]) @ odometry[end + n] for end in (first, second)]
            found.append(Edge(first + n, second + n, invert(steps[0]) @ at @ steps[1], MEASURED, "metric"))
    return found[:count]


def ate_m(poses, true):
    """Root mean square distance after the best rigid alignment, by Kabsch's formula."""
    a, b = poses[:, :3, 3], true[:, :3, 3]
    middle_a, middle_b = a.mean(axis=0), b.mean(axis=0)
    u, _, vt = np.linalg.svd((b - middle_b).T @ (a - middle_a))
    R = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return float(np.sqrt((((a - middle_a) @ R.T + middle_b - b) ** 2).sum(axis=1).mean()))
