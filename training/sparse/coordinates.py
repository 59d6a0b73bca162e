"""Integer voxel coordinates of a batch of clouds: packed keys, coarser levels and kernel maps, each made once.

The rules are MinkowskiEngine's (0.5.4): coordinates are in units of the finest grid, a coarser level of stride T is the
set of floor(c / T) * T (toward minus infinity), and everything made from one set of voxels shares one manager, so that
a level or a kernel map is computed once and used by every layer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError

KEY_BITS = 63


@dataclass(frozen=True)
class KeyLayout:
    """How (batch, x, y, z) is packed in one int64 whose order is the lexicographic order of the row.

    The batch index takes the bits that it needs, the three axes share the rest equally (19 bits each for 8 clouds, 16
    for 4096).
    """

    bits: int

    @classmethod
    def for_batch(cls, batch_size: int) -> KeyLayout:
        """The layout with the widest axes that leaves room for `batch_size` clouds."""
        return cls((KEY_BITS - max(1, (batch_size - 1).bit_length())) // 3)

    @property
    def limit(self) -> int:
        """Coordinates must lie in -limit..limit-1."""
        return 1 << (self.bits - 1)

    def pack(self, batch: Tensor, xyz: Tensor) -> Tensor:
        """(V,) and (V, 3), any integer type -> keys (V,) int64."""
        x, y, z = (xyz.to(torch.int64) + self.limit).unbind(1)
        return ((((batch.to(torch.int64) << self.bits) | x) << self.bits | y) << self.bits) | z

    def unpack(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (V,) -> batch (V,) and xyz (V, 3), both int64."""
        mask = 2 * self.limit - 1
        axes = [((keys >> (shift * self.bits)) & mask) - self.limit for shift in (2, 1, 0)]
        return keys >> (3 * self.bits), torch.stack(axes, 1)

    def step(self, x: int, y: int, z: int) -> int:
        """What must be added to a key to move by (x, y, z), as long as no axis leaves its range."""
        return (x << (2 * self.bits)) + (y << self.bits) + z


@dataclass
class Level:
    """The voxels of one stride, sorted by key."""

    keys: Tensor  # (V,) int64, ascending, unique
    batch: Tensor  # (V,) int64, ascending
    xyz: Tensor  # (V, 3) int64
    counts: list[int]  # voxels of each cloud
    reach: int  # largest |coordinate|


@dataclass
class CoordinateManager:
    """All levels and kernel maps that come from one set of voxels."""

    layout: KeyLayout
    batch_size: int
    levels: dict[int, Level] = field(default_factory=dict)
    maps: dict[tuple, object] = field(default_factory=dict)

    def add(self, stride: int, keys: Tensor) -> None:
        """Enter the level of a stride; `keys` must be sorted and unique. A cloud without voxels is refused."""
        batch, xyz = self.layout.unpack(keys)
        counts = cloud_counts(batch, self.batch_size)
        self.levels[stride] = Level(keys, batch, xyz, counts, int(xyz.abs().max()))


