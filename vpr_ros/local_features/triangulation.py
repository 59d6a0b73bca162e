"""Depth at keypoints from a drive itself: the same point seen from two keyframes, whose distance odometry tells."""

from collections import deque

import cv2
import numpy as np
from scipy.optimize import least_squares

from vpr_ros.geometry import invert, rigid_transform
from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.local_features.matching import WORKING_SIDE, mutual_matches

EARLIER = 2  # keyframes that a new one is compared with
SHORTEST_M = 0.3  # between two keyframes: odometry's noise is small against it
LEAST_PARALLAX_DEG = 2.0
MOST_OFF_PX = 2.0  # of a picture whose longer side has WORKING_SIDE pixels
DISAGREE = 0.2  # depths by two keyframes that differ by more are both left out
_FEWEST_MATCHES = 20
_START_PX = 16.0  # matches further from odometry's epipolar lines do not correct it
_NEAREST_M, _FARTHEST_M = 0.3, 300.0


class Triangulator:
    """Depth for the keypoints of a drive's keyframes, from those before them."""

    def __init__(self):
        self._earlier: deque[tuple[LocalFeatures, np.ndarray]] = deque(maxlen=EARLIER)

    def reset(self) -> None:
        """Another drive begins."""
        self._earlier.clear()

    def add(self, features: LocalFeatures, T_odom_base: np.ndarray | None) -> None:
        """A keyframe that later ones may be compared with; none where its camera, its pose or odometry is unknown."""
        if T_odom_base is not None and features.camera is not None and features.T_base_camera is not None:
            self._earlier.append((features, T_odom_base @ features.T_base_camera))

    def depth(self, features: LocalFeatures, T_odom_base: np.ndarray | None) -> np.ndarray | None:
        """Depth (N,) float32 by the keyframes before, NaN where they do not tell; None where none can.

        Of two keyframes the one with the larger parallax counts.
        """
        if T_odom_base is None or features.camera is None or features.T_base_camera is None or not self._earlier:
            return None
        T_odom_camera = T_odom_base @ features.T_base_camera
        depth, parallax = np.full(len(features), np.nan), np.zeros(len(features))
        for earlier, T_odom_earlier in self._earlier:
            found, angle = triangulated(features, earlier, invert(T_odom_earlier) @ T_odom_camera)
            disagree = np.abs(depth - found) > DISAGREE * np.fmax(depth, found)  # never where one is NaN
            depth, parallax = np.where(angle > parallax, found, depth), np.maximum(angle, parallax)
            depth[disagree] = np.nan
        return depth.astype(np.float32)


def triangulated(
    features: LocalFeatures, earlier: LocalFeatures, T_earlier_camera: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (N,) of keypoints by an earlier picture, and parallax (N,) in degrees; NaN and 0 where it does not tell.

    `T_earlier_camera` (4, 4) maps points of this picture's optical frame into the earlier one's. Its length is
    believed; its rotation and its direction are corrected by the matches, since half a degree that odometry or the
    mounting is off would spoil most depths.
    """
    depth, parallax = np.full(len(features), np.nan), np.zeros(len(features))
    pairs = mutual_matches(features, earlier)
    if len(pairs) < _FEWEST_MATCHES or np.linalg.norm(T_earlier_camera[:3, 3]) < SHORTEST_M:
        return depth, parallax
    assert features.rays is not None and earlier.rays is not None and features.camera is not None
    ones = np.ones((len(pairs), 1))
    rays, seen = np.hstack([features.rays[pairs[:, 0]], ones]), np.hstack([earlier.rays[pairs[:, 1]], ones])
    # Of one focal length, so that what is off is in pixels of the working size.
    focal_px = features.camera.K[0, 0] * WORKING_SIDE / max(features.size)
    T = _corrected(T_earlier_camera, rays, seen, focal_px)
    turned, t = rays @ T[:3, :3].T, T[:3, 3]
    z, s = _along(turned, seen, t)
    good = (np.minimum(z, s) > _NEAREST_M) & (z < _FARTHEST_M)
    off = np.full(len(pairs), np.inf)
    there = turned[good] * z[good, None] + t
    here = (seen[good] * s[good, None] - t) @ T[:3, :3]
    off[good] = focal_px * np.maximum(
        np.linalg.norm(there[:, :2] / there[:, 2:] - seen[good, :2], axis=1),
        np.linalg.norm(here[:, :2] / here[:, 2:] - rays[good, :2], axis=1),
    )
    cosine = (turned * seen).sum(axis=1) / np.linalg.norm(turned, axis=1) / np.linalg.norm(seen, axis=1)
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    good &= (off < MOST_OFF_PX) & (angle > LEAST_PARALLAX_DEG)
    depth[pairs[good, 0]], parallax[pairs[good, 0]] = z[good], angle[good]
    return depth, parallax


def epipolar_distance(T: np.ndarray, rays: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Signed first-order distance (M,) of matches to their epipolar geometry, in units of the focal length (Sampson).

    Rays (M, 3) with z = 1 of this and of the earlier picture; T (4, 4) maps this one's frame into the earlier one's.
    """
    x, y, z = T[:3, 3]
    E = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T[:3, :3]
    lines, back = rays @ E.T, seen @ E
    length = np.sqrt((lines[:, :2] ** 2).sum(axis=1) + (back[:, :2] ** 2).sum(axis=1))
    return (seen * lines).sum(axis=1) / np.maximum(length, 1e-12)


def _corrected(T: np.ndarray, rays: np.ndarray, seen: np.ndarray, focal_px: float) -> np.ndarray:
    """The motion with another rotation and direction, by the matches that are near its epipolar lines."""
    length = float(np.linalg.norm(T[:3, 3]))
    direction = T[:3, 3] / length
    across = np.linalg.svd(direction[None])[2][1:]  # two directions at right angles to it

    def moved(change: np.ndarray) -> np.ndarray:
        t = direction + change[3:] @ across
        R = cv2.Rodrigues(change[:3])[0] @ T[:3, :3]
        return rigid_transform(R, t * (length / np.linalg.norm(t)))

    use = np.abs(epipolar_distance(T, rays, seen)) * focal_px < _START_PX
    if use.sum() < _FEWEST_MATCHES:
        return T
    found = least_squares(
        lambda change: epipolar_distance(moved(change), rays[use], seen[use]) * focal_px,
        np.zeros(5),
        loss="cauchy",
        max_nfev=15,
    )
    return moved(found.x)


def _along(turned: np.ndarray, seen: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Factors (M,), (M,) by which two rays (M, 3) come nearest: t + z * turned and s * seen; -1 for parallel ones."""
    a, b, c = (turned**2).sum(axis=1), (turned * seen).sum(axis=1), (seen**2).sum(axis=1)
    d, e = turned @ t, seen @ t
    det = a * c - b * b
    parallel = det < 1e-12 * a * c
    det = np.where(parallel, 1.0, det)
    z, s = (b * e - c * d) / det, (a * e - b * d) / det
    return np.where(parallel, -1.0, z), np.where(parallel, -1.0, s)
