"""Pairs of input and output voxels for each weight of a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vpr_ros.training.sparse import ordering
from vpr_ros.training.sparse.coordinates import CoordinateManager

Group = tuple[int, Tensor, Tensor]


@dataclass(frozen=True)
class KernelMap:
    """Pairs of rows, grouped by kernel offset: (k, inputs (P_k,) int64, outputs (P_k,) int64).

    Offset k = ix + K * (iy + K * iz), the first axis fastest, as MinkowskiEngine orders its weights. A row occurs at
    most once in `inputs` and at most once in `outputs` of a group; offsets without pairs have no group.
    """

    groups: list[Group]
    n_inputs: int
    n_outputs: int
    identity: int | None = None  # offset 0 of a symmetric map: its pairs are (i, i) for every i and have no group

    @property
    def transposed(self) -> KernelMap:
        """The same pairs with the roles of input and output swapped."""
        swapped = [(k, outputs, inputs) for k, inputs, outputs in self.groups]
        return KernelMap(swapped, self.n_outputs, self.n_inputs, self.identity)


def kernel_map(manager: CoordinateManager, stride_in: int, stride_out: int, size: int) -> KernelMap:
    """The map of a convolution from the level of `stride_in` to that of `stride_out`, made once per manager.

    out[u] += in[u + offset]; offsets are multiples of `stride_in`: centred for odd sizes, from 0 up for even ones.
    VprError where a kernel reaches beyond the range of a packed key.
    """
    key = (stride_in, stride_out, size)
    if key not in manager.maps:
        manager.maps[key] = build(manager, *key)
    return manager.maps[key]


def build(manager: CoordinateManager, stride_in: int, stride_out: int, size: int) -> KernelMap:
    """Make a map by the cheapest of three methods."""
    source, target = manager.levels[stride_in], manager.levels[stride_out]
    manager.layout.check(max(source.reach, target.reach) + size * stride_in)
    shape = len(source.keys), len(target.keys)
    if size % 2 == 0 and size * stride_in == stride_out:
        return KernelMap(list(_tiling_pairs(manager, stride_in, stride_out, size)), *shape)
    if size % 2 == 0 or stride_in != stride_out:
        return KernelMap(list(_column_pairs(manager, stride_in, stride_out, size, half=False)), *shape)
    # an odd kernel on its own voxels: u is paired with v at an offset if and only if v is with u at the mirrored one
    groups = list(_column_pairs(manager, stride_in, stride_out, size, half=True))
    mirrored = [(size**3 - 1 - k, outputs, inputs) for k, inputs, outputs in reversed(groups)]
    return KernelMap(mirrored + groups, *shape, identity=size**3 // 2)


def _tiling_pairs(manager: CoordinateManager, stride_in: int, stride_out: int, size: int) -> Iterator[Group]:
    """Kernels that tile the voxels (even size = stride): every voxel is paired with its parent alone."""
    keys, bits = manager.levels[stride_in].keys, manager.layout.bits
    parents = manager.parents(stride_in, stride_out)
    inside = keys - manager.levels[stride_out].keys.index_select(0, parents)  # no axis borrows: none is negative
    mask = (1 << bits) - 1
    x, y, z = inside >> (2 * bits), (inside >> bits) & mask, inside & mask
    offset = torch.div(x + size * (y + size * z), stride_in, rounding_mode="floor")
    yield from _group_by_offset(offset, torch.arange(len(keys), device=keys.device), parents, size)


def _column_pairs(
    manager: CoordinateManager, stride_in: int, stride_out: int, size: int, *, half: bool
) -> Iterator[Group]:
    """One search for each (x, y) column of the kernel: its voxels follow one another in the sorted keys.

    `half`: only the offsets after the centre, in the order of (x, y, z).
    """
    source, target, layout = manager.levels[stride_in], manager.levels[stride_out], manager.layout
    device, voxels = target.keys.device, len(target.keys)
    all_rows = torch.arange(voxels, device=device)
    first = -(size // 2) if size % 2 else 0
    columns = [(ix, iy) for ix in range(size) for iy in range(size)]
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    if half:
        columns = columns[len(columns) // 2 + 1 :]
        above = size // 2 + 1  # in its own column, the next voxel above is the next key
        queries, offset = target.keys + stride_in, torch.tensor(size**3 // 2 + size**2, device=device)
        _collect_columns(
            found, source.padded, queries, all_rows + 1, all_rows, offset.expand(voxels), size, above, stride_in
        )
    # many columns at once where the launch of a kernel dominates (GPU), few where the cache does (CPU)
    columns_at_once = max(1, (1 << (16 if ordering.on_cpu(all_rows) else 22)) // voxels)
    for start in range(0, len(columns), columns_at_once):
        chunk = columns[start : start + columns_at_once]
        steps = [layout.step((ix + first) * stride_in, (iy + first) * stride_in, first * stride_in) for ix, iy in chunk]
        queries = (target.keys + torch.tensor(steps, device=device)[:, None]).flatten()
        offset = torch.tensor([ix + size * iy for ix, iy in chunk], device=device).repeat_interleave(voxels)
        places = ordering.first_not_below(source.keys, queries)
        _collect_columns(found, source.padded, queries, places, all_rows.repeat(len(chunk)), offset, size, 0, stride_in)
    if found:
        offset, inputs, outputs = (torch.cat(parts) for parts in zip(*found, strict=True))
        yield from _group_by_offset(offset, inputs, outputs, size)


def _collect_columns(
    found: list[tuple[Tensor, Tensor, Tensor]],
    padded: Tensor,
    queries: Tensor,
    places: Tensor,
    rows: Tensor,
    offset: Tensor,
    size: int,
    lowest: int,
    stride: int,
) -> None:
    """Append (offset, input, output) of all source voxels between each query and the top of its kernel column.

    `places` (Q,) is the position of each query in the sorted keys, `rows` its output voxel, `offset` the offset of
    its lowest voxel, which has the height `lowest` in the kernel.
    """
    span = (size - 1 - lowest) * stride
    for _ in range(size - lowest):
        height = padded.index_select(0, places) - queries
        hit = (height <= span).nonzero()[:, 0]
        queries, places, rows, offset, height = (
            t.index_select(0, hit) for t in (queries, places, rows, offset, height)
        )
        found.append((offset + size**2 * torch.div(height, stride, rounding_mode="floor"), places, rows))
        if len(hit) == 0:
            break
        places = places + 1


def _group_by_offset(offset: Tensor, inputs: Tensor, outputs: Tensor, size: int) -> Iterator[Group]:
    """Pairs (P,) in any order -> one group for each offset that occurs, ascending."""
    # radix sort: its time grows with the bytes of a key
    small = torch.uint8 if size**3 <= 256 else torch.int16 if size**3 < 2**15 else torch.int32
    order = torch.sort(offset.to(small), stable=True).indices
    counts = torch.bincount(offset, minlength=size**3).tolist()
    split = zip(inputs.index_select(0, order).split(counts), outputs.index_select(0, order).split(counts), strict=True)
    yield from ((k, ins, outs) for k, (ins, outs) in enumerate(split) if len(ins))
