"""The one sample that every data set yields, what a data set is, and the project's own sets as one.

Nothing here imports torch, open3d or rosbags.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import cv2
import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform

if TYPE_CHECKING:
    from vpr_ros.training_set.reader import FrameTable

METRES, NORMALISED = "m", "normalised"  # SampleSet.cloud_unit


@dataclass(frozen=True)
class Sample:
    """One tuple of any data set: what was seen from where and when."""

    image: np.ndarray | None  # (H, W, 3) uint8 RGB
    cloud: np.ndarray | None  # (N, 3) float32; metres in the base frame, or PointNetVLAD's normalised units
    T_world_base: np.ndarray | None  # (4, 4); x forward, y left, z up; planar sets fill x, y and heading
    stamp_ns: int
    place: int = -1  # id of the place where the set defines one (GSV-Cities), else -1
    condition: str = ""  # e.g. "winter/day/snow", "" unknown
    drive: str = ""


@runtime_checkable
class SampleSet(Protocol):
    """What every loader is: light columns that cost no file access, and samples that are read when asked for.

    Positions of one area share one metric frame; samples of different areas are never positives of one another.
    `__getitem__` raises VprError, one sentence, for a file that is missing or torn.
    """

    name: str
    cloud_unit: str  # "m" or "normalised"
    positions_m: np.ndarray  # (N, 2) x, y
    areas: np.ndarray  # (N,) str
    drives: np.ndarray  # (N,) str
    conditions: np.ndarray  # (N,) str
    stamps_ns: np.ndarray  # (N,) int64

    @property
    def headings_rad(self) -> np.ndarray | None:
        """(N,) counter-clockwise from x; None where the set knows none."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Sample: ...


class FrameTableSamples:
    """A training-set folder (rendered, recorded or converted) as a SampleSet.

    Clouds are in metres in the base frame, as recorded, converted and rendered sets store them.
    `sees` names what is read of a sample: "image", "cloud" or both; the rest is None.
    """

    cloud_unit = METRES
    headings_rad: np.ndarray | None

    def __init__(self, table: "FrameTable", name: str = "frames", sees: Sequence[str] = ("image", "cloud")):
        self.table, self.name, self.sees = table, name, tuple(sees)
        self.positions_m, self.headings_rad = table.positions_m, table.headings_rad
        self.areas, self.drives = table.cities.astype(str), table.drives.astype(str)
        self.conditions, self.stamps_ns = table.conditions.astype(str), table.stamps_ns

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, i: int) -> Sample:
        x, y = self.positions_m[i]
        cloud = self.table.clouds[i] if "cloud" in self.sees else None
        return Sample(
            image=read_rgb(self.table.images[i]) if "image" in self.sees else None,
            cloud=None if cloud is None else read_npy_cloud(cloud),
            T_world_base=planar_transform(float(x), float(y), float(self.table.headings_rad[i])),
            stamp_ns=int(self.stamps_ns[i]),
            condition=str(self.conditions[i]),
            drive=str(self.drives[i]),
        )


def seeing(samples: SampleSet, sees: Sequence[str], rows: np.ndarray | None = None) -> SampleSet:
    """The same set, or the given rows of it, with only what `sees` names read from the disk.

    A set that cannot leave something out is given back as it is: `holding` never asks for a part of it.
    """
    if isinstance(samples, FrameTableSamples):
        table = samples.table if rows is None else samples.table.select(rows)
        return FrameTableSamples(table, samples.name, sees)
    return samples


def holding(samples: SampleSet, sees: Sequence[str]) -> np.ndarray:
    """Rows (M,) of the samples that hold what `sees` names; all rows where the set cannot say without reading them."""
    if isinstance(samples, FrameTableSamples) and "cloud" in sees:
        return np.flatnonzero([cloud is not None for cloud in samples.table.clouds])
    return np.arange(len(samples))


def read_rgb(path: Path) -> np.ndarray:
    """The picture as (H, W, 3) uint8 RGB; raises VprError where the file is missing or torn."""
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise VprError(f"cannot read the image {path}: missing or torn; fetch, convert or render it again")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def read_npy_cloud(path: Path) -> np.ndarray:
    """Points (N, 3) float32 of an `.npy` file with at least three columns; never runs a pickle inside it.

    Raises VprError for a file that is missing, torn or holds something else.
    """
    try:
        points = np.load(path, allow_pickle=False)
        if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
            raise ValueError(f"an array of shape {points.shape} and type {points.dtype}")
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VprError(
            f"cannot read the cloud {path} ({reason}): an .npy array (N, 3) is needed; fetch or convert it again"
        ) from None
    return points[:, :3].astype(np.float32)
