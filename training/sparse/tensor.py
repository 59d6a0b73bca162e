"""A feature matrix whose rows are voxels of a batch of clouds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.training.sparse.coordinates import CoordinateManager, Coordinates
from vpr_ros.training.sparse.keys import KeyLayout
from vpr_ros.training.sparse.ordering import unique_keys


class Voxels(Protocol):
    """The voxels of the rows of a feature matrix, in either backend."""

    @property
    def rows(self) -> Tensor: ...  # (V, 4) int32: batch, x, y, z in units of the finest grid
    @property
    def batch(self) -> Tensor: ...  # (V,) int64
    @property
    def batch_size(self) -> int: ...
    @property
    def counts(self) -> list[int]: ...  # voxels of each cloud
    @property
    def stride(self) -> int: ...
    def __len__(self) -> int: ...
    def same_as(self, other: Any) -> bool: ...


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """`features` (V, C) at the voxels of `coordinates`, row by row."""

    features: Tensor
    coordinates: Voxels

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or len(self.features) != len(self.coordinates):
            raise VprError(
                f"features of shape {tuple(self.features.shape)} do not belong to {len(self.coordinates)} voxels."
            )

    @property
    def batch_size(self) -> int:
        """Clouds in the batch."""
        return self.coordinates.batch_size

    def replace(self, features: Tensor) -> SparseTensor:
        """Other features (V, C') at the same voxels."""
        return SparseTensor(features, self.coordinates)

    def scale_by(self, weights: Tensor) -> SparseTensor:
        """Multiply every voxel of cloud b by `weights[b]`; weights (B, C)."""
        if len(weights) != self.batch_size:
            raise VprError(f"{len(weights)} rows of weights for {self.batch_size} clouds.")
        return self.replace(self.features * weights.index_select(0, self.coordinates.batch))

    def __add__(self, other: SparseTensor) -> SparseTensor:
        if not self.coordinates.same_as(other.coordinates):
            raise VprError("sparse tensors of different voxels cannot be added: make both from one voxelise().")
        return self.replace(self.features + other.features)


def sparse_tensor(rows: Tensor, features: Tensor, batch_size: int | None = None, stride: int = 1) -> SparseTensor:
    """A tensor from rows (V, 4) of (batch, x, y, z) in any order and their features (V, C).

    VprError as `Coordinates.from_rows`. The result's rows are sorted.
    """
    coordinates, order = Coordinates.from_rows(rows, batch_size, stride)
    return SparseTensor(features[order], coordinates)


def voxel_rows(clouds: Sequence[np.ndarray | Tensor], size: float, device: torch.device | str | None) -> tuple:
    """floor(point / size) of all points, in the points' own precision (half: float32).

    Clouds [(N_i, 3)] in the unit of `size` -> cloud of each point (N,) int64, voxel of each point (N, 3) as floating
    point numbers without a fraction. Division by 0.01 and multiplication by 100 differ at cell borders, and so do
    divisions by a Python number on a CPU and on a GPU: the divisor is a tensor here. VprError for no clouds, an empty
    cloud, another shape, or points that are not finite.
    """
    if not size > 0:
        raise VprError(f"the voxel size must be positive, not {size}.")
    if len(clouds) == 0:
        raise VprError("there are no clouds to voxelise.")
    points = []
    for i, cloud in enumerate(clouds):
        if cloud.ndim != 2 or cloud.shape[1] != 3:
            raise VprError(f"cloud {i} has the shape {tuple(cloud.shape)}, not (N, 3).")
        if len(cloud) == 0:
            raise VprError(f"cloud {i} of {len(clouds)} has no points: leave that sample out.")
        points.append(torch.as_tensor(cloud, device=device))
    dtype = torch.promote_types(torch.float32, points[0].dtype)
    joined = torch.cat([cloud.to(dtype) for cloud in points])
    counts = torch.tensor([len(cloud) for cloud in points], device=joined.device)
    batch = torch.repeat_interleave(torch.arange(len(points), device=joined.device), counts)
    finite = torch.isfinite(joined).all(1)
    if not bool(finite.all()):
        bad = int(batch[int((~finite).nonzero()[0, 0])])
        raise VprError(f"cloud {bad} of {len(clouds)} holds points that are not finite: remove them first.")
    return batch, torch.floor(joined / torch.tensor(size, dtype=dtype, device=joined.device))


def voxelise(
    clouds: Sequence[np.ndarray | Tensor], size: float, device: torch.device | str | None = None
) -> SparseTensor:
    """Clouds [(N_i, 3)] in the unit of `size` -> constant feature 1 (V, 1) float32 at each voxel that holds a point.

    The batch index is the index in the list. `device`: by default that of the clouds. VprError for an empty cloud,
    points that are not finite and coordinates that are too large for a packed key.
    """
    batch, cells = voxel_rows(clouds, size, device)
    layout, reach = KeyLayout.for_batch(len(clouds)), float(cells.abs().max())
    layout.check(reach)
    manager = CoordinateManager(layout, len(clouds))
    manager.add(1, unique_keys(layout.pack(batch, cells)), int(reach))
    coordinates = Coordinates(manager)
    return SparseTensor(torch.ones(len(coordinates), 1, device=coordinates.device), coordinates)
