"""Integer voxel coordinates of a batch of clouds: sorted keys, coarser levels and kernel maps, each computed once.

The rules are MinkowskiEngine's (0.5.4): coordinates are in units of the finest grid, a coarser level of stride T is the
set of floor(c / T) * T (toward minus infinity), and all levels and kernel maps of one set of voxels are stored in one
manager, so that every layer uses the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.training.sparse.keys import KeyLayout
from vpr_ros.training.sparse.ordering import first_not_below, first_of_run, sort_keys


@dataclass
class Level:
    """The voxels of one stride, sorted by key."""

    keys: Tensor  # (V,) int64, ascending, unique
    batch: Tensor  # (V,) int64, ascending
    counts: list[int]  # voxels of each cloud
    reach: int  # no |coordinate| is larger

    @cached_property
    def padded(self) -> Tensor:
        """The keys and a final one that is larger than all of them: a search may end one past the last key."""
        return torch.cat([self.keys, self.keys.new_full((1,), torch.iinfo(torch.int64).max)])


@dataclass
class CoordinateManager:
    """All levels and kernel maps that come from one set of voxels."""

    layout: KeyLayout
    batch_size: int
    levels: dict[int, Level] = field(default_factory=dict)
    parent_rows: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    maps: dict[tuple[int, int, int], Any] = field(default_factory=dict)

    def add(self, stride: int, keys: Tensor, reach: int) -> None:
        """Add the level of a stride; `keys` must be sorted and unique. VprError for a cloud without voxels."""
        batch = self.layout.batch(keys)
        self.levels[stride] = Level(keys, batch, cloud_counts(batch, self.batch_size), reach)

    def coarsen(self, stride: int, coarse: int) -> None:
        """Add the level of stride `coarse`, made from that of `stride`, unless it exists."""
        if coarse in self.levels:
            return
        level = self.levels[stride]
        reach = -(-level.reach // coarse) * coarse
        self.layout.check(reach)
        ordered, order = sort_keys(self.layout.floor(level.keys, coarse))
        first = first_of_run(ordered)
        self.add(coarse, ordered[first], reach)
        self.parent_rows[stride, coarse] = torch.empty_like(order).index_copy_(0, order, first.cumsum(0) - 1)

    def parents(self, stride: int, coarse: int) -> Tensor:
        """(V,) int64: the row in the level `coarse` that each voxel of the level `stride` falls into."""
        if (stride, coarse) not in self.parent_rows:
            floors = self.layout.floor(self.levels[stride].keys, coarse)
            self.parent_rows[stride, coarse] = first_not_below(self.levels[coarse].keys, floors)
        return self.parent_rows[stride, coarse]


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A view of one level of a manager: the voxels of the rows of a feature matrix."""

    manager: CoordinateManager
    stride: int = 1

    @classmethod
    def from_rows(cls, rows: Tensor, batch_size: int | None = None, stride: int = 1) -> tuple[Coordinates, Tensor]:
        """Rows (V, 4) int (batch, x, y, z), unique, any order -> the sorted coordinates and their order (V,).

        `features[order]` are the features in the order of the coordinates. All coordinates must be multiples of
        `stride`. VprError for no rows, duplicates, coordinates that do not fit the key and clouds without voxels.
        """
        if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) == 0:
            raise VprError(f"voxel rows must be (V, 4) with V > 0, batch index first; got {tuple(rows.shape)}.")
        rows = rows.to(torch.int64)
        batch, xyz = rows[:, 0], rows[:, 1:]
        if int(batch.min()) < 0:
            raise VprError(f"voxel rows have a negative batch index ({int(batch.min())}).")
        if bool((xyz % stride != 0).any()):
            raise VprError(f"voxel rows hold coordinates that are not multiples of their stride {stride}.")
        clouds = int(batch.max()) + 1 if batch_size is None else batch_size
        layout, reach = KeyLayout.for_batch(clouds), int(xyz.abs().max())
        layout.check(reach)
        keys, order = sort_keys(layout.pack(batch, xyz))
        if not bool(first_of_run(keys).all()):
            raise VprError("voxel rows hold the same voxel twice: voxelise the points first.")
        manager = CoordinateManager(layout, clouds)
        manager.add(stride, keys, reach)
        return cls(manager, stride), order

    @property
    def level(self) -> Level:
        """The level in the manager."""
        return self.manager.levels[self.stride]

    @property
    def rows(self) -> Tensor:
        """(V, 4) int32: batch, x, y, z in units of the finest grid, sorted."""
        batch, xyz = self.manager.layout.unpack(self.level.keys)
        return torch.cat([batch[:, None], xyz], 1).to(torch.int32)

    @property
    def batch(self) -> Tensor:
        """(V,) int64: the cloud of each voxel, ascending."""
        return self.level.batch

    @property
    def batch_size(self) -> int:
        """Clouds in the batch."""
        return self.manager.batch_size

    @property
    def counts(self) -> list[int]:
        """Voxels of each cloud."""
        return self.level.counts

    @property
    def device(self) -> torch.device:
        """The device of the coordinates and of the features."""
        return self.level.keys.device

    def __len__(self) -> int:
        return len(self.level.keys)

    def same_as(self, other: Any) -> bool:
        """Whether the rows of both are the same voxels in the same order."""
        return isinstance(other, Coordinates) and self.manager is other.manager and self.stride == other.stride

    def coarser(self, factor: int) -> Coordinates:
        """The level of stride `self.stride * factor`: every voxel rounded down to multiples of it, computed once."""
        self.manager.coarsen(self.stride, self.stride * factor)
        return Coordinates(self.manager, self.stride * factor)

    def finer(self, factor: int) -> Coordinates:
        """The existing level of stride `self.stride / factor`; VprError where there is none."""
        stride, rest = divmod(self.stride, factor)
        if rest or stride not in self.manager.levels:
            raise no_finer_voxels(self.stride, factor)
        return Coordinates(self.manager, stride)


def no_finer_voxels(stride: int, factor: int) -> VprError:
    """The error of a transposed convolution to a level that does not exist."""
    return VprError(
        f"a transposed convolution by {factor} from voxels of stride {stride} needs the voxels of stride "
        f"{stride / factor:g}, which this tensor never had: start from a finer grid."
    )


def cloud_counts(batch: Tensor, batch_size: int) -> list[int]:
    """Voxels of each cloud from the batch index (V,) of each voxel; VprError for a cloud without voxels."""
    counts = torch.bincount(batch, minlength=batch_size).tolist()
    if len(counts) > batch_size:
        raise VprError(f"batch index {len(counts) - 1} is outside a batch of {batch_size} clouds.")
    if 0 in counts:
        raise VprError(
            f"cloud {counts.index(0)} of a batch of {batch_size} has no voxels, and the mean of none has no value: "
            "leave that sample out."
        )
    return counts
