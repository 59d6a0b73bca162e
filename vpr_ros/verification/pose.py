"""Where a camera stands by keypoints whose points are known: a robust start, then least squares with a covariance."""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from vpr_ros.geometry import invert, rigid_transform, rotvec_to_matrix
from vpr_ros.sensors.cameras import Camera

FEWEST = 6  # points that a start is looked for with
_ITERATIONS = 15
_CONVERGED = 1e-6  # metres and radians of a step
_DELTA_PX = 0.5  # pixels by which the slope of a lens is taken
_NEAREST_M = 0.1  # depth of a point that a camera can see
_BEHIND = 1e9  # squared error of a point that is nearer, or behind the camera


@dataclass(frozen=True)
class PoseConfig:
    """The start's search and the noise that observations have."""

    tolerance_px: float = 4.0  # of the start, in pixels of a picture 640 wide
    iterations: int = 2000
    confidence: float = 0.9999
    pixel_noise_px: float = 1.2  # of a match, in pixels of a picture 640 wide, at least
    depth_noise_m: float = 0.1  # standard deviation of a point's depth: depth_noise_m + depth_noise_share * depth
    depth_noise_share: float = 0.03
    gate: float = 9.2  # squared error, by the noise, up to which a match agrees: 99 % of two pixels' chi squared
    independent_matches: int = 20  # errors of neighbouring keypoints are shared: no more than so many count


@dataclass(frozen=True)
class Sightings:
    """N points of the map as a camera sees them. Frame "map": any metric frame, such as a keyframe's base."""

    points: np.ndarray  # (N, 3) metres, map
    along: np.ndarray  # (N, 3) map: how each point moves with its depth, metres by metres
    depth_m: np.ndarray  # (N,) that the point was seen at
    rays: np.ndarray  # (N, 2) of the camera: x / z and y / z
    rays_per_pixel: np.ndarray  # (N, 2, 2) how rays change with pixels, as `lens_slopes` gives it
    px: float  # pixels of the camera's picture that are one of a picture 640 wide


@dataclass(frozen=True)
class CameraPose:
    """A pose and what speaks for it."""

    T_map_base: np.ndarray  # (4, 4)
    covariance: np.ndarray  # (6, 6) x y z rotX rotY rotZ in the axes of the map, at the base
    inliers: np.ndarray  # (N,) bool
    rmse_px: float  # of the inliers, in pixels of the camera's picture


def lens_slopes(camera: Camera, pixels: np.ndarray) -> np.ndarray:
    """How the rays of a lens change with the pixel: (N, 2, 2), d ray / d pixel at pixels (N, 2)."""
    pixels = np.asarray(pixels, np.float64)
    steps = [camera.rays(pixels + step) - camera.rays(pixels - step) for step in _DELTA_PX * np.eye(2)]
    return np.stack(steps, axis=-1) / (2 * _DELTA_PX)


def solve_pose(seen: Sightings, T_base_camera: np.ndarray, config: PoseConfig | None = None) -> CameraPose | None:
    """Pose of the base that carries the camera; None where no geometry is found.

    A RANSAC of three-point poses (Ke and Roumeliotis, CVPR 2017, by OpenCV) on rays, so that any lens will do; then
    `refine_pose`.
    """
    config = config or PoseConfig()
    if len(seen.points) < FEWEST:
        return None
    T_map_camera = _start(seen, config)
    if T_map_camera is None:
        return None
    return refine_pose(seen, T_map_camera @ invert(T_base_camera), T_base_camera, config)


def _start(seen: Sightings, config: PoseConfig) -> np.ndarray | None:
    """T_map_camera of the largest consensus."""
    cv2.setRNGSeed(0)
    per_px = float(np.median(np.abs(np.linalg.det(seen.rays_per_pixel))) ** 0.5)
    found, turn, offset, inliers = cv2.solvePnPRansac(
        seen.points,
        seen.rays,
        np.eye(3),
        None,
        iterationsCount=config.iterations,
        reprojectionError=config.tolerance_px * seen.px * per_px,
        confidence=config.confidence,
        flags=cv2.SOLVEPNP_AP3P,
    )
    # OpenCV's types do not say that the inliers are None where no pose was found.
    consensus = cast("np.ndarray | None", inliers)
    if not found or consensus is None or len(consensus) < FEWEST:
        return None
    T = invert(rigid_transform(rotvec_to_matrix(turn.ravel()), offset.ravel()))
    return T if np.isfinite(T).all() else None


