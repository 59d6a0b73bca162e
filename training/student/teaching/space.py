"""Normalisation of a teacher's embeddings, for comparison with a student's unit descriptors.

Embeddings of a network trained on raw distances have lengths that carry no information on the place, a mean, and a few
dominant directions. A student's descriptors have length 1 and directions of equal weight.
"""

from typing import Literal

import numpy as np

Space = Literal["raw", "centred", "whitened"]


def to_space(embeddings: np.ndarray, space: Space) -> np.ndarray:
    """(N, D) -> (N, D) float32. `centred`: the mean subtracted, mean length 1. `whitened`: besides in principal axes,
    each divided by the square root of its spread, which keeps the order of the axes (half a whitening).

    The statistics are those of the given rows. Identical rows become zeros. Rows of NaN, for samples that lack an input
    of the teacher, stay NaN and are not in the statistics.
    """
    if space == "raw":
        return embeddings
    seen = np.isfinite(embeddings).all(1)
    if not seen.all():
        result = embeddings.astype(np.float32)
        result[seen] = to_space(embeddings[seen], space)
        return result
    x = embeddings.astype(np.float64)
    x -= x.mean(0)
    if space == "whitened":
        _, spread, axes = np.linalg.svd(x, full_matrices=False)
        used = spread > 1e-6 * max(float(spread[0]), 1e-30)
        x = x @ axes.T * np.where(used, np.where(used, spread, 1.0) ** -0.5, 0.0)
    length = float(np.linalg.norm(x, axis=1).mean())
    return (x / (length or 1.0)).astype(np.float32)
