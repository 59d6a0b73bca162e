"""A world of points that look different from one another, and the local features of cameras in it."""

import numpy as np

from vpr_ros.geometry import invert
from vpr_ros.local_features import LocalFeatures
from vpr_ros.sensors.cameras import Camera

R_BASE_OPTICAL = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])
FORWARD = np.vstack([np.column_stack([R_BASE_OPTICAL, [0.4, 0.1, 1.5]]), [0, 0, 0, 1]])  # a camera that looks ahead
PINHOLE = Camera(np.array([[300.0, 0, 320], [0, 300, 240], [0, 0, 1]]), 640, 480, np.zeros(0))
BENT = Camera(np.array([[280.0, 0, 320], [0, 281, 238], [0, 0, 1]]), 640, 480, np.array([-0.2, 0.03, 0.001, -0.001]))
FISHEYE = Camera(np.array([[250.0, 0, 320], [0, 250, 240], [0, 0, 1]]), 640, 480, np.zeros(0), "equidistant")


class LandmarkWorld:
    """`count` points around a street ahead of the origin, each with a descriptor of its own."""

    def __init__(self, seed: int, count: int = 600, points: np.ndarray | None = None):
        rng = np.random.default_rng(seed)
        spread = rng.uniform([3, -12, -0.5], [45, 12, 8], (count, 3))
        self.points = spread if points is None else points
        looks = rng.normal(size=(len(self.points), 64))
        self.looks = looks / np.linalg.norm(looks, axis=1, keepdims=True)

    def seen_from(
        self,
        T_world_base: np.ndarray,
        seed: int,
        camera: Camera = PINHOLE,
        T_base_camera: np.ndarray = FORWARD,
        noise_px: float = 0.5,
        depth_noise: float | None = None,
        missing: float = 0.2,
        wrong: float = 0.1,
    ) -> LocalFeatures:
        """The features of one picture. `depth_noise` is a share of the depth, None for no depth; `wrong` of the
        keypoints look like another point of the world, `missing` are not found."""
        rng = np.random.default_rng(seed)
        T = invert(T_world_base @ T_base_camera)
        inside = self.points @ T[:3, :3].T + T[:3, 3]
        pixels, seen = camera.project(inside)
        rows = rng.permutation(np.flatnonzero(seen & (rng.uniform(size=len(seen)) >= missing)))
        looks = self.looks[rows] + rng.normal(0, 0.03, (len(rows), 64))
        swapped = np.flatnonzero(rng.uniform(size=len(rows)) < wrong)
        looks[swapped] = self.looks[rng.integers(0, len(self.looks), len(swapped))]
        depth = None
        if depth_noise is not None:
            depth = (inside[rows, 2] * (1 + rng.normal(0, depth_noise, len(rows)))).astype(np.float32)
        return LocalFeatures(
            "xfeat",
            (camera.width, camera.height),
            (pixels[rows] + rng.normal(0, noise_px, (len(rows), 2))).astype(np.float32),
            np.ones(len(rows), np.float32),
            (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32),
            camera,
            T_base_camera,
            depth,
        )
