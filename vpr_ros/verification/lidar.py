"""Does the geometry agree? LiDAR registration of a query with its matched keyframe.

Retrieval says "the same place within a radius". Only a registration that succeeded says where, and how precisely.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import make_transform, matrix_to_quaternion, planar_transform
from vpr_ros.lidar import likely_turns, polar_grid
from vpr_ros.verification.result import Refusal, Verified

MIN_POINTS = 200
UPRIGHT = 0.7  # |z| of a normal below which a surface is a wall and not the ground
NORMAL_SCATTER = 0.01  # mean square of a wall's normals along the wall: about 6 degrees
ITERATIONS, COARSE_ITERATIONS = 30, 10
REFINED = 2  # coarse alignments that are refined,
SAME_M = 0.1  # but those that are so near a better one
RIVAL = 0.8  # or agree less than this share of what the best one does
ALIKE = 0.8  # cosine between the normals of surfaces that face alike


@dataclass(frozen=True)
class VerificationConfig:
    """Registration and what counts as success. Sizes suit a spinning LiDAR on a vehicle or a mobile robot."""

    coarse_voxel_m: float = 1.0  # of the starts that are tried
    fine_voxel_m: float = 0.3
    normal_points: int = 30  # that a normal is computed from; with more of them clouds agree more
    max_correspondence_m: float = 0.45  # fine alignment and the agreement that is counted
    max_distance_m: float = 15.0  # a larger offset is no match of one place
    min_agreement: float = 0.75  # share of the query's upright surfaces that the keyframe has too, facing alike
    max_rmse_m: float = 0.35
    max_std_m: float = 0.5  # along the least certain direction: a bare corridor does not tell where along it one is
    noise_m: float = 0.05  # of one point to its counterpart's plane, at least
    independent_points: int = 100  # errors of neighbouring points are shared: no more than so many count
    turns: int = 2  # that are tried without a guess: those at which the polar grids of both clouds are most alike
    steps_m: tuple[float, ...] = (0.0, -5.0, 5.0)  # of the first positions along the keyframe's axes, for each turn
    kiss_matcher: bool = True  # where those fail and it is installed: it finds offsets beyond the steps


@dataclass(frozen=True)
class _Scan:
    """A thinned cloud with normals, and its search tree; kept in small_gicp's own types."""

    cloud: Any
    tree: Any
    points: np.ndarray  # (N, 3)
    normals: np.ndarray  # (N, 3)


@dataclass(frozen=True)
class PreparedCloud:
    """A cloud that is registered more than once: thinned twice, with normals and search trees.

    It takes a few megabytes; keep those of a neighbourhood, not of a drive.
    """

    points: np.ndarray  # (N, 3) the finite ones, float64, metres, base frame
    fine: _Scan
    coarse: _Scan
    grid: np.ndarray  # the polar grid


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
    """Registers two clouds (N, 3) given in metres in their base frames, as `register` does."""
    prepared = [prepare_cloud(cloud, config) for cloud in (cloud_query, cloud_keyframe)]
    return register(prepared[0], prepared[1], T_init, config)


