"""The one sample that every data set yields, and the one model of a data set.

Nothing here imports torch, open3d or rosbags.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from vpr_ros.training.data.nearness import Nearness

CloudUnit = Literal["m", "normalised"]
METRES: CloudUnit = "m"
NORMALISED: CloudUnit = "normalised"
Modality = Literal["image", "cloud"]  # what a sample may hold
BOTH: tuple[Modality, ...] = get_args(Modality)


@dataclass(frozen=True)
class Sample:
    """One sample of any data set: sensor data with pose and stamp."""

    image: np.ndarray | None  # (H, W, 3) uint8 RGB
    cloud: np.ndarray | None  # (N, 3) float32; metres in the base frame, or PointNetVLAD's normalised units
    T_world_base: np.ndarray | None  # (4, 4); x forward, y left, z up; planar sets fill x, y and heading
    stamp_ns: int
    place: int = -1  # id of the place where the set defines one (GSV-Cities), else -1
    condition: str = ""  # e.g. "winter/day/snow", "" unknown
    drive: str = ""


class SampleSet(ABC):
    """Every data set: columns that are in memory, and samples that are read from files on demand.

    Samples of different areas are never positives of one another. Positions of one area share one metric frame, unless
    `nearness` says otherwise: it answers how far apart two samples are.
    """

    name: str
    cloud_unit: CloudUnit
    positions_m: np.ndarray  # (N, 2) x, y; NaN where the position is not known
    areas: np.ndarray  # (N,) str
    drives: np.ndarray  # (N,) str
    conditions: np.ndarray  # (N,) str
    stamps_ns: np.ndarray  # (N,) int64
    headings_rad: np.ndarray | None = None  # (N,) counter-clockwise from x; None where the set has no headings
    places: np.ndarray | None = None  # (N,) int, numbers of the places where the set defines some (GSV-Cities)

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @cached_property
    def nearness(self) -> Nearness:
        """How far apart the samples are, as far as it is known."""
        return Nearness.of_maps(self.positions_m, self.headings_rad, self.areas)

    @abstractmethod
    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        """Sample `row` with the parts that `modalities` names; the rest is None and not read from the disk.

        Raises VprError, one sentence, for a file that is missing or torn.
        """

    def __getitem__(self, row: int) -> Sample:
        """Sample `row` with all that it holds."""
        return self.read(row, BOTH)

    def select(
        self, rows: np.ndarray | Sequence[int] | None = None, modalities: Collection[Modality] = BOTH
    ) -> "SampleSet":
        """The samples of the given rows or boolean mask (None: all) in that order, with the given modalities."""
        return SelectedSamples(self, np.arange(len(self)) if rows is None else np.asarray(rows), tuple(modalities))

    def holding(self, modalities: Collection[Modality]) -> np.ndarray:
        """Rows (M,) of the samples that have all `modalities`; all rows where this is known only after reading
        them."""
        return np.arange(len(self))


class SelectedSamples(SampleSet):
    """Some samples of another set, of which only a part may be read; see `SampleSet.select`."""

    def __init__(self, samples: SampleSet, rows: np.ndarray, modalities: tuple[Modality, ...]):
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        self._samples, self._rows, self._modalities = samples, rows, modalities
        self.name, self.cloud_unit = samples.name, samples.cloud_unit
        self.positions_m, self.stamps_ns = samples.positions_m[rows], samples.stamps_ns[rows]
        self.areas, self.drives, self.conditions = samples.areas[rows], samples.drives[rows], samples.conditions[rows]
        self.headings_rad = None if samples.headings_rad is None else samples.headings_rad[rows]
        self.places = None if samples.places is None else samples.places[rows]

    @cached_property
    def nearness(self) -> Nearness:
        return self._samples.nearness.select(self._rows)

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        return self._samples.read(int(self._rows[row]), [name for name in modalities if name in self._modalities])

    def holding(self, modalities: Collection[Modality]) -> np.ndarray:
        if set(modalities) - set(self._modalities):
            return np.arange(0)
        return np.flatnonzero(np.isin(self._rows, self._samples.holding(modalities)))
