"""Does the geometry agree? LiDAR registration of a query with its matched keyframe.

Retrieval says "the same place within a radius". Only a registration that succeeded says where, and how precisely.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from vpr_ros.errors import VprError

Refusal = Literal["too_few_points", "little_agreement", "poor_fit", "too_far", "degenerate"]

MIN_POINTS = 200
UPRIGHT = 0.7  # |z| of a normal below which a surface is a wall and not the ground
NORMAL_SCATTER = 0.01  # mean square of a wall's normals along the wall: about 6 degrees
ALIKE = 0.8  # cosine between the normals of surfaces that face alike


@dataclass(frozen=True)
class VerificationConfig:
    """Registration and what counts as success. Sizes suit a spinning LiDAR on a vehicle or a mobile robot."""

    coarse_voxel_m: float = 1.0  # features and global search
    fine_voxel_m: float = 0.3
    max_correspondence_m: float = 0.45  # fine alignment and the agreement that is counted
    max_distance_m: float = 15.0  # a larger offset is no match of one place
    min_agreement: float = 0.75  # share of the query's upright surfaces that the keyframe has too, facing alike
    max_rmse_m: float = 0.35
    max_std_m: float = 0.5  # along the least certain direction: a bare corridor does not tell where along it one is
    noise_m: float = 0.05  # of one point to its counterpart's plane, at least
    independent_points: int = 100  # errors of neighbouring points are shared: no more than so many count
    ransac_iterations: int = 50_000
    seed: int = 0


@dataclass(frozen=True)
class Verified:
    """Result of a registration; the pose and covariance may be used only where `accepted`.

    `T_keyframe_query` maps points of the query's base frame into the keyframe's. `covariance` (6, 6) is that of the
    pose, ordered x y z rotX rotY rotZ, for a small motion applied in the keyframe's frame at the query's position.
    """

    accepted: bool
    reason: Refusal | Literal["registered"]
    T_keyframe_query: np.ndarray | None
    covariance: np.ndarray | None
    agreement: float
    rmse_m: float


@dataclass(frozen=True)
class _Fit:
    T: np.ndarray
    pairs: np.ndarray  # (M, 2) indices of corresponding query and keyframe points
    agreement: float
    rmse_m: float


def verify_clouds(
    cloud_query: np.ndarray,
    cloud_keyframe: np.ndarray,
    T_init: np.ndarray | None = None,
    config: VerificationConfig | None = None,
) -> Verified:
    """Registers two clouds (N, 3) given in metres in their base frames.

    Coarse: `T_init` (a guess of T_keyframe_query) where given, else FPFH features with RANSAC; a guess that fails is
    followed by the search. Fine: generalised ICP. The covariance is the inverse of the point-to-plane information, so
    that a direction without structure shows as uncertain, floored by `independent_points`.
    Raises VprError where Open3D is not installed.
    """
    o3d = _open3d()
    config = config or VerificationConfig()
    clouds = [np.asarray(c, dtype=np.float64).reshape(-1, 3) for c in (cloud_query, cloud_keyframe)]
    clouds = [c[np.isfinite(c).all(axis=1)] for c in clouds]
    if min(len(c) for c in clouds) < MIN_POINTS:
        return Verified(False, "too_few_points", None, None, 0.0, float("inf"))
    query, keyframe = (_prepare(o3d, c, config.fine_voxel_m) for c in clouds)
    best: _Fit | None = None
    if T_init is not None:
        best = _refine(o3d, query, keyframe, np.asarray(T_init, dtype=np.float64), config)
    if best is None or _judge(best, config):
        for start in _coarse(o3d, clouds, config):
            found = _refine(o3d, query, keyframe, start, config)
            best = found if best is None or found.agreement > best.agreement else best
    assert best is not None
    covariance = _covariance(best, query, keyframe, config)
    reason = _judge(best, config)
    if not reason and np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]) > config.max_std_m:
        reason = "degenerate"
    return Verified(not reason, reason or "registered", best.T, covariance, best.agreement, best.rmse_m)


def _judge(fit: _Fit, config: VerificationConfig) -> Refusal | None:
    """Why the alignment is refused; None where it holds."""
    if fit.agreement < config.min_agreement:
        return "little_agreement"
    if fit.rmse_m > config.max_rmse_m:
        return "poor_fit"
    if np.linalg.norm(fit.T[:3, 3]) > config.max_distance_m:
        return "too_far"
    return None


def _prepare(o3d: Any, points: np.ndarray, voxel_m: float) -> Any:
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points)).voxel_down_sample(voxel_m)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=5 * voxel_m, max_nn=30))
    cloud.orient_normals_towards_camera_location(np.zeros(3))
    return cloud


def _coarse(o3d: Any, clouds: list[np.ndarray], config: VerificationConfig) -> list[np.ndarray]:
    """Candidate poses by features; the identity too, which is right wherever a robot passes the same way again."""
    registration = o3d.pipelines.registration
    voxel = config.coarse_voxel_m
    small = [_prepare(o3d, points, voxel) for points in clouds]
    search = o3d.geometry.KDTreeSearchParamHybrid(radius=5 * voxel, max_nn=100)
    features = [registration.compute_fpfh_feature(cloud, search) for cloud in small]
    o3d.utility.random.seed(config.seed)
    found = registration.registration_ransac_based_on_feature_matching(
        small[0],
        small[1],
        features[0],
        features[1],
        True,
        1.5 * voxel,
        registration.TransformationEstimationPointToPoint(False),
        3,
        [
            registration.CorrespondenceCheckerBasedOnEdgeLength(0.9),
            registration.CorrespondenceCheckerBasedOnDistance(1.5 * voxel),
        ],
        registration.RANSACConvergenceCriteria(config.ransac_iterations, 0.999),
    )
    return [np.asarray(found.transformation), np.eye(4)]


def _refine(o3d: Any, query: Any, keyframe: Any, pose: np.ndarray, config: VerificationConfig) -> _Fit:
    """Alignment from `pose`, a guess of T_keyframe_query."""
    registration = o3d.pipelines.registration
    for distance in (4 * config.max_correspondence_m, config.max_correspondence_m):
        result = registration.registration_generalized_icp(
            query,
            keyframe,
            distance,
            pose,
            registration.TransformationEstimationForGeneralizedICP(),
            registration.ICPConvergenceCriteria(max_iteration=50),
        )
        pose = np.asarray(result.transformation)
    pairs = np.asarray(result.correspondence_set).reshape(-1, 2)
    return _Fit(pose, pairs, _agreement(pose, pairs, query, keyframe), float(result.inlier_rmse))


def _agreement(T: np.ndarray, pairs: np.ndarray, query: Any, keyframe: Any) -> float:
    """Share of the query's points on upright surfaces that lie on a surface of the keyframe with the same orientation.

    The ground is left out: any two streets agree on that.
    """
    normals = np.asarray(query.normals)
    upright = np.abs(normals[:, 2]) < UPRIGHT
    pairs = pairs[upright[pairs[:, 0]]]
    turned = normals[pairs[:, 0]] @ T[:3, :3].T
    alike = np.abs((turned * np.asarray(keyframe.normals)[pairs[:, 1]]).sum(axis=1)) > ALIKE
    return float(alike.sum() / max(upright.sum(), 1))


def _covariance(fit: _Fit, query: Any, keyframe: Any, config: VerificationConfig) -> np.ndarray:
    """Inverse of sum J^T J / s^2 with J = [n, (R p) x n]: how the plane distances react to the six small motions.

    A wall's estimated normals scatter, which looks like a little information along the wall. That much is taken off
    each direction's share, so that a corridor stays uncertain along its length.
    """
    pairs = fit.pairs
    if len(pairs) < 6:
        return np.diag(np.full(6, 1e6))
    arms = np.asarray(query.points)[pairs[:, 0]] @ fit.T[:3, :3].T
    normals = np.asarray(keyframe.normals)[pairs[:, 1]]
    jacobian = np.concatenate([normals, np.cross(arms, normals)], axis=1)
    variance = max(config.noise_m, fit.rmse_m) ** 2 * max(1.0, len(pairs) / config.independent_points)
    covariance = variance * np.linalg.inv(jacobian.T @ jacobian + 1e-9 * np.eye(6))
    shares, axes = np.linalg.eigh(normals.T @ normals / len(pairs))
    trusted = np.maximum(shares - NORMAL_SCATTER, 1e-4)
    extra = np.maximum(1 / trusted - 1 / np.maximum(shares, 1e-4), 0.0) * variance / len(pairs)
    covariance[:3, :3] += (axes * extra) @ axes.T
    return covariance


def _open3d() -> Any:
    try:
        import open3d
    except (ImportError, OSError) as error:
        raise VprError(f"verification needs Open3D ({error}): pip install 'vpr_ros[lidar]'") from error
    return open3d
