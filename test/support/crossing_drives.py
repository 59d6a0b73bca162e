"""Two drifting drives along one line and true constraints between them: pose graphs whose answer is known."""

import numpy as np
from scanned_streets import drifting

from vpr_ros.geometry import invert, planar_transform
from vpr_ros.offline.crossing import Constraint, Course, Crossing


def crossing_of(first, second, tied, noise_m=0.03, seed=0, scales=(1.02, 0.98)):
    """Crossing of true poses first (N, 4, 4) and second (M, 4, 4), whose odometries drift by other scales.

    `tied` rows of the second drive have a constraint with the nearest row of the first one.
    """
    rng = np.random.default_rng(seed)
    apart = np.linalg.norm(second[:, None, :3, 3] - first[None, :, :3, 3], axis=2)
    constraints = []
    for row in tied:
        at = int(apart[row].argmin())
        T = invert(first[at]) @ second[row] @ planar_transform(*rng.normal(0, noise_m, 2), rng.normal(0, 0.002))
        constraints.append(Constraint(at, int(row), T, np.diag([noise_m**2] * 3 + [0.002**2] * 3), 0.9, 0.9, 9, 1.0))
    courses = [
        course_along(drifting(poses, seed=seed + n, scale=scale), poses)
        for n, (poses, scale) in enumerate(zip((first, second), scales, strict=True))
    ]
    return Crossing(tuple(constraints), *courses, len(constraints), len(constraints))


def course_along(odometry, poses):
    """One part without breaks."""
    steps_m = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return Course(odometry, np.r_[0.0, np.cumsum(steps_m)], np.zeros(len(poses), int))


def near_errors_m(first, second, T_first, T_second, near_m=4.0):
    """Metres (K,) between the estimated and the true relative poses of near frames: for each row of the second drive
    within `near_m` of the first one, all rows of the first one that are as near."""
    apart = np.linalg.norm(second[:, None, :3, 3] - first[None, :, :3, 3], axis=2)
    j, i = np.nonzero(apart <= near_m)
    error = invert(invert(first[i]) @ second[j]) @ (invert(T_first[i]) @ T_second[j])
    return np.linalg.norm(error[:, :3, 3], axis=1)
