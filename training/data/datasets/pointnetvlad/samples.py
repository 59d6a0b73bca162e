"""The PointNetVLAD benchmark's folders as samples: normalised submaps, with MinkLoc++'s pictures beside them.

ROOT/oxford/<run>/pointcloud_20m_10overlap/<t>.bin    + pointcloud_locations_20m_10overlap.csv      (training)
ROOT/oxford/<run>/pointcloud_20m/<t>.bin              + pointcloud_locations_20m.csv                (test)
ROOT/inhouse_datasets/<run>/pointcloud_25m_10/<t>.bin + pointcloud_centroids_10.csv, ..._25 for test
IMAGES/<run>/<t>.png  and  IMAGES/lidar2image_ndx.pickle  (submap stamp -> the 20 nearest pictures' stamps)
"""

import csv
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.training.data.datasets.pointnetvlad.pickles import read_pickle
from vpr_ros.training.data.datasets.pointnetvlad.splits import EvaluationSplit, RunTable, TrainingSplit
from vpr_ros.training.data.datasets.robotcar.models import MAP_ORIGIN
from vpr_ros.training.data.sample import BOTH, NORMALISED, Modality, Sample, SampleSet
from vpr_ros.training.data.sensor_files import read_rgb

POINTS = 4096
Area = Literal["oxford", "inhouse_datasets"]
Part = Literal["train", "test"]

# folder of the clouds, table of their centroids
LAYOUT: dict[tuple[Area, Part], tuple[str, str]] = {
    ("oxford", "train"): ("pointcloud_20m_10overlap", "pointcloud_locations_20m_10overlap.csv"),
    ("oxford", "test"): ("pointcloud_20m", "pointcloud_locations_20m.csv"),
    ("inhouse_datasets", "train"): ("pointcloud_25m_10", "pointcloud_centroids_10.csv"),
    ("inhouse_datasets", "test"): ("pointcloud_25m_25", "pointcloud_centroids_25.csv"),
}
# Northing and easting of the origin of `positions_m`: float32 holds UTM values to 0.5 m only.
ORIGINS: dict[Area, tuple[float, float]] = {"oxford": MAP_ORIGIN[:2], "inhouse_datasets": (363_000.0, 143_000.0)}
INDEX_NAME = "lidar2image_ndx.pickle"


def list_runs(root: str | Path, area: Area = "oxford") -> list[str]:
    """Sorted run folders of "oxford" or "inhouse_datasets". Raises VprError where there is none."""
    folder = Path(root) / area
    runs = sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
    if not runs:
        raise VprError(
            f"{folder} holds no runs: the benchmark's folders <run>/{LAYOUT[area, 'train'][0]}/ were "
            "expected there; unpack its archive, or build submaps from raw traversals"
        )
    return runs


def read_run(root: str | Path, run: str, part: Part, area: Area = "oxford") -> RunTable:
    """The submaps that a run's table lists, "train" or "test". Raises VprError where table or clouds are missing."""
    clouds, name = LAYOUT[area, part]
    folder = Path(root) / area / run
    table = folder / name
    try:
        with table.open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        stamps = [int(row["timestamp"]) for row in rows]
        positions = np.array([[float(row["northing"]), float(row["easting"])] for row in rows]).reshape(-1, 2)
    except OSError as error:
        raise VprError(f"{table} cannot be read ({error.strerror}): a run's submap positions belong there") from None
    except (KeyError, TypeError, ValueError, csv.Error):
        raise VprError(f"{table} is torn or no table of timestamp,northing,easting; unpack it again") from None
    there = {e.name for e in os.scandir(folder / clouds)} if (folder / clouds).is_dir() else set()
    missing = [t for t in stamps if f"{t}.bin" not in there]
    if missing:
        raise VprError(
            f"{folder / clouds} lacks {len(missing)} of the {len(stamps)} clouds that {name} lists (the "
            f"first is {missing[0]}.bin); unpack the archive again"
        )
    return RunTable([f"{area}/{run}/{clouds}/{t}.bin" for t in stamps], positions)


