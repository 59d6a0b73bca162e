"""A teacher's embeddings, brought to where a student of unit descriptors can compare itself with them.

Embeddings of a network trained on raw distances have a length that says nothing about the place, and a mean and a few
directions that outweigh the rest. A student's descriptors have length 1 and directions that count alike.
"""

from typing import Literal

import numpy as np

Space = Literal["raw", "centred", "whitened"]


def to_space(embeddings: np.ndarray, space: Space) -> np.ndarray:
    """(N, D) -> (N, D) float32. `centred`: without their mean, at mean length 1. `whitened`: in their principal
    axes besides, each divided by the square root of its spread, which keeps the order of the axes (half a whitening).

    The statistics are those of the given rows. Rows that are all the same become zeros. Rows of NaN, samples that the
    teacher does not see, stay NaN and count nowhere.
    """
    if space == "raw":
        return embeddings
    seen = np.isfinite(embeddings).all(1)
    if not seen.all():
        known = embeddings.astype(np.float32)
        known[seen] = to_space(embeddings[seen], space)
        return known
    x = embeddings.astype(np.float64)
    x -= x.mean(0)
    if space == "whitened":
        _, spread, axes = np.linalg.svd(x, full_matrices=False)
        kept = spread > 1e-6 * max(float(spread[0]), 1e-30)
        x = x @ axes.T * np.where(kept, np.where(kept, spread, 1.0) ** -0.5, 0.0)
    length = float(np.linalg.norm(x, axis=1).mean())
    return (x / (length or 1.0)).astype(np.float32)
