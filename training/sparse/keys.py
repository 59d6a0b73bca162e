"""Voxel coordinates packed into one integer each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vpr_ros.errors import VprError

KEY_BITS = 63


@dataclass(frozen=True)
class KeyLayout:
    """How (batch, x, y, z) is packed in one int64 whose order is the lexicographic order of the row.

    The batch index has as many bits as it needs, the three axes have equal parts of the rest (20 bits each for 8
    clouds, 17 for 4096). Axes are stored with an offset, so that negative coordinates sort first.
    """

    bits: int

    @classmethod
    def for_batch(cls, batch_size: int) -> KeyLayout:
        """The layout with the widest axes for `batch_size` clouds."""
        return cls((KEY_BITS - max(1, (batch_size - 1).bit_length())) // 3)

    @property
    def limit(self) -> int:
        """Coordinates must lie in -limit..limit-1."""
        return 1 << (self.bits - 1)

    def check(self, reach: float) -> None:
        """VprError for coordinates beyond the limit; `reach` is the largest, including that of a kernel or a stride."""
        if not reach < self.limit:
            raise VprError(
                f"voxel coordinate {reach:.0f} (kernel included) does not fit the {self.bits} bits that this batch "
                f"leaves to an axis (below {self.limit}): use larger voxels, smaller batches, or coordinates relative "
                "to the sensor."
            )

    def pack(self, batch: Tensor, xyz: Tensor) -> Tensor:
        """(V,) and (V, 3), any number type with whole values -> keys (V,) int64."""
        x, y, z = (xyz.to(torch.int64) + self.limit).unbind(1)
        return (((((batch.to(torch.int64) << self.bits) | x) << self.bits) | y) << self.bits) | z

    def unpack(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (V,) -> batch (V,) and xyz (V, 3), both int64."""
        mask = 2 * self.limit - 1
        axes = [((keys >> (shift * self.bits)) & mask) - self.limit for shift in (2, 1, 0)]
        return self.batch(keys), torch.stack(axes, 1)

    def batch(self, keys: Tensor) -> Tensor:
        """Keys (V,) -> batch (V,) int64."""
        return keys >> (3 * self.bits)

    def floor(self, keys: Tensor, stride: int) -> Tensor:
        """Keys (V,) of the coordinates floor(c / stride) * stride, toward minus infinity."""
        low = stride - 1
        if stride & low == 0:  # a power of two divides the axes' offset, so its low bits can be cleared in place
            return keys & ~self.step(low, low, low)
        batch, xyz = self.unpack(keys)
        return self.pack(batch, torch.div(xyz, stride, rounding_mode="floor") * stride)

    def step(self, x: int, y: int, z: int) -> int:
        """The difference of keys for a step of (x, y, z), as long as no axis leaves its range."""
        return (x << (2 * self.bits)) + (y << self.bits) + z
