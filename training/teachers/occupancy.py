"""Occupancy grids of point clouds, the input of AdaFusion's LiDAR branch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_ros.errors import VprError

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class OccupancyGrid:
    """A box divided into cells; a cell with at least one point is 1.

    `lower` and `upper` are corners in the cloud's unit, after the change of axes. `turned` swaps the first two axes
    and negates both, as AdaFusion does for RobotCar: (x, y, z) -> (-y, -x, z).
    """

    lower: Triple = (-0.8, -0.4, -0.2)
    upper: Triple = (0.8, 0.4, 0.4)
    shape: tuple[int, int, int] = (72, 72, 48)
    turned: bool = True

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or any(high <= low for low, high in zip(self.lower, self.upper, strict=True)):
            raise VprError(
                f"an occupancy grid needs cells and a box: shape {self.shape}, from {self.lower} to {self.upper}."
            )

    def fill(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points -> (1, X, Y, Z) float32 of zeros and ones; points outside the box are dropped.

        METHODS section 5: index = (p - lower) * shape / (upper - lower), rounded half to even. So points up to half a
        cell below the lower faces are included, and those less than half a cell below the upper faces are dropped.
        """
        points = np.asarray(points, dtype=np.float64)
        if self.turned:
            points = np.stack([-points[:, 1], -points[:, 0], points[:, 2]], axis=1)
        shape, lower, upper = (np.asarray(v, dtype=np.float64) for v in (self.shape, self.lower, self.upper))
        index = np.round((points - lower) * shape / (upper - lower))
        index = index[((index >= 0) & (index < shape)).all(axis=1)].astype(np.int64)
        cells = np.zeros((1, *self.shape), dtype=np.float32)
        cells[0, index[:, 0], index[:, 1], index[:, 2]] = 1
        return cells


# "robotcar": clouds in PointNetVLAD's normalised units; DistilVPR's copy leaves the axes as they are; "nclt": metres.
GRIDS = {
    "robotcar": OccupancyGrid(),
    "robotcar-distilvpr": OccupancyGrid(turned=False),
    "nclt": OccupancyGrid((-20.0, -20.0, 0.0), (20.0, 20.0, 5.0), turned=False),
}


def grid_of(grid: str | OccupancyGrid | Mapping[str, Any], shape: tuple[int, int, int] | None = None) -> OccupancyGrid:
    """A grid by name, as an object or as its fields; `shape` replaces its number of cells."""
    if isinstance(grid, str):
        if grid not in GRIDS:
            raise VprError(f"there is no occupancy grid '{grid}': choose one of {', '.join(GRIDS)}.")
        grid = GRIDS[grid]
    elif not isinstance(grid, OccupancyGrid):
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in grid.items()}
        grid = OccupancyGrid(**fields)
    if shape is None:
        return grid
    x, y, z = shape
    return OccupancyGrid(grid.lower, grid.upper, (x, y, z), grid.turned)
