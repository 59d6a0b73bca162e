"""Which input voxel meets which output voxel under which weight of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from vpr_ros.errors import VprError

from .coordinates import CoordinateManager, first_search


@dataclass(frozen=True)
class KernelMap:
    """Pairs (input row, output row), grouped by kernel offset.

    Offset k = ix + K * (iy + K * iz), the first axis fastest, as MinkowskiEngine orders its weights. An output row
    occurs at most once per offset, and so does an input row.
    """

    inputs: Tensor  # (P,) int64
    outputs: Tensor  # (P,) int64
    counts: list[int]  # (K^3,) pairs of each offset
    n_inputs: int
    n_outputs: int
    identity: int | None = None  # the offset 0 of a symmetric map: its pairs are (i, i) for every i and are not stored

    @cached_property
    def groups(self) -> list[tuple[int, Tensor, Tensor]]:
        """(offset, inputs, outputs) of each offset that has stored pairs."""
        ins, outs = self.inputs.split(self.counts), self.outputs.split(self.counts)
        return [(k, i, o) for k, (i, o) in enumerate(zip(ins, outs, strict=True)) if len(i)]

    @cached_property
    def transposed(self) -> KernelMap:
        """The same pairs with the roles of input and output swapped."""
        return KernelMap(self.outputs, self.inputs, self.counts, self.n_outputs, self.n_inputs, self.identity)


def kernel_map(manager: CoordinateManager, stride_in: int, stride_out: int, size: int) -> KernelMap:
    """The map of a convolution from the level of `stride_in` to that of `stride_out`, made once per manager.

    out[u] += in[u + offset]; offsets are multiples of `stride_in`: centred for odd sizes, from 0 up for even ones.
    """
    key = (stride_in, stride_out, size)
    if key not in manager.maps:
        manager.maps[key] = _search(manager, stride_in, stride_out, size)
    found = manager.maps[key]
    assert isinstance(found, KernelMap)
    return found


def _search(manager: CoordinateManager, stride_in: int, stride_out: int, size: int) -> KernelMap:
    source, target, layout = manager.levels[stride_in], manager.levels[stride_out], manager.layout
    first = -(size // 2) if size % 2 else 0
    reach = max(source.reach, target.reach)
    if reach + size * stride_in >= layout.limit:
        raise VprError(
            f"a kernel of {size} voxels of {stride_in} around coordinate {reach} does not fit the {layout.bits} bits "
            "of an axis: use larger voxels, smaller batches, or coordinates relative to the sensor."
        )
    symmetric = stride_in == stride_out and size % 2 == 1
    volume, centre = size**3, (size**3 - 1) // 2
    offsets, ins, outs = [], [], []
    span = (size - 1) * stride_in
    columns = [(ix, iy) for ix in range(size) for iy in range(size)]
    if symmetric:  # (x, y) columns after the middle one mirror those before it
        columns = columns[len(columns) // 2 :]
    for ix, iy in columns:
        queries = target.keys + layout.step((ix + first) * stride_in, (iy + first) * stride_in, first * stride_in)
        found = first_search(source.keys, queries)
        rows = torch.arange(len(queries), device=queries.device)
        for _ in range(size):  # a column holds at most `size` neighbours, next to each other in the sorted keys
            inside = found < len(source.keys)
            height = source.keys[found.clamp(max=len(source.keys) - 1)] - queries
            hit = (inside & (height <= span)).nonzero()[:, 0]
            if len(hit) == 0:
                break
            queries, found, rows, height = queries[hit], found[hit], rows[hit], height[hit]
            offsets.append(ix + size * (iy + size * (height // stride_in)))
            ins.append(found)
            outs.append(rows)
            found = found + 1
    empty = torch.zeros(0, dtype=torch.int64, device=target.keys.device)
    offset, inputs, outputs = torch.cat([*offsets, empty]), torch.cat([*ins, empty]), torch.cat([*outs, empty])
    if symmetric:
        # the middle column was searched whole: what lies below its centre is a mirror already
        keep = ((offset % size**2 != size**2 // 2) | (offset > centre)).nonzero()[:, 0]
        offset, inputs, outputs = offset[keep], inputs[keep], outputs[keep]
        mirrored = volume - 1 - offset
        offset, inputs, outputs = (
            torch.cat([offset, mirrored]),
            torch.cat([inputs, outputs]),
            torch.cat([outputs, inputs]),
        )
    order = torch.sort(offset, stable=True).indices
    counts = torch.bincount(offset, minlength=volume).tolist()
    return KernelMap(
        inputs[order],
        outputs[order],
        counts,
        len(source.keys),
        len(target.keys),
        centre if symmetric else None,
    )
