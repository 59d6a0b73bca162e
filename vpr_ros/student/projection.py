"""Linear reduction of raw descriptors: PCA, with or without whitening."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError

SAMPLES_PER_DIM = 4
RANK_TOLERANCE = 1e-10
CHUNK = 1024


@dataclass(frozen=True)
class Projection:
    """mean (K,) and matrix (K, d), float32; `whiten`, 0 to 1, says how far the variances were made equal."""

    mean: np.ndarray
    matrix: np.ndarray
    whiten: float = 0.0

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.matrix.ndim != 2 or len(self.mean) != len(self.matrix):
            raise VprError(
                f"the projection's mean {self.mean.shape} and matrix {self.matrix.shape} do not fit each other."
            )

    def __str__(self) -> str:
        return f"PCA whitened by {self.whiten:g} to {self.dim}" if self.whiten else f"PCA to {self.dim}"

    @property
    def input_dim(self) -> int:
        """Length K of the descriptors it takes."""
        return self.matrix.shape[0]

    @property
    def dim(self) -> int:
        """Length d of the descriptors it gives."""
        return self.matrix.shape[1]

    def apply(self, descriptors: np.ndarray, renormalise: bool = True) -> np.ndarray:
        """(N, K) -> (N, d) float32, unit rows so that the inner product is the cosine.

        `renormalise=False` gives the plain PCA scores that the paper compares by Euclidean distance. VprError when
        K differs.
        """
        if descriptors.ndim != 2 or descriptors.shape[1] != self.input_dim:
            raise VprError(
                f"the projection takes descriptors of {self.input_dim} numbers, not shape {descriptors.shape}."
            )
        scores = (descriptors.astype(np.float32) - self.mean) @ self.matrix
        if renormalise:
            scores = scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)
        return scores.astype(np.float32)


def fit_projection(descriptors: np.ndarray, dim: int = 512, whiten: float = 0.0) -> Projection:
    """Principal directions of descriptors (N, K), largest variance first; no labels needed.

    `whiten` w divides each direction by its standard deviation to the power w: 0 is plain PCA, 1 gives all directions
    the same weight, 0.5 recognises best across seasons here. Sums are float64, and the smaller of the K x K covariance
    and the N x N Gram matrix is decomposed. VprError when N < 4 * dim (directions from fewer samples do not carry over
    to other images), or when the samples span fewer than `dim` directions.
    """
    count, length = descriptors.shape
    if not 0 <= whiten <= 1:
        raise VprError(f"whitening by {whiten} is not possible: choose 0 (plain PCA) to 1 (equal variance).")
    if dim < 1 or dim > length:
        raise VprError(f"a projection to {dim} dimensions of descriptors with {length} numbers is not possible.")
    if count < SAMPLES_PER_DIM * dim:
        raise VprError(
            f"{count} descriptors are too few for {dim} dimensions: at least {SAMPLES_PER_DIM * dim} are needed."
        )
    if not np.isfinite(descriptors).all():
        raise VprError("the descriptors to fit the projection on contain NaN or infinite numbers.")
    mean = descriptors.mean(axis=0, dtype=np.float64)
    centred = torch.as_tensor(descriptors.astype(np.float32) - mean.astype(np.float32))
    rows_first = length <= count
    size = length if rows_first else count
    product = torch.zeros(size, size, dtype=torch.float64)
    for chunk in torch.split(centred, CHUNK, dim=0 if rows_first else 1):
        chunk = chunk.double()
        product += chunk.T @ chunk if rows_first else chunk @ chunk.T
    solved = torch.linalg.eigh(product)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]  # no types
    values, vectors = cast("tuple[Tensor, Tensor]", solved)
    values, vectors = values.flip(0)[:dim], vectors.flip(1)[:, :dim]
    spanned = int((values > RANK_TOLERANCE * values[0].clamp(min=1e-30)).sum())
    if spanned < dim:
        raise VprError(
            f"the {count} descriptors span only {spanned} directions: ask for at most {spanned} or add images."
        )
    if not rows_first:
        # a left singular vector times the data is a right one, its length the singular value
        vectors = (
            torch.cat([chunk.double().T @ vectors for chunk in torch.split(centred, CHUNK, dim=1)]) / values.sqrt()
        )
    # the sign of a direction is arbitrary: fix it, so that two fits of the same data agree
    largest = vectors.abs().argmax(dim=0, keepdim=True)
    vectors = vectors * vectors.gather(0, largest).sign()
    vectors = vectors * ((count - 1) / values) ** (whiten / 2)
    return Projection(mean.astype(np.float32), vectors.numpy().astype(np.float32), whiten)
