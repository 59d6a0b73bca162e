"""Geometry of the regions, and bilinear sampling of token maps at fractional points.

Coordinates are (x, y) fractions of the map, x to the right, y down; fraction u lies at pixel u * (side - 1), and points
outside are moved to the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL_CUTS = (0.0, 5 / 16, 11 / 16, 1.0)
PAPER_LEVELS = (2, 3)
NEIGHBOURS = 4


class Region(NamedTuple):
    """Box of a region, and the columns xs and rows ys (float64) at whose crossings it is sampled."""

    x1: float
    y1: float
    x2: float
    y2: float
    xs: Tensor
    ys: Tensor


def region_table(
    medium_samples: int, small_samples: tuple[int, int, int]
) -> list[tuple[float, float, float, float, int, int]]:
    """(x1, y1, x2, y2, rows, cols) of the 4 medium and the 9 small regions, each set row by row."""
    table: list[tuple[float, float, float, float, int, int]] = []
    for row in range(2):
        for col in range(2):
            table.append((col / 2, row / 2, (col + 1) / 2, (row + 1) / 2, medium_samples, medium_samples))
    cuts = SMALL_CUTS
    for row in range(3):
        for col in range(3):
            table.append((cuts[col], cuts[row], cuts[col + 1], cuts[row + 1], small_samples[row], small_samples[col]))
    return table


def paper_regions(medium_samples: int, small_samples: tuple[int, int, int]) -> list[Region]:
    """The paper's 4 medium and 9 small regions, sampled from border to border."""
    return [
        Region(
            *(x1, y1, x2, y2),
            xs=torch.linspace(x1, x2, cols, dtype=torch.float64),
            ys=torch.linspace(y1, y2, rows, dtype=torch.float64),
        )
        for x1, y1, x2, y2, rows, cols in region_table(medium_samples, small_samples)
    ]


def cell_regions(levels: Sequence[int], grid: tuple[int, int]) -> list[Region]:
    """Equal cells of a map of h*w tokens, level by level, row by row, each sampled at every token that it touches.

    Their means are those of adaptive average pooling, also where a side does not divide by the number of cells.
    """
    regions: list[Region] = []
    for side in levels:
        (tops, lefts) = ([_tokens(cell, side, length) for cell in range(side)] for length in grid)
        for first_row, last_row, ys in tops:
            for first_col, last_col, xs in lefts:
                regions.append(Region(first_col, first_row, last_col, last_row, xs=xs, ys=ys))
    return regions


def _tokens(cell: int, side: int, length: int) -> tuple[float, float, Tensor]:
    """Borders of one of `side` cells along `length` tokens, and the centres of the tokens that it touches."""
    first, end = cell * length // side, -(-(cell + 1) * length // side)
    scale = max(length - 1, 1)
    return (first - 0.5) / scale, (end - 0.5) / scale, torch.arange(first, end, dtype=torch.float64) / scale


class RegionGrid(nn.Module):
    """Constants of all P sampling points of R regions, one region after another (buffers, not in the state dict).

    `levels` are the side lengths of the grids that the regions form. points, centre, size, relative (P, 2); average
    (R, P) takes the mean of each region; members (R, longest) indexes the points of each region, its last one repeated;
    `neighbours` (regions, 4) the nearest regions of the next finer level, for every level but the finest.
    """

    points: Tensor
    centre: Tensor
    size: Tensor
    relative: Tensor
    average: Tensor
    members: Tensor

    def __init__(self, regions: Sequence[Region], levels: Sequence[int]) -> None:
        super().__init__()
        self.counts = [side * side for side in levels]
        points: list[Tensor] = []
        counts: list[int] = []
        for region in regions:
            ys, xs = torch.meshgrid(region.ys, region.xs, indexing="ij")
            points.append(torch.stack([xs, ys], dim=-1).reshape(-1, 2))
            counts.append(points[-1].shape[0])
        boxes = torch.tensor([region[:4] for region in regions], dtype=torch.float64)
        centres, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        base = torch.cat(points)
        centre, size = (
            torch.cat([row.expand(count, 2) for row, count in zip(each, counts, strict=True)])
            for each in (centres, sizes)
        )
        average = torch.zeros(len(counts), len(base))
        members = torch.zeros(len(counts), max(counts), dtype=torch.long)
        start = 0
        for region, count in enumerate(counts):
            average[region, start : start + count] = 1 / count
            members[region] = start + torch.arange(max(counts)).clamp(max=count - 1)
            start += count
        for name, value in (
            ("points", base.float()),
            ("centre", centre.float()),
            ("size", size.float()),
            ("relative", ((base - centre) / (size / 2)).float()),
            ("average", average),
            ("members", members),
        ):
            self.register_buffer(name, value, persistent=False)
        by_level = torch.split(centres, self.counts)
        for level, (coarse, fine) in enumerate(zip(by_level[:-1], by_level[1:], strict=True)):
            self.register_buffer(f"neighbours{level}", _nearest(coarse, fine), persistent=False)

    def neighbours(self, level: int) -> Tensor:
        """For each region of a level, the indices (regions, 4) of its neighbours in the next finer level."""
        return self.get_buffer(f"neighbours{level}")


def _nearest(coarse: Tensor, fine: Tensor) -> Tensor:
    """Centres (R, 2) and (S, 2) -> indices (R, 4) of the nearest of the second, ascending."""
    # rounded, so that what is equally far stays so whatever the last bits are
    distances = torch.cdist(coarse, fine).round(decimals=9)
    return distances.argsort(dim=1, stable=True)[:, :NEIGHBOURS].sort(dim=1).values


def interpolation_matrix(points: Tensor, grid: tuple[int, int]) -> Tensor:
    """Fixed points (P, 2) -> bilinear weights (P, h*w) over a row-major map of h*w tokens."""
    rows, cols = grid
    x = points[:, 0:1].clamp(0, 1) * (cols - 1)
    y = points[:, 1:2].clamp(0, 1) * (rows - 1)
    along = F.relu(1 - (x - torch.arange(cols, device=points.device, dtype=points.dtype)).abs())
    down = F.relu(1 - (y - torch.arange(rows, device=points.device, dtype=points.dtype)).abs())
    return (down[:, :, None] * along[:, None, :]).flatten(1)


def sample_tokens(patches: Tensor, grid: tuple[int, int], points: Tensor) -> Tensor:
    """Token map (B, h*w, D) sampled bilinearly at points (B, P, 2) -> (B, P, D), in one call."""
    image = torch.unflatten(patches.transpose(1, 2), 2, grid)
    sampled = F.grid_sample(
        image, (2 * points - 1)[:, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[:, :, 0].transpose(1, 2)
