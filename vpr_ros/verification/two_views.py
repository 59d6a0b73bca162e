"""Do two pictures without any depth show the same scene? Rotation and direction where both cameras are known."""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from vpr_ros.local_features import LocalFeatures
from vpr_ros.local_features.matching import WORKING_SIDE, epipolar_inliers

FEWEST = 8  # matches that a geometry is looked for with
_ROUNDS = 5  # of a rotation that is fitted to most rays


@dataclass(frozen=True)
class TwoViewConfig:
    """The search and what counts as one scene."""

    tolerance_px: float = 1.5  # to the epipolar line, in pixels of a picture 640 wide
    confidence: float = 0.999
    iterations: int = 500
    least_parallax_px: float = 3.0  # in the same pixels: where the rotation leaves less there is no direction


@dataclass(frozen=True)
class TwoViews:
    """What one geometry explains. It has no scale: how far apart two cameras are, their pictures do not tell."""

    inliers: np.ndarray  # (M,) bool, of the matches
    R_keyframe_query: np.ndarray | None = None  # (3, 3) between the optical frames; None without both cameras
    direction: np.ndarray | None = None  # (3,) unit, from the keyframe's camera to the query's, of its optical frame


def compare_views(
    query: LocalFeatures, keyframe: LocalFeatures, pairs: np.ndarray, config: TwoViewConfig | None = None
) -> TwoViews:
    """The geometry that most of the matches (M, 2) agree on: an essential matrix by rays where both cameras are known
    (OpenCV's USAC), else a fundamental matrix by pixels."""
    config = config or TwoViewConfig()
    none = TwoViews(np.zeros(len(pairs), dtype=bool))
    if len(pairs) < FEWEST:
        return none
    if query.rays is None or keyframe.rays is None or query.camera is None or keyframe.camera is None:
        return TwoViews(epipolar_inliers(query, keyframe, pairs))
    a, b = query.rays[pairs[:, 0]], keyframe.rays[pairs[:, 1]]
    usable = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    if usable.sum() < FEWEST:
        return none
    # A pixel of a picture 640 wide, as a step of the rays of both cameras' middles.
    per_px = np.mean([max(one.size) / WORKING_SIDE / one.camera.K[0, 0] for one in (query, keyframe) if one.camera])
    cv2.setRNGSeed(0)
    E, _ = cv2.findEssentialMat(
        a[usable],
        b[usable],
        np.eye(3),
        cv2.USAC_ACCURATE,
        config.confidence,
        config.tolerance_px * float(per_px),
        config.iterations,
    )
    # OpenCV's types do not say that it is None, or several below one another, where the matches do not determine it.
    found = cast("np.ndarray | None", E)
    if found is None or found.shape != (3, 3):
        return none
    inliers = _near(found, a, b, config.tolerance_px * float(per_px)) & usable
    if inliers.sum() < FEWEST:
        return none
    a, b = a[inliers], b[inliers]
    first, second, along = cv2.decomposeEssentialMat(found)
    # A camera that only turned, or whose scene is far: any direction fits, and the rotation alone explains the rays.
    turned, beside = min((_turned(R, a, b) for R in (first, second)), key=lambda turn: turn[1])
    if beside < config.least_parallax_px * per_px:
        return TwoViews(inliers, turned)
    candidates = [(R, sign * along.ravel()) for R in (first, second) for sign in (1, -1)]
    R, direction = max(candidates, key=lambda candidate: _in_front(*candidate, a, b))
    return TwoViews(inliers, R, direction / np.linalg.norm(direction))


def _in_front(R: np.ndarray, t: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    """How much of the parallax of rays a and b (M, 2) is of points before both cameras, with b's z_b = R a z_a + t."""
    from_a, to_b = (np.column_stack([rays, np.ones(len(rays))]) for rays in (a, b))
    from_a = from_a @ R.T
    across = np.cross(from_a, to_b)
    before = ((np.cross(from_a, t) * across).sum(axis=1) > 0) & ((np.cross(to_b, t) * across).sum(axis=1) > 0)
    return float(np.linalg.norm(across, axis=1)[before].sum())


def _turned(near: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """The rotation near `near` that maps rays a onto b (M, 2), by most of them, and what is left at the median."""
    from_a, to_b = (np.column_stack([rays, np.ones(len(rays))]) for rays in (a, b))
    from_a, to_b = (rays / np.linalg.norm(rays, axis=1, keepdims=True) for rays in (from_a, to_b))
    R_now = near
    for _ in range(_ROUNDS):
        left = np.linalg.norm(from_a @ R_now.T - to_b, axis=1)
        weights = 1 / (1 + (left / max(np.median(left), 1e-9)) ** 2)
        u, _, vt = np.linalg.svd((to_b * weights[:, None]).T @ from_a)
        R_now = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return R_now, float(np.median(np.linalg.norm(from_a @ R_now.T - to_b, axis=1)))


def _near(E: np.ndarray, a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """(M,) bool: which rays a and b (M, 2) lie near one another's epipolar lines, by Sampson's distance."""
    a1, b1 = (np.column_stack([rays, np.ones(len(rays))]) for rays in (a, b))
    of_a, of_b = a1 @ E.T, b1 @ E
    across = (b1 * of_a).sum(axis=1)
    slope = (of_a[:, :2] ** 2).sum(axis=1) + (of_b[:, :2] ** 2).sum(axis=1)
    return across**2 <= tolerance**2 * np.maximum(slope, 1e-12)
