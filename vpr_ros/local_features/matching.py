"""Which keypoints of two pictures are the same, and how many of them agree on one geometry."""

from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.local_features.features import LocalFeatures

WORKING_SIDE = 640  # pixels of the longer side that tolerances are given for, whatever the picture's own size
TOLERANCE_PX = 2.5
ITERATIONS = 300
FEWEST = 8  # matches that a fundamental matrix says anything of


@dataclass(frozen=True)
class MatchRule:
    """Each is the other's nearest, at least so alike, and nearer than the second by so much."""

    min_cosine: float
    ratio: float = 1.0  # of the distances to the nearest and the second nearest


RULES = {"xfeat": MatchRule(0.82), "sift": MatchRule(0.6, 0.9)}


def mutual_matches(query: LocalFeatures, keyframe: LocalFeatures) -> np.ndarray:
    """Rows (M, 2) of keypoints of both pictures that are each other's nearest and pass the rule of their kind.

    None match where the kinds differ.
    """
    if query.kind != keyframe.kind or not len(query) or not len(keyframe):
        return np.empty((0, 2), dtype=np.int64)
    rule = RULES[query.kind]
    cosines = query.descriptors @ keyframe.descriptors.T
    nearest, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    rows = np.arange(len(query))
    best = cosines[rows, nearest]
    good = (back[nearest] == rows) & (best >= rule.min_cosine)
    if rule.ratio < 1 and cosines.shape[1] > 1:
        second = np.partition(cosines, -2, axis=1)[:, -2]
        good &= np.sqrt(np.maximum(2 - 2 * best, 0)) < rule.ratio * np.sqrt(np.maximum(2 - 2 * second, 0))
    return np.column_stack([rows[good], nearest[good]])


def epipolar_inliers(query: LocalFeatures, keyframe: LocalFeatures, pairs: np.ndarray) -> np.ndarray:
    """(M,) bool: which matches (M, 2) agree on one fundamental matrix (OpenCV's MAGSAC++); none of fewer than 8."""
    if len(pairs) < FEWEST:
        return np.zeros(len(pairs), dtype=bool)
    a, b = (
        one.pixels[rows].astype(np.float64) * (WORKING_SIDE / max(one.size))
        for one, rows in zip((query, keyframe), pairs.T, strict=True)
    )
    cv2.setRNGSeed(0)
    found: np.ndarray | None = None
    with suppress(cv2.error):  # OpenCV 5 fails its own assertion where no sample gives a model
        _, found = cv2.findFundamentalMat(a, b, cv2.USAC_MAGSAC, TOLERANCE_PX, 0.999, ITERATIONS)
    return np.zeros(len(pairs), dtype=bool) if found is None else found.ravel().astype(bool)
