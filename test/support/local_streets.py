"""Local features of simulated streets: keypoints that belong to one stretch of one street and to no other."""

from collections.abc import Sequence

import numpy as np
from recognition_worlds import Drive

from vpr_ros.calibration.comparisons import Pictures
from vpr_ros.local_features import LocalFeatures

STRETCH_M, OF_A_STRETCH = 3.0, 25


def features_at(street: int, s: float) -> LocalFeatures:
    """What a camera sees at arc length `s`: the keypoints of its stretch and of both neighbours, moved by parallax."""
    middle = int(np.floor(s / STRETCH_M))
    pixels, descriptors = [], []
    for stretch in (middle - 1, middle, middle + 1):
        rng = np.random.default_rng([int(street), stretch + 1000])
        depth = rng.uniform(4, 40, OF_A_STRETCH)
        seen = rng.uniform([60, 0], [580, 480], (OF_A_STRETCH, 2))
        seen[:, 0] += 300 * (s - STRETCH_M * stretch) / depth
        pixels.append(seen)
        descriptors.append(rng.normal(size=(OF_A_STRETCH, 64)))
    vectors = np.concatenate(descriptors).astype(np.float32)
    return LocalFeatures(
        "xfeat",
        (640, 480),
        np.concatenate(pixels).astype(np.float32),
        np.ones(len(vectors), np.float32),
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )


def pictures_of(drives: Sequence[Drive]) -> tuple[Pictures, list[np.ndarray]]:
    """All pictures of the drives, and the numbers of each drive's."""
    seen = [(int(street), float(s)) for one in drives for street, s in zip(one.street, one.s, strict=True)]
    ends = np.cumsum([0, *(len(one.s) for one in drives)])
    return Pictures("xfeat", lambda i: features_at(*seen[i])), [
        np.arange(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)
    ]
