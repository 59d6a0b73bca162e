"""Depth at keypoints from what measured it in the same moment: a LiDAR's cloud, or an aligned depth image."""

import numpy as np
from scipy.spatial import KDTree

from vpr_ros.geometry import invert
from vpr_ros.local_features.features import LocalFeatures

# Of a cloud, angles as shares of the focal length: 6 and 4 pixels of a picture 320 wide with 78 degrees of view.
REACH = 0.03  # points so far from a keypoint say what surface it lies on
NEAREST = 0.02  # and one of them is at least so near
MOST_POINTS, FEWEST_POINTS = 6, 3
TOLERANCE, TOLERANCE_M = 0.06, 0.15  # of depth: points that are further from one plane are of several surfaces
_RIDGE = 0.02  # keeps a plane through points on one line, as of a single beam, from tilting across it
_NEAREST_M, _FARTHEST_M = 0.3, 300.0
EDGE, LEAST_KNOWN = 0.1, 6  # a depth image's neighbours that differ by more are on both sides of an edge


def depth_from_cloud(features: LocalFeatures, cloud: np.ndarray) -> np.ndarray | None:
    """Depth (N,) float32 by a cloud (M, 3) of the base frame at the picture's time; None without camera or its pose.

    A keypoint gets the depth of the plane through the points around it: in a picture, the inverse depth of a plane is
    linear. NaN where the points around it do not lie on one plane: an edge, or a near surface that hides a far one
    which the LiDAR, standing elsewhere, still sees.
    """
    camera, T_base_camera = features.camera, features.T_base_camera
    if camera is None or T_base_camera is None:
        return None
    depth = np.full(len(features), np.nan, dtype=np.float32)
    T = invert(T_base_camera)
    points = np.asarray(cloud, np.float64) @ T[:3, :3].T + T[:3, 3]
    points = points[(points[:, 2] > _NEAREST_M) & (points[:, 2] < _FARTHEST_M)]
    pixels, seen = camera.project(points)
    pixels, z = pixels[seen], points[seen, 2]
    if not len(z) or not len(features):
        return depth
    reach_px = REACH * camera.K[0, 0]
    distance, index = KDTree(pixels).query(features.pixels, k=MOST_POINTS, distance_upper_bound=reach_px)
    found = np.isfinite(distance)
    index = np.where(found, index, 0)
    near = np.where(found, distance / reach_px, 0.0)
    offset = (pixels[index] - features.pixels[:, None]) / reach_px
    weight = np.where(found, np.exp(-2 * near**2), 0.0)
    plane = _planes(offset, 1 / z[index], weight)
    at_points = 1 / np.maximum(plane[:, :1] + (offset * plane[:, None, 1:]).sum(axis=2), 1 / _FARTHEST_M)
    off = np.abs(at_points - z[index]) > TOLERANCE * z[index] + TOLERANCE_M
    good = (found.sum(axis=1) >= FEWEST_POINTS) & (distance[:, 0] < NEAREST * camera.K[0, 0])
    good &= ~(off & found).any(axis=1) & (plane[:, 0] > 1 / _FARTHEST_M)
    depth[good] = 1 / plane[good, 0]
    return depth


def depth_from_image(features: LocalFeatures, image: np.ndarray) -> np.ndarray:
    """Depth (N,) float32 by an aligned depth image (H, W) in metres, NaN where it is unknown.

    The median of 3 x 3 pixels; NaN where fewer than LEAST_KNOWN of them are known or those that are differ by more than
    EDGE: at an edge such sensors see nothing, or a point between its two surfaces.
    """
    height, width = image.shape
    column, row = np.round(features.pixels).astype(np.int64).T
    steps = np.arange(-1, 2)
    rows = np.clip(row[:, None, None] + steps[:, None], 0, height - 1)
    columns = np.clip(column[:, None, None] + steps, 0, width - 1)
    around = image[rows, columns].reshape(len(features), 9)
    known = np.isfinite(around) & (around > 0)
    around = np.where(known, around, np.nan)
    depth = np.full(len(features), np.nan, dtype=np.float32)
    some = known.sum(axis=1) >= LEAST_KNOWN
    low, high = np.nanmin(around[some], axis=1), np.nanmax(around[some], axis=1)
    depth[some] = np.where(high - low <= EDGE * low, np.nanmedian(around[some], axis=1), np.nan)
    return depth


def _planes(offset: np.ndarray, inverse: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted least squares (N, 3), a + b x + c y, of values (N, k) at places (N, k, 2), slopes drawn towards 0."""
    A = np.concatenate([np.ones((*inverse.shape, 1)), offset], axis=2)
    normal = np.einsum("nki,nk,nkj->nij", A, weight, A)
    total = np.maximum(weight.sum(axis=1), 1e-9)
    normal += total[:, None, None] * np.diag([1e-9, _RIDGE, _RIDGE])
    return np.linalg.solve(normal, np.einsum("nki,nk->ni", A, weight * inverse)[..., None])[..., 0]