def prepare_cloud(cloud: np.ndarray, config: VerificationConfig | None = None) -> PreparedCloud | None:
    """What `register` needs of a cloud (N, 3), metres, base frame; None where it has too few finite points.

    VprError where small_gicp is not installed.
    """
    gicp, config = _small_gicp(), config or VerificationConfig()
    points = np.asarray(cloud, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < MIN_POINTS:
        return None
    fine, coarse = (_prepare(gicp, points, voxel_m, config) for voxel_m in (config.fine_voxel_m, config.coarse_voxel_m))
    return PreparedCloud(points, fine, coarse, polar_grid(points))


def register(
    query: PreparedCloud | None,
    keyframe: PreparedCloud | None,
    T_init: np.ndarray | None = None,
    config: VerificationConfig | None = None,
    only_init: bool = False,
) -> Verified:
    """Registers two prepared clouds; None stands for one of too few points.

    Coarse: from `T_init` (a guess of T_keyframe_query) where given; a guess that fails is followed, but for
    `only_init`, by several starts, turned as the polar grids of both clouds are most alike, and where those fail too by
    kiss-matcher's, if that is installed. Fine: generalised ICP (small_gicp). The covariance is the inverse of the
    point-to-plane information, so that a direction without structure shows as uncertain, floored by
    `independent_points`. VprError where small_gicp is not installed.
    """
    if query is None or keyframe is None:
        return Verified(False, "too_few_points", "lidar")
    gicp, config = _small_gicp(), config or VerificationConfig()
    best: _Fit | None = None
    if T_init is not None:
        best = _refine(gicp, query.fine, keyframe.fine, np.asarray(T_init, dtype=np.float64), config)
    if best is None or (_judge(best, config) and not only_init):
        for starts in (_stepped_starts, _kiss_matcher_start):
            for start in _coarse(gicp, query, keyframe, starts(query, keyframe, config), config):
                found = _refine(gicp, query.fine, keyframe.fine, start, config)
                best = found if best is None or found.agreement > best.agreement else best
            if best is not None and _judge(best, config) is None:
                break
    assert best is not None
    covariance = _covariance(best, query.fine, keyframe.fine, config)
    reason = _judge(best, config)
    if not reason and np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]) > config.max_std_m:
        reason = "degenerate"
    return Verified(not reason, reason or "registered", "lidar", best.T, covariance, best.agreement, best.rmse_m)


def _judge(fit: _Fit, config: VerificationConfig) -> Refusal | None:
    """Why the alignment is refused; None where it holds."""
    if fit.agreement < config.min_agreement:
        return "little_agreement"
    if fit.rmse_m > config.max_rmse_m:
        return "poor_fit"
    if np.linalg.norm(fit.T[:3, 3]) > config.max_distance_m:
        return "too_far"
    return None


def _prepare(gicp: Any, points: np.ndarray, voxel_m: float, config: VerificationConfig) -> _Scan:
    cloud, tree = gicp.preprocess_points(points, downsampling_resolution=voxel_m, num_neighbors=config.normal_points)
    return _Scan(cloud, tree, np.asarray(cloud.points())[:, :3], np.asarray(cloud.normals())[:, :3])


def _coarse(
    gicp: Any, query: PreparedCloud, keyframe: PreparedCloud, starts: list[np.ndarray], config: VerificationConfig
) -> list[np.ndarray]:
    """The best REFINED of the coarse alignments from several starts."""
    near_m, reach_m = 1.5 * config.coarse_voxel_m, 4 * config.coarse_voxel_m
    fits: list[_Fit] = []
    for start in starts:
        T = _aligned(gicp, query.coarse, keyframe.coarse, start, reach_m, COARSE_ITERATIONS)
        fits.append(_fit(query.coarse, keyframe.coarse, T, near_m))
    fits.sort(key=lambda fit: -fit.agreement)
    best: list[_Fit] = []
    for fit in fits:
        new = all(np.linalg.norm((fit.T - one.T)[:3]) > SAME_M for one in best)
        if not best or (new and len(best) < REFINED and fit.agreement >= RIVAL * best[0].agreement):
            best.append(fit)
    return [fit.T for fit in best]


def _stepped_starts(query: PreparedCloud, keyframe: PreparedCloud, config: VerificationConfig) -> list[np.ndarray]:
    """Guesses of T_keyframe_query where nobody knows turn and offset: `turns` times `steps_m` of them by the clouds'
    polar grids, and the identity, which is right wherever a robot passes the same way again."""
    turns = likely_turns(query.grid, keyframe.grid, config.turns)
    return [np.eye(4), *(planar_transform(step, 0.0, turn) for turn in turns for step in config.steps_m)]


def _kiss_matcher_start(query: PreparedCloud, keyframe: PreparedCloud, config: VerificationConfig) -> list[np.ndarray]:
    """Kiss-matcher's guess of T_keyframe_query; none where it is not installed (it has no arm64 wheel)."""
    if not config.kiss_matcher:
        return []
    try:
        kiss_matcher: Any = import_module("kiss_matcher")
    except ImportError:
        return []
    matcher: Any = kiss_matcher.KISSMatcher(kiss_matcher.KISSMatcherConfig(config.coarse_voxel_m))
    found: Any = matcher.estimate(query.points.astype(np.float32), keyframe.points.astype(np.float32))
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = np.asarray(found.rotation), np.ravel(found.translation)
    return [T]


