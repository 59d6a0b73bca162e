"""The local features of one upright picture."""

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from vpr_ros.sensors.cameras import Camera


@dataclass(frozen=True)
class LocalFeatures:
    """N keypoints, best score first; row i of every array is the same one.

    `pixels` have the centre of the first pixel at (0, 0). `camera` and `T_base_camera` (4, 4), the pose of its optical
    frame in the base, are those of the upright picture; None where they were not known. `depth_m` is along the optical
    axis and NaN where nothing told it; None where nothing could.
    """

    kind: str  # of the descriptors: those of two kinds cannot be compared
    size: tuple[int, int]  # width and height of the picture as the camera gave it, whatever it was scaled to
    pixels: np.ndarray  # (N, 2) float32
    scores: np.ndarray  # (N,) float32
    descriptors: np.ndarray  # (N, D) float32 unit rows
    camera: Camera | None = None
    T_base_camera: np.ndarray | None = None
    depth_m: np.ndarray | None = None  # (N,) float32

    def __len__(self) -> int:
        return len(self.pixels)

    @cached_property
    def rays(self) -> np.ndarray | None:
        """Directions (N, 2): x / z and y / z in the optical frame, without distortion; None without a camera."""
        return None if self.camera is None else self.camera.rays(self.pixels)

    @cached_property
    def has_depth(self) -> np.ndarray:
        """(N,) bool: which keypoints have a depth."""
        return np.zeros(len(self), dtype=bool) if self.depth_m is None else np.isfinite(self.depth_m)

    @cached_property
    def points(self) -> np.ndarray | None:
        """Points (N, 3) in the optical frame, metres, NaN without depth; None where no camera or no depth is known."""
        if self.rays is None or self.depth_m is None:
            return None
        return np.column_stack([self.rays, np.ones(len(self))]) * self.depth_m[:, None].astype(np.float64)

    def completed(self, depth_m: np.ndarray | None) -> "LocalFeatures":
        """With these depths (N,) where none is known yet; None tells nothing."""
        if depth_m is None:
            return self
        known = depth_m if self.depth_m is None else np.where(self.has_depth, self.depth_m, depth_m)
        return replace(self, depth_m=known.astype(np.float32))

    def select(self, rows: np.ndarray) -> "LocalFeatures":
        """The keypoints of these rows or of this mask."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name in _ARRAYS}
        return replace(self, **{name: None if a is None else a[rows] for name, a in arrays.items()})


_ARRAYS = ("pixels", "scores", "descriptors", "depth_m")
