"""Local features of no picture: random ones, for what keeps and compares them."""

import numpy as np

from vpr_ros.local_features import LocalFeatures
from vpr_ros.sensors.cameras import Camera


def random_features(n: int, depth: bool, seed: int = 0, kind: str = "xfeat", dim: int = 64) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(n, dim)).astype(np.float32)
    camera = Camera(np.array([[400.0, 0, 310], [0, 401, 236], [0, 0, 1]]), 640, 480, np.array([0.1, -0.05, 0.001, 0]))
    return LocalFeatures(
        kind,
        (640, 480),
        rng.uniform([0, 0], [639, 479], (n, 2)).astype(np.float32),
        np.sort(rng.uniform(0, 1, n).astype(np.float32))[::-1],
        descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True),
        camera,
        np.vstack([np.column_stack([np.eye(3), [1.5, 0, 1.2]]), [0, 0, 0, 1]]),
        np.where(rng.uniform(size=n) < 0.5, rng.uniform(1, 60, n), np.nan).astype(np.float32) if depth else None,
    )
