"""Geometry of the 13 regions, and bilinear sampling of token maps at fractional points.

Coordinates are (x, y) fractions of the map, x to the right, y down; fraction u lies at pixel u * (side - 1), and points
outside are moved to the border.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SMALL_CUTS = (0.0, 5 / 16, 11 / 16, 1.0)
SMALL_OF_MEDIUM = ((0, 1, 3, 4), (1, 2, 4, 5), (3, 4, 6, 7), (4, 5, 7, 8))


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


class RegionGrid(nn.Module):
    """Constants of all P sampling points of all regions, one region after another (buffers, not in the state dict).

    points, centre, size, relative (P, 2); average (13, P) takes the mean of each region; members (13, longest) indexes
    the points of each region, its last one repeated; neighbours (4, 4) the small regions of each medium one.
    """

    points: Tensor
    centre: Tensor
    size: Tensor
    relative: Tensor
    average: Tensor
    members: Tensor
    neighbours: Tensor

    def __init__(self, medium_samples: int, small_samples: tuple[int, int, int]) -> None:
        super().__init__()
        points: list[Tensor] = []
        centres: list[Tensor] = []
        sizes: list[Tensor] = []
        counts: list[int] = []
        for x1, y1, x2, y2, rows, cols in region_table(medium_samples, small_samples):
            ys, xs = torch.meshgrid(
                torch.linspace(y1, y2, rows, dtype=torch.float64),
                torch.linspace(x1, x2, cols, dtype=torch.float64),
                indexing="ij",
            )
            points.append(torch.stack([xs, ys], dim=-1).reshape(-1, 2))
            centres.append(torch.tensor([[(x1 + x2) / 2, (y1 + y2) / 2]], dtype=torch.float64).expand(rows * cols, 2))
            sizes.append(torch.tensor([[x2 - x1, y2 - y1]], dtype=torch.float64).expand(rows * cols, 2))
            counts.append(rows * cols)
        base, centre, size = torch.cat(points), torch.cat(centres), torch.cat(sizes)
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
            ("neighbours", torch.tensor(SMALL_OF_MEDIUM)),
        ):
            self.register_buffer(name, value, persistent=False)


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
