"""Reading training sets: the tables of one or several folders as aligned columns."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.training_set.format import COLUMNS, META, TABLE


@dataclass(frozen=True)
class FrameTable:
    """Aligned columns of one or several training sets; row i is one frame."""

    images: list[Path]
    clouds: list[Path | None]
    drives: np.ndarray  # (N,) str
    cities: np.ndarray  # (N,) str
    conditions: np.ndarray  # (N,) str, e.g. "winter/day/snow"
    positions_m: np.ndarray  # (N, 2), NaN where the position is not known
    headings_rad: np.ndarray  # (N,), NaN with the position
    stamps_ns: np.ndarray  # (N,) int64
    pose_frames: np.ndarray  # (N,) str: which positions share a frame, a city's or a drive's own; "" without a position
    numbers: np.ndarray  # (N,) int64, of the frames in their drives
    folders: np.ndarray  # (N,) int64, numbers of the folders that the frames come from

    def __len__(self) -> int:
        return len(self.images)

    @property
    def areas(self) -> np.ndarray:
        """The cities, under the name that all sample sets use for samples that share one metric frame."""
        return self.cities

    def select(self, rows: np.ndarray) -> "FrameTable":
        """The frames of the given rows or boolean mask, in that order."""
        rows = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        return FrameTable(
            [self.images[i] for i in rows],
            [self.clouds[i] for i in rows],
            self.drives[rows],
            self.cities[rows],
            self.conditions[rows],
            self.positions_m[rows],
            self.headings_rad[rows],
            self.stamps_ns[rows],
            self.pose_frames[rows],
            self.numbers[rows],
            self.folders[rows],
        )


def read_frame_table(*folders: str | Path) -> FrameTable:
    """Read the frame tables of training-set folders into one; raises VprError for a folder of another layout."""
    rows: list[tuple[Path, dict]] = []
    counts: list[int] = []
    by_odometry: set[tuple[Path, str]] = set()
    for folder in map(Path, folders):
        table = folder / TABLE
        if not (folder / META).is_file() or not table.is_file():
            raise VprError(
                f"{folder} is no training set: it needs meta.json and frames.csv; make one with 'vpr_ros render'"
            )
        try:
            meta = parse_json((folder / META).read_text(encoding="utf-8"))
        except ValueError as error:
            raise VprError(f"{folder}/meta.json is not valid JSON ({error}); convert or render the set again") from None
        by_odometry |= {(folder, name) for name in _drives_by_odometry(meta)}
        try:
            with table.open(newline="", encoding="utf-8") as stream:
                reader = csv.DictReader(stream)
                missing = [c for c in COLUMNS[1:] if c not in (reader.fieldnames or [])]
                if missing:
                    raise VprError(f"{table} lacks the columns {', '.join(missing)}; convert or render the set again")
                rows += [(folder, row) for row in reader]
                counts.append(len(rows) - sum(counts))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise VprError(f"{table} is no table ({error}); convert or render the set again") from None
    if not rows:
        raise VprError(f"no frames in {', '.join(map(str, folders))}; the training sets are empty")

    def column(name):
        return [row[name] for _, row in rows]

    try:
        table = FrameTable(
            [folder / row["image"] for folder, row in rows],
            [folder / row["cloud"] if row["cloud"] else None for folder, row in rows],
            np.array(column("drive")),
            np.array(column("city")),
            np.array(column("condition")),
            np.array([[_number(row, "x_m"), _number(row, "y_m")] for _, row in rows], dtype=np.float64),
            np.array([_number(row, "heading_rad") for _, row in rows], dtype=np.float64),
            np.array(column("stamp_ns"), dtype=np.int64),
            np.array([_pose_frame(row, folder, (folder, row["drive"]) in by_odometry) for folder, row in rows]),
            np.array([row.get("frame", number) for number, (_, row) in enumerate(rows)], dtype=np.int64),
            np.repeat(np.arange(len(counts)), counts),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise VprError(f"frames.csv of {', '.join(map(str, folders))} has a broken row: {error}") from None
    posed = np.isfinite(table.positions_m).all(1) & np.isfinite(table.headings_rad)
    lost = ~posed & (table.pose_frames != "")
    if lost.any():
        folder, row = rows[int(np.argmax(lost))]
        raise VprError(f"{folder}/frames.csv: frame {row.get('frame', '')} of drive {row['drive']} has no finite pose")
    return table


def _drives_by_odometry(meta) -> list[str]:
    """Names of the drives of a recorded set whose poses are in their own frames."""
    drives = meta.get("drives") if isinstance(meta, dict) else None
    listed = [one for one in drives if isinstance(one, dict)] if isinstance(drives, list) else []
    return [str(one.get("name")) for one in listed if one.get("poses") == "odometry"]


def _number(row: dict, name: str) -> float:
    """NaN for an entry of a frame without a pose."""
    return float(row[name]) if _posed(row) else float("nan")


def _posed(row: dict) -> bool:
    return any(row[name] != "" for name in ("x_m", "y_m", "heading_rad"))


def _pose_frame(row: dict, folder: Path, odometry: bool) -> str:
    """A name that no other frame has: two folders may both have a drive of this name, and of one city."""
    if not _posed(row):
        return ""
    return f"odometry of {row['drive']} in {folder}" if odometry else row["city"]