def refine_pose(
    seen: Sightings, T_map_base: np.ndarray, T_base_camera: np.ndarray, config: PoseConfig | None = None
) -> CameraPose | None:
    """The pose of the base near `T_map_base` that fits best; None where too few matches agree with it.

    Gauss-Newton on the matches that agree, each weighed by its own covariance: the pixel's noise and what the depth's
    noise moves in the picture. The covariance is the inverse of their information, widened where the residuals are
    larger than the noise says and where more than `independent_matches` would count.
    """
    config, now, T_camera_base = config or PoseConfig(), T_map_base, invert(T_base_camera)
    variance_px = (config.pixel_noise_px * seen.px) ** 2
    per_ray = np.linalg.inv(seen.rays_per_pixel)
    depth_variance = (config.depth_noise_m + config.depth_noise_share * seen.depth_m) ** 2
    # The start's points are those within its tolerance; from then on the gate by each one's own noise decides.
    widen = max(1.0, (config.tolerance_px / config.pixel_noise_px) ** 2 / config.gate)
    for _ in range(_ITERATIONS):
        errors, slopes, squared, weights = _errors(seen, now, T_camera_base, per_ray, depth_variance, variance_px)
        agreeing = squared <= config.gate * widen
        if agreeing.sum() < FEWEST:
            return None
        robust = 1 / (1 + squared[agreeing] / config.gate)  # Cauchy's: the worst that still agree pull least
        information, pull = _normal(slopes[agreeing], errors[agreeing], weights[agreeing] * robust[:, None, None])
        step = np.linalg.solve(information + 1e-9 * np.eye(6), pull)
        now = _moved(now, step)
        if widen == 1.0 and np.abs(step).max() < _CONVERGED:
            break
        widen = max(1.0, widen / 2)
    errors, slopes, squared, weights = _errors(seen, now, T_camera_base, per_ray, depth_variance, variance_px)
    agreeing = squared <= config.gate
    count = int(agreeing.sum())
    if count < FEWEST or not np.isfinite(now).all():
        return None
    information, _ = _normal(slopes[agreeing], errors[agreeing], weights[agreeing])
    wide = max(1.0, squared[agreeing].sum() / max(2 * count - 6, 1)) * max(1.0, count / config.independent_matches)
    covariance = wide * np.linalg.inv(information + 1e-9 * np.eye(6))
    return CameraPose(now, covariance, agreeing, float(np.sqrt((errors[agreeing] ** 2).sum(axis=1).mean())))


def _errors(
    seen: Sightings,
    T: np.ndarray,
    T_camera_base: np.ndarray,
    pixels_per_ray: np.ndarray,
    depth_variance: np.ndarray,
    variance_px: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """In pixels: what is seen less what T foretells (N, 2), its slopes by the six small motions (N, 2, 6), its squared
    length by the noise (N,), and the inverse of that noise's covariance (N, 2, 2)."""
    R = T_camera_base[:3, :3] @ T[:3, :3].T  # from the map's axes to the camera's
    arms = seen.points - T[:3, 3]
    points = arms @ R.T + T_camera_base[:3, 3]
    z = np.maximum(points[:, 2], _NEAREST_M)
    by_point = np.zeros((len(z), 2, 3))
    by_point[:, 0, 0] = by_point[:, 1, 1] = 1 / z
    by_point[:, :, 2] = -points[:, :2] / z[:, None] ** 2
    by_map = pixels_per_ray @ by_point @ R  # pixels by a point's motion in the map
    # A motion of the base moves every point the other way in the camera: by -v - w x arm.
    slopes = np.concatenate([-by_map, np.cross(by_map, arms[:, None])], axis=2)
    errors = np.einsum("nij,nj->ni", pixels_per_ray, seen.rays - points[:, :2] / z[:, None])
    by_depth = np.einsum("nij,nj->ni", by_map, seen.along)
    noise = variance_px * np.eye(2) + depth_variance[:, None, None] * by_depth[:, :, None] * by_depth[:, None, :]
    weights: np.ndarray = np.linalg.inv(np.asarray(noise))
    squared = np.einsum("ni,nij,nj->n", errors, weights, errors)
    return errors, slopes, np.where(points[:, 2] > _NEAREST_M, squared, _BEHIND), weights


def _normal(slopes: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """J^T W J (6, 6) and J^T W e (6,)."""
    weighed = np.einsum("nij,nik->njk", weights, slopes)
    return np.einsum("nij,nik->jk", slopes, weighed), np.einsum("nij,ni->j", weighed, errors)


def _moved(T: np.ndarray, step: np.ndarray) -> np.ndarray:
    """T after the small motion (6,), applied in the axes of the map at the base."""
    return rigid_transform(rotvec_to_matrix(step[3:]) @ T[:3, :3], T[:3, 3] + step[:3])
