"""Does the geometry agree? Keypoints of a query against those of its matched keyframe; where depth is known, a pose."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vpr_ros.local_features import LocalFeatures, mutual_matches
from vpr_ros.verification.landmarks import Neighbour, near_projection, sightings, with_points
from vpr_ros.verification.pose import CameraPose, PoseConfig, refine_pose, solve_pose
from vpr_ros.verification.result import Refusal, Verified
from vpr_ros.verification.two_views import TwoViewConfig, compare_views

CELLS = 8  # squares along a picture's longer side


@dataclass(frozen=True)
class CameraVerificationConfig:
    """What counts as success: for a pose, and for two pictures of one scene."""

    pose: PoseConfig = field(default_factory=PoseConfig)
    two_views: TwoViewConfig = field(default_factory=TwoViewConfig)
    near_px: float = 10.0  # from where a pose has a point of the map: there it is looked for; picture 640 wide
    near_cosine: float = 0.7  # least likeness there
    min_pose_inliers: int = 40
    min_pose_agreement: float = 0.1  # of the points that the pose has in view
    sure_agreement: float = 0.25  # with less, more of what agrees does so by chance: the covariance is widened
    floor_m: float = 0.02  # standard deviation that no number of keypoints goes below, in each direction
    floor_rad: float = 0.001
    max_std_m: float = 0.25  # along the least certain direction
    max_distance_m: float = 15.0  # a larger offset is no match of one place
    min_scene_inliers: int = 20
    min_scene_share: float = 0.35  # of all matches
    # Squares, CELLS of them along the longer side, that hold something that agrees: a mast looks the same anywhere.
    min_pose_cells: int = 8
    min_scene_cells: int = 6


@dataclass(frozen=True)
class _Measured:
    """A pose by all matches near it."""

    pose: CameraPose
    agreement: float
    cells: int  # of the query's picture, with something that agrees
    pairs: np.ndarray  # (M, 2) those of the matched keyframe that agree


def verify_features(
    query: LocalFeatures,
    keyframe: LocalFeatures,
    neighbours: Sequence[Neighbour] = (),
    config: CameraVerificationConfig | None = None,
) -> Verified:
    """Compares the local features of two pictures; with depth on the keyframe's side it measures the query's pose.

    A pose needs both cameras with their mountings, and depth at matched keypoints of the keyframe or of its
    neighbours, whose points count alike. Its agreement is the share of the points in its view that the query shows
    where they must be. Where there is none, the pictures alone say whether they show one scene, with rotation and
    direction where both cameras are known, and never a distance.
    """
    config = config or CameraVerificationConfig()
    pairs = mutual_matches(query, keyframe)
    around = [n for n in (Neighbour(keyframe, np.eye(4)), *neighbours) if n.measured]
    if query.rays is not None and query.T_base_camera is not None and around:
        found = _measured(query, keyframe, pairs, around, config)
        refusal = None if found is None else _judge(found, config)
        if found is not None and refusal in (None, "too_far"):
            return Verified(
                refusal is None,
                refusal or "posed",
                "camera",
                found.pose.T_map_base,
                found.pose.covariance,
                found.agreement,
                found.pose.rmse_px,
                _places(query, keyframe, found.pairs),
            )
    return _same_scene(query, keyframe, pairs, config)


def _measured(
    query: LocalFeatures,
    keyframe: LocalFeatures,
    pairs: np.ndarray,
    around: Sequence[Neighbour],
    config: CameraVerificationConfig,
) -> _Measured | None:
    """The best pose by clear matches, then by all that lie near where it has them."""
    assert query.T_base_camera is not None
    of = [pairs if n.features is keyframe else mutual_matches(query, n.features) for n in around]
    clear = [(n, with_points(query, n, p)) for n, p in zip(around, of, strict=True)]
    start = solve_pose(sightings(query, clear), query.T_base_camera, config.pose)
    if start is None:
        return None
    found = [near_projection(query, n, start.T_map_base, config.near_px, config.near_cosine) for n in around]
    near = [(n, with_points(query, n, p)) for n, (p, _) in zip(around, found, strict=True)]
    pose = refine_pose(sightings(query, near), start.T_map_base, query.T_base_camera, config.pose)
    if pose is None:
        return None
    in_view = sum(count for _, count in found)
    agreement = float(pose.inliers.sum() / max(in_view, 1))
    floor = np.diag([config.floor_m**2] * 3 + [config.floor_rad**2] * 3)
    wide = max(1.0, config.sure_agreement / agreement) ** 2
    pose = replace(pose, covariance=wide * pose.covariance + floor)
    own = near[0][1] if around[0].features is keyframe else pairs[:0]
    rows = np.concatenate([p[:, 0] for _, p in near])[pose.inliers]
    return _Measured(pose, agreement, _cells(query, rows), own[pose.inliers[: len(own)]])


def _judge(found: _Measured, config: CameraVerificationConfig) -> Refusal | None:
    """Why a pose is refused; None where it holds."""
    pose = found.pose
    if pose.inliers.sum() < config.min_pose_inliers or found.agreement < config.min_pose_agreement:
        return "little_agreement"
    if found.cells < config.min_pose_cells:
        return "one_object"
    if np.sqrt(np.linalg.eigvalsh(pose.covariance[:3, :3])[-1]) > config.max_std_m:
        return "degenerate"
    if np.linalg.norm(pose.T_map_base[:3, 3]) > config.max_distance_m:
        return "too_far"
    return None


def _same_scene(
    query: LocalFeatures, keyframe: LocalFeatures, pairs: np.ndarray, config: CameraVerificationConfig
) -> Verified:
    """What two pictures say by themselves."""
    if len(pairs) < config.min_scene_inliers:
        return Verified(False, "few_matches", "camera")
    views = compare_views(query, keyframe, pairs, config.two_views)
    count, share = int(views.inliers.sum()), float(views.inliers.mean())
    refusal: Refusal | None = None
    if count < config.min_scene_inliers or share < config.min_scene_share:
        refusal = "other_scene"
    elif _cells(query, pairs[views.inliers, 0]) < config.min_scene_cells:
        refusal = "one_object"
    places = _places(query, keyframe, pairs[views.inliers])
    found = Verified(refusal is None, refusal or "same_scene", "camera", agreement=share, places=places)
    of_keyframe, of_query = keyframe.T_base_camera, query.T_base_camera
    if refusal or views.R_keyframe_query is None or of_keyframe is None or of_query is None:
        return found
    direction = None if views.direction is None else of_keyframe[:3, :3] @ views.direction
    R = of_keyframe[:3, :3] @ views.R_keyframe_query @ of_query[:3, :3].T
    return replace(found, R_keyframe_query=R, direction=direction)


def _cells(query: LocalFeatures, rows: np.ndarray) -> int:
    """How many squares, a CELLS-th of the picture's longer side, hold one of these keypoints."""
    squares = np.floor(query.pixels[rows] / (max(query.size) / CELLS)).astype(np.int64)
    return len(np.unique(squares, axis=0))


def _places(query: LocalFeatures, keyframe: LocalFeatures, pairs: np.ndarray) -> np.ndarray:
    """Where matches (M, 2) lie in both pictures: (M, 4), shares of their sides."""
    sides = ((one.pixels[rows] + 0.5) / one.size for one, rows in zip((query, keyframe), pairs.T, strict=True))
    return np.concatenate(list(sides), axis=1)