@dataclass(frozen=True, eq=False)
class Coordinates:
    """A view of one level of a manager; it says where the rows of a feature matrix lie."""

    manager: CoordinateManager
    stride: int = 1

    @classmethod
    def from_rows(cls, rows: Tensor, batch_size: int | None = None, stride: int = 1) -> tuple[Coordinates, Tensor]:
        """Rows (V, 4) int (batch, x, y, z), unique, any order -> the sorted coordinates and the order taken (V,).

        `features[order]` are the features in the order of the coordinates. `stride` is that of the given grid, of which
        all coordinates must be multiples. VprError for no rows, duplicates, coordinates that do not fit the key
        and clouds without voxels.
        """
        if rows.ndim != 2 or rows.shape[1] != 4 or len(rows) == 0:
            raise VprError(f"voxel rows must be (V, 4) with V > 0, batch index first; got {tuple(rows.shape)}.")
        rows = rows.to(torch.int64)
        batch, xyz = rows[:, 0], rows[:, 1:]
        if int(batch.min()) < 0:
            raise VprError(f"voxel rows have a negative batch index ({int(batch.min())}).")
        layout = KeyLayout.for_batch(int(batch.max()) + 1 if batch_size is None else batch_size)
        check_range(xyz, layout)
        if bool((xyz % stride != 0).any()):
            raise VprError(f"voxel rows hold coordinates that are not multiples of their stride {stride}.")
        keys, order = torch.sort(layout.pack(batch, xyz))
        if bool((keys[1:] == keys[:-1]).any()):
            raise VprError("voxel rows hold the same voxel twice: voxelise the points first.")
        manager = CoordinateManager(layout, int(batch.max()) + 1 if batch_size is None else batch_size)
        manager.add(stride, keys)
        return cls(manager, stride), order

    @property
    def level(self) -> Level:
        """The voxels themselves."""
        return self.manager.levels[self.stride]

    @property
    def rows(self) -> Tensor:
        """(V, 4) int32: batch, x, y, z in units of the finest grid, sorted."""
        return torch.cat([self.level.batch[:, None], self.level.xyz], 1).to(torch.int32)

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
        """Where the coordinates, and so the features, live."""
        return self.level.keys.device

    def __len__(self) -> int:
        return len(self.level.keys)

    def same_as(self, other: Any) -> bool:
        """Whether the rows of both are the same voxels in the same order."""
        return isinstance(other, Coordinates) and self.manager is other.manager and self.stride == other.stride

    def coarser(self, factor: int) -> Coordinates:
        """The level of stride `self.stride * factor`: every voxel's floor to multiples of it, made once."""
        stride = self.stride * factor
        if stride not in self.manager.levels:
            layout, level = self.manager.layout, self.level
            floored = torch.div(level.xyz, stride, rounding_mode="floor") * stride
            check_range(floored, layout)
            self.manager.add(stride, torch.unique(layout.pack(level.batch, floored)))
        return Coordinates(self.manager, stride)

    def finer(self, factor: int) -> Coordinates:
        """The existing level of stride `self.stride / factor`; VprError where there is none."""
        stride, rest = divmod(self.stride, factor)
        if rest or stride not in self.manager.levels:
            raise no_finer_voxels(self.stride, factor)
        return Coordinates(self.manager, stride)


def no_finer_voxels(stride: int, factor: int) -> VprError:
    """The refusal of a transposed convolution that has nowhere to go."""
    return VprError(
        f"a transposed convolution by {factor} from voxels of stride {stride} needs the voxels of stride "
        f"{stride / factor:g}, which this tensor never had: start from a finer grid."
    )


def cloud_counts(batch: Tensor, batch_size: int) -> list[int]:
    """Voxels of each cloud from the batch index (V,) of each voxel; a cloud without voxels is refused."""
    counts = torch.bincount(batch, minlength=batch_size).tolist()
    if len(counts) > batch_size:
        raise VprError(f"batch index {len(counts) - 1} is outside a batch of {batch_size} clouds.")
    if 0 in counts:
        raise VprError(
            f"cloud {counts.index(0)} of a batch of {batch_size} has no voxels, and the mean of none has no value: "
            "leave that sample out."
        )
    return counts


def check_range(xyz: Tensor, layout: KeyLayout) -> None:
    """Refuse coordinates (V, 3) that do not fit the packed key."""
    reach = float(xyz.abs().max())
    if not reach < layout.limit:
        raise VprError(
            f"voxel coordinate {reach:.0f} does not fit the {layout.bits} bits that this batch leaves to an axis "
            f"(below {layout.limit}): use larger voxels, smaller batches, or coordinates relative to the sensor."
        )


def first_search(sorted_keys: Tensor, queries: Tensor) -> Tensor:
    """Index (Q,) int64 of the first key that is not below each query.

    numpy takes a third of torch's time on a CPU, because it profits from sorted queries.
    """
    if sorted_keys.device.type == "cpu":
        return torch.from_numpy(np.searchsorted(sorted_keys.numpy(), queries.numpy()))
    return torch.searchsorted(sorted_keys, queries)
