"""A spinning LiDAR: one scan by ray casting, with dropouts, range noise, and returns from falling snow."""

import numpy as np

from .conditions import LidarConfig
from .scene import Scene


def lidar_extrinsics(lidar: LidarConfig) -> np.ndarray:
    """T_base_lidar, 4x4: lidar_link sits above base_link with the same axes (x forward, y left, z up)."""
    T = np.eye(4)
    T[2, 3] = lidar.height_m
    return T


def render_scan(scene: Scene, lidar: LidarConfig, T_city_base: np.ndarray, seed) -> np.ndarray:
    """One scan as points (N, 3) float32 in lidar_link, metres; `seed` (ints) decides noise and dropouts."""
    rng = np.random.default_rng(seed)
    elevation = np.radians(np.linspace(lidar.low_deg, lidar.high_deg, lidar.beams))
    azimuth = np.arange(lidar.azimuths) * 2 * np.pi / lidar.azimuths + rng.uniform(0, 2 * np.pi / lidar.azimuths)
    e, a = (g.ravel() for g in np.meshgrid(elevation, azimuth))
    local = np.column_stack([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)]).astype(np.float32)
    T = T_city_base @ lidar_extrinsics(lidar)
    hits = scene.cast(T[:3, 3], (local @ T[:3, :3].T).astype(np.float32))
    t = hits["t_hit"].copy()
    facing = np.abs(np.einsum("ij,ij->i", hits["primitive_normals"], local @ T[:3, :3].T))
    # Far, grazing and dark surfaces return less light.
    lost = rng.random(len(t)) < lidar.dropout + 0.35 * (t / lidar.range_m) ** 2 * (1 - 0.6 * facing)
    t += rng.normal(0, lidar.noise_m, len(t)).astype(np.float32)
    weather = scene.conditions.weather
    if weather in ("snow", "rain", "fog"):
        share = {"snow": 0.05, "rain": 0.008, "fog": 0.02}[weather]
        near = rng.exponential(3.5, len(t)).astype(np.float32) + lidar.min_range_m
        flake = (rng.random(len(t)) < share) & (near < t)
        t = np.where(flake, near, t)
        lost &= ~flake
    reach = lidar.range_m * (0.6 if weather == "fog" else 1.0)
    keep = ~lost & np.isfinite(t) & (t < reach) & (t > lidar.min_range_m)
    return (local[keep] * t[keep, None]).astype(np.float32)
