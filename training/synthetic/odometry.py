"""Wheel odometry that drifts: a scale error, a slowly wandering yaw bias and white noise, integrated from the truth."""

import numpy as np

from vpr_ros.geometry import invert, planar_transform, yaw_of


def drifting_odometry(
    T_relative: np.ndarray, seed, scale_sigma: float = 0.012, yaw_sigma_rad_per_sqrt_m: float = 0.0022
) -> np.ndarray:
    """T_odom_base (N, 4, 4), starting at the identity, from true steps `T_relative` (N - 1, 4, 4).

    Each step is shortened or lengthened by one scale error and turned by a random walk in yaw.
    """
    rng = np.random.default_rng(seed)
    scale = 1 + rng.normal(0, scale_sigma)
    T = [np.eye(4)]
    for step in T_relative:
        length = np.linalg.norm(step[:2, 3])
        yaw = yaw_of(step) + rng.normal(0, yaw_sigma_rad_per_sqrt_m) * np.sqrt(length)
        xy = step[:2, 3] * scale + rng.normal(0, 0.003, 2) * np.sqrt(length)
        T.append(T[-1] @ planar_transform(xy[0], xy[1], yaw))
    return np.array(T)


def steps(T: np.ndarray) -> np.ndarray:
    """Relative motions (N - 1, 4, 4) of poses (N, 4, 4)."""
    return invert(T[:-1]) @ T[1:]
