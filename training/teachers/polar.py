"""A teacher without weights: polar grids of heights around the robot."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from vpr_ros.evaluation.ranking import OwnMeasure
from vpr_ros.lidar import PolarGridConfig, compare, polar_grids, unit_columns
from vpr_ros.training.data.sample import METRES
from vpr_ros.training.teachers.inputs import TeacherInputs
from vpr_ros.training.teachers.teacher import Teacher, required


class PolarGrid(Teacher):
    """Clouds -> their polar grids as unit vectors; nothing is trained.

    An embedding keeps the heading, as a camera does that looks one way: the product of two is the mean cosine of
    sectors that lie in the same direction. `similarities` take the best turn, since a place is the same from any
    heading.
    """

    def __init__(self, config: PolarGridConfig) -> None:
        super().__init__(TeacherInputs(points=True), config.rings * config.sectors)
        self.config, self.cloud_unit = config, METRES

    @property
    def measure(self) -> OwnMeasure:
        return OwnMeasure("best-turn", "Mean cosine of the sectors at the best turn", self.similarities)

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`final` (B, rings * sectors), of unit length; zeros for a cloud without a point above the floor."""
        given = required(clouds, "clouds")
        columns = unit_columns(polar_grids([cloud.cpu().numpy() for cloud in given], self.config))
        length = np.sqrt((columns.max(axis=1) > 0).sum(axis=1)).clip(1.0)
        found = torch.from_numpy(columns / length[:, None, None].astype(np.float32))
        return {"final": found.flatten(1)}

    def similarities(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Embeddings (N, D), (M, D) -> similarities (N, M) from 0 to 1 at the best turn (`vpr_ros.lidar.compare`)."""
        shape = (-1, self.config.rings, self.config.sectors)
        return compare(*(np.asarray(x, np.float32).reshape(shape) for x in (a, b)))[0]


def make_polar_grid(
    rings: int = PolarGridConfig.rings,
    sectors: int = PolarGridConfig.sectors,
    range_m: float = PolarGridConfig.range_m,
    floor_m: float = PolarGridConfig.floor_m,
    ceiling_m: float = PolarGridConfig.ceiling_m,
) -> PolarGrid:
    """The options are those of `PolarGridConfig`."""
    return PolarGrid(PolarGridConfig(rings, sectors, range_m, floor_m, ceiling_m))