def _aligned(
    gicp: Any, query: _Scan, keyframe: _Scan, start: np.ndarray, reach_m: float, iterations: int = ITERATIONS
) -> np.ndarray:
    result = gicp.align(
        keyframe.cloud,
        query.cloud,
        keyframe.tree,
        start,
        registration_type="GICP",
        max_correspondence_distance=reach_m,
        max_iterations=iterations,
    )
    T = np.asarray(result.T_target_source)
    if not (np.isfinite(T).all() and np.linalg.det(T[:3, :3]) > 0.5):
        return start  # too few points in reach: it diverged
    # It keeps the rounding errors of its start, which grow threefold from one registration to the next along a drive.
    return make_transform(T[:3, 3], matrix_to_quaternion(T[:3, :3]))


def _refine(gicp: Any, query: _Scan, keyframe: _Scan, T: np.ndarray, config: VerificationConfig) -> _Fit:
    """Alignment from T, a guess of T_keyframe_query."""
    near = _aligned(gicp, query, keyframe, T, 4 * config.max_correspondence_m)
    aligned = _aligned(gicp, query, keyframe, near, config.max_correspondence_m)
    return _fit(query, keyframe, aligned, config.max_correspondence_m)


def _fit(query: _Scan, keyframe: _Scan, T: np.ndarray, reach_m: float) -> _Fit:
    """How well the clouds agree at T: corresponding points are at most `reach_m` apart.

    The agreement is the share of the query's points on upright surfaces that lie on a surface of the keyframe with the
    same orientation. The ground is left out: any two streets agree on that.
    """
    found, squared = keyframe.tree.batch_nearest_neighbor_search(query.points @ T[:3, :3].T + T[:3, 3])
    found, squared = np.asarray(found, np.uint64).astype(np.int64), np.asarray(squared)  # the greatest: none found
    near = np.flatnonzero((found >= 0) & (squared <= reach_m**2))
    pairs = np.column_stack([near, found[near]])
    rmse_m = float(np.sqrt(squared[near].mean())) if len(near) else float("inf")
    upright = (np.abs(query.normals[:, 2]) < UPRIGHT) & (np.abs(query.normals).sum(axis=1) > 0)
    of_walls = pairs[upright[pairs[:, 0]]]
    turned = query.normals[of_walls[:, 0]] @ T[:3, :3].T
    alike = np.abs((turned * keyframe.normals[of_walls[:, 1]]).sum(axis=1)) > ALIKE
    return _Fit(T, pairs, float(alike.sum() / max(upright.sum(), 1)), rmse_m)


def _covariance(fit: _Fit, query: _Scan, keyframe: _Scan, config: VerificationConfig) -> np.ndarray:
    """Inverse of sum J^T J / s^2 with J = [n, (R p) x n]: how the plane distances react to the six small motions.

    A wall's estimated normals scatter, which looks like a little information along the wall. That much is taken off
    each direction's share, so that a corridor stays uncertain along its length.
    """
    pairs = fit.pairs
    if len(pairs) < 6:
        return np.diag(np.full(6, 1e6))
    arms = query.points[pairs[:, 0]] @ fit.T[:3, :3].T
    normals = keyframe.normals[pairs[:, 1]]
    jacobian = np.concatenate([normals, np.cross(arms, normals)], axis=1)
    variance = max(config.noise_m, fit.rmse_m) ** 2 * max(1.0, len(pairs) / config.independent_points)
    covariance = variance * np.linalg.inv(jacobian.T @ jacobian + 1e-9 * np.eye(6))
    shares, axes = np.linalg.eigh(normals.T @ normals / len(pairs))
    trusted = np.maximum(shares - NORMAL_SCATTER, 1e-4)
    extra = np.maximum(1 / trusted - 1 / np.maximum(shares, 1e-4), 0.0) * variance / len(pairs)
    covariance[:3, :3] += (axes * extra) @ axes.T
    return covariance


def _small_gicp() -> Any:
    try:
        import small_gicp
    except ImportError as error:
        raise VprError(f"registration of clouds needs small_gicp ({error}): pip install 'vpr_ros[lidar]'") from error
    return small_gicp
