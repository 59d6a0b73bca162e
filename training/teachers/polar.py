"""A teacher without weights: polar grids of heights around the robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vpr_ros.errors import VprError
from vpr_ros.evaluation.ranking import OwnMeasure
from vpr_ros.lidar import PolarGridConfig, compare_unit, polar_grids, unit_grids
from vpr_ros.training.data.sample import METRES
from vpr_ros.training.teachers.inputs import TeacherInputs
from vpr_ros.training.teachers.teacher import Teacher, required


class PolarGrid(Teacher):
    """Clouds -> their polar grids as unit vectors; nothing is trained.

    An embedding keeps the heading, as a camera does that looks one way: the product of two compares what lies in the
    same direction. `similarities` take the best turn, since a place is the same from any heading. `blur_cells` as in
    `unit_grids`.
    """

    def __init__(self, config: PolarGridConfig, blur_cells: float) -> None:
        super().__init__(TeacherInputs(points=True), config.rings * config.sectors)
        if not blur_cells >= 0:
            raise VprError(f"blur_cells is {blur_cells}: a polar grid is blurred by 0 cells or more.")
        self.config, self.blur_cells, self.cloud_unit = config, blur_cells, METRES

    @property
    def measure(self) -> OwnMeasure:
        return OwnMeasure("best-turn", "Correlation of polar grids at the best turn", self.similarities)

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`final` (B, rings * sectors), of unit length; zeros for a cloud without a point above the floor."""
        given = required(clouds, "clouds")
        grids = polar_grids([cloud.cpu().numpy() for cloud in given], self.config)
        return {"final": torch.from_numpy(unit_grids(grids, self.blur_cells)).flatten(1)}

    def similarities(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Embeddings (N, D), (M, D) -> similarities (N, M) from 0 to 1 at the best turn."""
        shape = (-1, self.config.rings, self.config.sectors)
        return compare_unit(*(np.asarray(x, np.float32).reshape(shape) for x in (a, b)))[0]


def make_polar_grid(
    rings: int = PolarGridConfig.rings,
    sectors: int = PolarGridConfig.sectors,
    range_m: float = PolarGridConfig.range_m,
    floor_m: float = PolarGridConfig.floor_m,
    ceiling_m: float = PolarGridConfig.ceiling_m,
    blur_cells: float = 0.7,
) -> PolarGrid:
    """The options are those of `PolarGridConfig`, and `blur_cells`.

    Blurred, similarities follow distances better, which relations are taught by; the most similar frame is right a
    little less often.
    """
    return PolarGrid(PolarGridConfig(rings, sectors, range_m, floor_m, ceiling_m), blur_cells)