def read_submap(path: Path) -> np.ndarray:
    """Points (4096, 3) float32 of a submap file of float64. Raises VprError where it is missing or torn."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise VprError(f"submap {path} cannot be read ({error.strerror}); unpack the archive again") from None
    if len(data) != POINTS * 24:
        raise VprError(f"submap {path} has {len(data)} bytes instead of {POINTS * 24}; it is torn, unpack it again")
    with np.errstate(over="ignore"):
        return np.frombuffer(data, "<f8").reshape(-1, 3).astype(np.float32)


class PointNetVLAD(SampleSet):
    """Submaps by path as a SampleSet in normalised units; `images` adds the picture of each.

    `paths` are relative to `root`; positions (N, 2) are northing, easting, and come from the runs' own tables where
    they are not given. The set has no headings and its samples have no pose. `conditions`: run -> text. Raises VprError
    for paths of another layout and pictures or an index that are missing.
    """

    cloud_unit = NORMALISED

    def __init__(
        self,
        root: str | Path,
        paths: Sequence[str],
        positions: np.ndarray | None = None,
        images: str | Path | None = None,
        conditions: dict[str, str] | None = None,
        name: str = "pointnetvlad",
    ):
        self.root, self.paths, self.name = Path(root), list(paths), name
        parts = [path.split("/") for path in self.paths]
        wrong = [p for p in parts if len(p) != 4 or p[0] not in ORIGINS or not p[3].removesuffix(".bin").isdigit()]
        if wrong:
            raise VprError(
                f"submap path '{'/'.join(wrong[0])}' is not <set>/<run>/<folder>/<digits>.bin of the "
                f"PointNetVLAD benchmark, where <set> is one of {', '.join(ORIGINS)}"
            )
        self.areas = np.array([p[0] for p in parts], dtype=str)
        self.drives = np.array([p[1] for p in parts], dtype=str)
        self.stamps = np.array([int(p[3].removesuffix(".bin")) for p in parts], np.int64)
        self.stamps_ns = self.stamps * 1000
        self.conditions = np.array([(conditions or {}).get(p[1], "") for p in parts], dtype=str)
        self.utm = self._positions() if positions is None else np.asarray(positions, np.float64).reshape(-1, 2)
        origin = np.array([ORIGINS[area] for area in self.areas]).reshape(-1, 2)
        self.positions_m = (self.utm - origin)[:, ::-1]  # x east, y north
        self.images = None if images is None else Path(images)
        self._index = {} if self.images is None else read_index(self.images / INDEX_NAME)
        lacking = [int(t) for t in self.stamps if int(t) not in self._index] if self.images is not None else []
        if lacking:
            raise VprError(
                f"{self.images}/{INDEX_NAME} names no picture for {len(lacking)} of {len(self)} submaps "
                f"(the first is {lacking[0]}); take index and submaps of one set"
            )

    @classmethod
    def training(cls, root: str | Path, split: TrainingSplit, **options) -> "PointNetVLAD":
        """The elements of a training split, row by row."""
        return cls(root, split.paths, split.positions, **options)

    @classmethod
    def database(cls, root: str | Path, split: EvaluationSplit, run: int, **options) -> "PointNetVLAD":
        """The database of one run of an evaluation split."""
        return cls(root, split.databases[run].paths, split.databases[run].positions, **options)

    @classmethod
    def queries(cls, root: str | Path, split: EvaluationSplit, run: int, **options) -> "PointNetVLAD":
        """The queries of one run of an evaluation split."""
        return cls(root, split.queries[run].paths, split.queries[run].positions, **options)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        return self.get(row, modalities=modalities)

    def get(self, i: int, rng: np.random.Generator | None = None, modalities: Collection[Modality] = BOTH) -> Sample:
        """Sample i with the picture nearest in time, or, with `rng`, one of its nearest 20 at random (training)."""
        image = None
        if self.images is not None and "image" in modalities:
            near = self._index[int(self.stamps[i])]
            stamp = near[0 if rng is None else int(rng.integers(len(near)))]
            image = read_rgb(self.images / str(self.drives[i]) / f"{stamp}.png")
        return Sample(
            image,
            read_submap(self.root / self.paths[i]) if "cloud" in modalities else None,
            None,
            int(self.stamps_ns[i]),
            condition=str(self.conditions[i]),
            drive=str(self.drives[i]),
        )

    def _positions(self) -> np.ndarray:
        """Northing and easting of every path, from its run's table."""
        known: dict[str, np.ndarray] = {}
        parts = {(key[0], clouds): key for key, (clouds, _) in LAYOUT.items()}
        for name, run, folder in sorted({tuple(path.split("/")[:3]) for path in self.paths}):
            if (name, folder) not in parts:
                raise VprError(
                    f"submap folder {name}/{run}/{folder} is none of the benchmark's; the positions of its "
                    "submaps are unknown"
                )
            area, part = parts[name, folder]
            table = read_run(self.root, run, part, area)
            known.update(zip(table.paths, table.positions, strict=True))
        lacking = next((path for path in self.paths if path not in known), None)
        if lacking is not None:
            raise VprError(
                f"{self.root / lacking} is not in its run's table of positions; take split and submaps of one set"
            )
        return np.array([known[path] for path in self.paths]).reshape(-1, 2)


def read_index(path: Path) -> dict[int, list[int]]:
    """`lidar2image_ndx.pickle`: submap stamp -> picture stamps, nearest first; read without executing it."""
    index = read_pickle(path)
    if not isinstance(index, dict) or not all(isinstance(k, int) and len(v) for k, v in index.items()):
        raise VprError(
            f"{path} is no picture index: a dictionary from a submap's stamp to a list of picture stamps is needed"
        )
    return {k: [int(t) for t in v] for k, v in index.items()}
