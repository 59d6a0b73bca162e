"""Do two pictures show the same scene? Keypoints and one rigid epipolar geometry, for robots without LiDAR.

A single camera fixes no scale, so this answers yes or no and never claims a relative pose.
"""

from dataclasses import dataclass
from typing import Literal, cast

import cv2
import numpy as np


@dataclass(frozen=True)
class ImageVerificationConfig:
    """What counts as the same scene. Figures suit thumbnails of 100 to 500 pixels."""

    max_keypoints: int = 1000
    ratio: float = 0.85  # nearest against second nearest keypoint of the other picture
    tolerance_px: float = 2.0  # to the epipolar line, or to the homography's point
    min_inliers: int = 16
    min_inlier_share: float = 0.4  # of the matches: chance geometry explains few of many


@dataclass(frozen=True)
class SameScene:
    """`inliers` of `matches` keypoint pairs agree on one geometry; `verified` says whether they are enough."""

    verified: bool
    reason: Literal["few_keypoints", "few_matches", "no_geometry", "same_scene"]
    matches: int
    inliers: int


def verify_images(query: np.ndarray, keyframe: np.ndarray, config: ImageVerificationConfig | None = None) -> SameScene:
    """Compares two RGB pictures (H, W, 3) uint8, of any two sizes.

    SIFT keypoints, matched where each is the other's nearest and clearly nearer than the second; then the larger
    consensus of a fundamental matrix (a scene with depth) and a homography (a façade, or a camera that only turned).
    """
    config = config or ImageVerificationConfig()
    sift = cv2.SIFT.create(nfeatures=config.max_keypoints, contrastThreshold=0.02)
    found = [sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in (query, keyframe)]
    (points_q, vectors_q), (points_k, vectors_k) = found
    if min(len(points_q), len(points_k)) < config.min_inliers:
        return SameScene(False, "few_keypoints", 0, 0)
    pairs = _mutual(vectors_q, vectors_k, config.ratio)
    if len(pairs) < config.min_inliers:
        return SameScene(False, "few_matches", len(pairs), 0)
    a = np.array([points_q[i].pt for i, _ in pairs])
    b = np.array([points_k[j].pt for _, j in pairs])
    cv2.setRNGSeed(0)
    _, plane = cv2.findHomography(a, b, cv2.USAC_MAGSAC, config.tolerance_px, maxIters=5000, confidence=0.999)
    _, depth = cv2.findFundamentalMat(a, b, cv2.USAC_MAGSAC, config.tolerance_px, 0.999, 5000)
    # OpenCV's types do not say that a mask is None where no geometry was found.
    masks = cast("tuple[np.ndarray | None, ...]", (plane, depth))
    inliers = max((int(mask.sum()) for mask in masks if mask is not None), default=0)
    enough = inliers >= config.min_inliers and inliers >= config.min_inlier_share * len(pairs)
    return SameScene(enough, "same_scene" if enough else "no_geometry", len(pairs), inliers)


def _mutual(a: np.ndarray, b: np.ndarray, ratio: float) -> list[tuple[int, int]]:
    """Index pairs of vectors (N, 128) and (M, 128) that are each other's nearest and pass the ratio test."""
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    forward = {m[0].queryIdx: m for m in matcher.knnMatch(a, b, k=2) if len(m) == 2}
    backward = {m.queryIdx: m.trainIdx for m in matcher.match(b, a)}
    return [
        (i, first.trainIdx)
        for i, (first, second) in forward.items()
        if first.distance < ratio * second.distance and backward.get(first.trainIdx) == i
    ]
