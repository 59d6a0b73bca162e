"""Frames of several runs as aligned columns, checked once."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.ranking import checked


@dataclass(frozen=True)
class FrameColumns:
    """The frames of several runs as aligned columns of equal length."""

    embeddings: np.ndarray  # (N, D) float64
    positions_m: np.ndarray  # (N, 2)
    runs: np.ndarray  # (N,) str
    areas: np.ndarray
    conditions: np.ndarray

    @classmethod
    def checked(cls, embeddings, positions_m, runs, areas, conditions, radius_m: float) -> "FrameColumns":
        """VprError for columns of different lengths, numbers that are not finite or a radius that is not positive."""
        rows = checked(embeddings)
        count = len(rows)
        names = [
            np.zeros(count, "<U1") if column is None else np.asarray(column).astype(str)
            for column in (runs, areas, conditions)
        ]
        xy = np.asarray(positions_m, float)
        for what, column in zip(("runs", "areas", "conditions", "positions"), (*names, xy), strict=True):
            if len(column) != count:
                raise VprError(f"{count} embeddings but {len(column)} {what}: one of each per frame is needed.")
        if xy.shape != (count, 2):
            raise VprError(f"positions must be (N, 2) metres in the plane, not of shape {xy.shape}.")
        if not radius_m > 0:
            raise VprError(f"the radius must be positive, not {radius_m} m.")
        return cls(rows, xy, *names)

    def members(self, area: str, run: str) -> np.ndarray:
        """Rows of a run, in order."""
        return np.flatnonzero((self.areas == area) & (self.runs == run))

    def condition(self, area: str, run: str) -> str:
        """The condition of a run; all that its frames name, where they differ."""
        return "+".join(sorted(set(self.conditions[self.members(area, run)].tolist())))

    def runs_of_areas(self) -> list[tuple[str, list[str]]]:
        """Areas with the names of their runs; VprError for an area that cannot be paired."""
        found = []
        for area in np.unique(self.areas):
            names = np.unique(self.runs[self.areas == area]).tolist()
            if len(names) < 2:
                raise VprError(f"area '{area}' has the one run '{names[0]}': pairs need two or more runs of an area.")
            found.append((str(area), names))
        return found
