"""A spinning LiDAR: one scan by ray casting, with dropouts, range noise, and returns from falling snow.

A `hard_lidar` adds disturbances of real drives: an unlevel mounting, motion within the revolution, and lorries and
buses that hide the street.
"""

import numpy as np

from vpr_ros.training.synthetic.conditions import LidarConfig
from vpr_ros.training.synthetic.world.scene import Scene


def lidar_extrinsics(lidar: LidarConfig) -> np.ndarray:
    """T_base_lidar, 4x4: lidar_link sits above base_link with the same axes (x forward, y left, z up)."""
    T = np.eye(4)
    T[2, 3] = lidar.height_m
    return T


def mounting_error(lidar: LidarConfig) -> np.ndarray:
    """R (3, 3) from the real sensor's axes to those of lidar_link: roll, then pitch, then twist about z."""
    roll, pitch, twist = np.radians([*lidar.tilt_deg, lidar.twist_deg])
    cr, sr, cp, sp, ct, st = np.cos(roll), np.sin(roll), np.cos(pitch), np.sin(pitch), np.cos(twist), np.sin(twist)
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[ct, -st, 0], [st, ct, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def passing_vehicles(mean: float, rng: np.random.Generator) -> np.ndarray:
    """Boxes (k, 2, 3) of lorries and buses as low and high corners in base_link, metres: beside, ahead or behind."""
    boxes = []
    for _ in range(rng.poisson(mean)):
        length, width, height = rng.uniform(6, 13), rng.uniform(2.2, 2.6), rng.uniform(2.6, 3.9)
        if rng.random() < 0.7:
            x, y = rng.uniform(-16, 16), rng.choice([-1, 1]) * rng.uniform(2.9, 4.5)
        else:
            x, y = rng.choice([-1, 1]) * (rng.uniform(4, 16) + length / 2), rng.uniform(-0.5, 0.5)
        boxes.append([[x - length / 2, y - width / 2, 0.4], [x + length / 2, y + width / 2, height]])
    return np.array(boxes, dtype=np.float64).reshape(-1, 2, 3)


def box_hits(boxes: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Distance (n,) along rays (n, 3), (n, 3) to the nearest of boxes (k, 2, 3), inf where none is hit."""
    nearest = np.full(len(directions), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for low, high in boxes:
            a, b = (low - origins) / directions, (high - origins) / directions
            enter, leave = np.minimum(a, b).max(1), np.maximum(a, b).min(1)
            nearest = np.where((enter <= leave) & (enter > 0), np.minimum(nearest, enter), nearest)
    return nearest


def render_scan(scene: Scene, lidar: LidarConfig, T_city_base: np.ndarray, seed) -> np.ndarray:
    """One scan as points (N, 3) float32 in lidar_link, metres; `seed` (ints) decides noise, dropouts and vehicles.

    The points are as the robot computes them: a mounting error or motion within the revolution is not corrected.
    """
    rng = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(lidar.low_deg, lidar.high_deg, lidar.beams))
    azimuth = np.arange(lidar.azimuths) * 2 * np.pi / lidar.azimuths + rng.uniform(0, 2 * np.pi / lidar.azimuths)
    e, a = (g.ravel() for g in np.meshgrid(elevation, azimuth))
    local = np.column_stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)]).astype(np.float32)
    T = T_city_base @ lidar_extrinsics(lidar)
    T[:3, :3] = T[:3, :3] @ mounting_error(lidar)
    rays, origin = local @ T[:3, :3].T, T[:3, 3]
    if lidar.skew_m:
        # Rays of one revolution leave from a moving vehicle.
        origin = origin + ((a / (2 * np.pi) - 0.5) * lidar.skew_m)[:, None] * T_city_base[:3, 0]
    hits = scene.cast(origin, rays.astype(np.float32))
    t = hits["t_hit"].copy()
    facing = np.abs(np.einsum("ij,ij->i", hits["primitive_normals"], rays))
    if lidar.vehicles:
        boxes = passing_vehicles(lidar.vehicles, np.random.default_rng([*np.atleast_1d(seed), 7]))
        R, base = T_city_base[:3, :3], np.broadcast_to(origin, rays.shape) - T_city_base[:3, 3]
        t = np.minimum(t, box_hits(boxes, base @ R, rays @ R).astype(np.float32))
    # Far, grazing and dark surfaces return less light.
    lost = rng.random(len(t)) < lidar.dropout + 0.35 * (t / lidar.range_m) ** 2 * (1 - 0.6 * facing)
    t += rng.normal(0, lidar.noise_m, len(t)).astype(np.float32)
    weather = scene.conditions.weather
    if weather in ("snow", "rain", "fog"):
        share = {"snow": 0.05, "rain": 0.008, "fog": 0.02}[weather] * lidar.weather_returns
        near = rng.exponential(3.5, len(t)).astype(np.float32) + lidar.min_range_m
        flake = (rng.random(len(t)) < share) & (near < t)
        t = np.where(flake, near, t)
        lost &= ~flake
    reach = lidar.range_m * (0.6 if weather == "fog" else 1.0)
    keep = ~lost & np.isfinite(t) & (t < reach) & (t > lidar.min_range_m)
    return (local[keep] * t[keep, None]).astype(np.float32)
