"""Pairs of frames across drives that share no coordinate frame: `pairs.csv` and `examined.csv` of a training set.

A pair needs no poses: it says where one drive's frame lies beside another's. Below `CONFIRMED` it is a pair that may
show one place and may not. A pair of frames that is not listed shows two places only where the two drives were
examined, that is where somebody looked for their pairs.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.atomic import whole_text
from vpr_ros.errors import VprError
from vpr_ros.training_set.format import EXAMINED, PAIRS

PAIR_COLUMNS = ("drive_a", "frame_a", "drive_b", "frame_b", "x_m", "y_m", "yaw_rad", "confidence")
DRIVE_COLUMNS = ("drive_a", "drive_b")
CONFIRMED = 0.5  # confidence from which a pair counts as one place


@dataclass(frozen=True)
class DrivePairs:
    """The pairs of two drives; there may be none.

    `frames` (M, 2) are the frames' numbers in drive a and in drive b, `T_a_b` (M, 3) x and y in metres and yaw of b's
    base in a's, NaN where it is not known (never for confirmed pairs), `confidence` (M,) from 0 to 1.
    """

    drive_a: str
    drive_b: str
    frames: np.ndarray
    T_a_b: np.ndarray
    confidence: np.ndarray
    examined: bool = True  # whether all frames of the two were compared, so that what is not listed is no pair

    @property
    def confirmed(self) -> np.ndarray:
        """(M,) bool: which pairs count as one place."""
        return self.confidence >= CONFIRMED


def write_pairs(folder: str | Path, found: Sequence[DrivePairs]) -> None:
    """Replace the pairs of a training set; VprError where its folder cannot be written."""
    folder = Path(folder)

    def explain(error: OSError) -> VprError:
        return VprError(f"pairs of {folder} cannot be written ({error.strerror}); check space and rights")

    # Without the list of examined drives pairs that are not listed are unknown, so it comes last.
    (folder / EXAMINED).unlink(missing_ok=True)
    with whole_text(folder / PAIRS, explain=explain) as stream:
        writer = csv.writer(stream)
        writer.writerow(PAIR_COLUMNS)
        for one in found:
            for (a, b), T, confidence in zip(one.frames.tolist(), one.T_a_b, one.confidence, strict=True):
                place = [f"{T[0]:.3f}", f"{T[1]:.3f}", f"{T[2]:.5f}"] if np.isfinite(T).all() else ["", "", ""]
                writer.writerow([one.drive_a, a, one.drive_b, b, *place, f"{confidence:.3f}"])
    with whole_text(folder / EXAMINED, explain=explain) as stream:
        writer = csv.writer(stream)
        writer.writerow(DRIVE_COLUMNS)
        writer.writerows((one.drive_a, one.drive_b) for one in found if one.examined)


def read_pairs(folder: str | Path) -> list[DrivePairs]:
    """The pairs of a training set by drives; empty where nobody looked. VprError for tables that are damaged."""
    folder = Path(folder)
    examined = {(row["drive_a"], row["drive_b"]) for row in _rows(folder / EXAMINED, DRIVE_COLUMNS)}
    pairs: dict[tuple[str, str], list[dict[str, str]]] = {drives: [] for drives in sorted(examined)}
    for row in _rows(folder / PAIRS, PAIR_COLUMNS):
        pairs.setdefault((row["drive_a"], row["drive_b"]), []).append(row)
    return [_drive_pairs(folder / PAIRS, *drives, rows, drives in examined) for drives, rows in pairs.items()]


def _rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            lacking = [name for name in columns if name not in (reader.fieldnames or [])]
            rows = list(reader)
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VprError(f"{path} is no table ({error}); {_AGAIN}") from None
    if lacking:
        raise VprError(f"{path} lacks the columns {', '.join(lacking)}; {_AGAIN}")
    return rows


_AGAIN = "delete it, or write it again"


def _drive_pairs(path: Path, drive_a: str, drive_b: str, rows: list[dict[str, str]], examined: bool) -> DrivePairs:
    try:
        frames = np.array([[int(row["frame_a"]), int(row["frame_b"])] for row in rows], np.int64).reshape(-1, 2)
        names = ("x_m", "y_m", "yaw_rad")
        T = np.array([[float(row[name] or "nan") for name in names] for row in rows], float).reshape(-1, 3)
        confidence = np.array([float(row["confidence"]) for row in rows], float)
    except (TypeError, ValueError, OverflowError) as error:
        raise VprError(f"{path} has a broken row of drives {drive_a} and {drive_b} ({error}); {_AGAIN}") from None
    found = DrivePairs(drive_a, drive_b, frames, T, confidence, examined)
    if not ((confidence >= 0) & (confidence <= 1)).all() or not np.isfinite(T[found.confirmed]).all():
        raise VprError(
            f"{path} has a pair of drives {drive_a} and {drive_b} whose confidence is not from 0 to 1, or that is "
            f"confirmed without x, y and yaw; {_AGAIN}"
        )
    return found
