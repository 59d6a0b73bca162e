"""Keypoints of keyframes whose points are known, and where a query sees them: by looks, or near where they must be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.geometry import invert
from vpr_ros.local_features import LocalFeatures
from vpr_ros.local_features.matching import WORKING_SIDE
from vpr_ros.verification.pose import Sightings, lens_slopes


@dataclass(frozen=True)
class Neighbour:
    """The matched keyframe or one beside it, and where the map has it."""

    features: LocalFeatures
    T_keyframe_neighbour: np.ndarray  # (4, 4), base to base

    @property
    def T_keyframe_camera(self) -> np.ndarray:
        """Pose (4, 4) of its camera in the base frame of the matched keyframe."""
        assert self.features.T_base_camera is not None
        return self.T_keyframe_neighbour @ self.features.T_base_camera

    @property
    def measured(self) -> bool:
        """Whether it has points in a metric frame."""
        return self.features.points is not None and self.features.T_base_camera is not None


def with_points(query: LocalFeatures, neighbour: Neighbour, pairs: np.ndarray) -> np.ndarray:
    """Of matches (M, 2) those whose points are known and whose rays are finite."""
    points, rays = neighbour.features.points, query.rays
    assert points is not None and rays is not None
    return pairs[np.isfinite(points[pairs[:, 1]]).all(axis=1) & np.isfinite(rays[pairs[:, 0]]).all(axis=1)]


def sightings(query: LocalFeatures, found: Sequence[tuple[Neighbour, np.ndarray]]) -> Sightings:
    """Matches (M, 2) with points, of each neighbour, as one set in the base frame of the matched keyframe."""
    assert query.camera is not None and query.rays is not None
    rows = np.concatenate([pairs[:, 0] for _, pairs in found])
    points: list[np.ndarray] = []
    along: list[np.ndarray] = []
    depth_m: list[np.ndarray] = []
    for neighbour, pairs in found:
        of, T, kept = neighbour.features, neighbour.T_keyframe_camera, pairs[:, 1]
        assert of.points is not None and of.rays is not None and of.depth_m is not None
        points.append(of.points[kept] @ T[:3, :3].T + T[:3, 3])
        along.append(np.column_stack([of.rays[kept], np.ones(len(kept))]) @ T[:3, :3].T)
        depth_m.append(of.depth_m[kept].astype(np.float64))
    return Sightings(
        points=np.concatenate(points),
        along=np.concatenate(along),
        depth_m=np.concatenate(depth_m),
        rays=query.rays[rows],
        rays_per_pixel=lens_slopes(query.camera, query.pixels[rows]),
        px=max(query.size) / WORKING_SIDE,
    )


def near_projection(
    query: LocalFeatures, neighbour: Neighbour, T_keyframe_query: np.ndarray, radius_px: float, min_cosine: float
) -> tuple[np.ndarray, int]:
    """Matches (M, 2) of a neighbour's points with keypoints near where the pose has them, and how many it has in view.

    Each is the other's most alike among those at most `radius_px` pixels (of a picture 640 wide) away: what a search
    through the whole picture leaves out as not clear enough is found where it must be.
    """
    of = neighbour.features
    assert query.camera is not None and query.T_base_camera is not None and of.points is not None
    rows = np.flatnonzero(of.has_depth)
    T = invert(neighbour.T_keyframe_camera) @ T_keyframe_query @ query.T_base_camera
    pixels, seen = query.camera.project((of.points[rows] - T[:3, 3]) @ T[:3, :3])
    rows, pixels = rows[seen], pixels[seen].astype(np.float32)
    if not len(rows) or not len(query):
        return np.empty((0, 2), dtype=np.int64), len(rows)
    # |a - b|^2 as a product of matrices: the table has a hundred thousand entries.
    apart = (pixels**2).sum(axis=1)[:, None] + (query.pixels**2).sum(axis=1) - 2 * pixels @ query.pixels.T
    cosines = of.descriptors[rows] @ query.descriptors.T
    cosines[apart > np.float32((radius_px * max(query.size) / WORKING_SIDE) ** 2)] = -1
    there, back = cosines.argmax(axis=1), cosines.argmax(axis=0)
    every = np.arange(len(rows))
    good = (cosines[every, there] >= min_cosine) & (back[there] == every)
    return np.column_stack([there[good], rows[good]]), len(rows)
