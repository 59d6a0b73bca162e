"""Pairs of a training set against true poses: how many are right, and how many of the places were found."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform, rows_within, yaw_of
from vpr_ros.offline.crossing.of_set import SetCrossing
from vpr_ros.training_set.reader import FrameTable

RIGHT_M, RIGHT_RAD = 2.0, 0.2  # by which a pair may err
PLACE_M = 5.0  # a frame with one of the other drive this near, whatever its heading, could have been placed


@dataclass(frozen=True)
class PairCheck:
    """Two drives' confirmed pairs against the truth: those with true poses, the right ones among them, and their median
    error; frames of the second drive that pass a frame of the first, and those of them that a pair places."""

    pairs: int
    right: int
    median_m: float
    passing: int
    placed: int

    @property
    def precision(self) -> float:
        """Share of the pairs that are right; NaN without any."""
        return self.right / self.pairs if self.pairs else float("nan")

    @property
    def recall(self) -> float:
        """Share of the passing frames that a pair places; NaN without any."""
        return self.placed / self.passing if self.passing else float("nan")


def need_truth(table: FrameTable, truth: FrameTable) -> None:
    """VprError where `truth` has no poses in one frame for frames of two drives of the set `table`."""
    frames = [_frame(truth, _true_rows(table, truth, name)) for name in np.unique(table.drives).tolist()]
    if len([frame for frame in frames if frame and frames.count(frame) > 1]) < 2:
        raise VprError(
            "the pairs cannot be checked: true poses in one map frame are needed for two of the set's drives, and the "
            "set to check with has none for frames of the same drives and stamps"
        )


def check_pairs(table: FrameTable, found: SetCrossing, truth: FrameTable) -> PairCheck | None:
    """`found` in the set `table` by the poses that `truth` has of the same frames, told by drive and stamp.

    None where the truth has no poses in one frame for both drives.
    """
    pairs, names = found.pairs, (found.pairs.drive_a, found.pairs.drive_b)
    true = [_true_rows(table, truth, name) for name in names]
    frames = [_frame(truth, rows) for rows in true]
    if not frames[0] or frames[0] != frames[1]:
        return None
    errors, turns = [], []
    for (a, b), T_a_b in zip(pairs.frames[pairs.confirmed].tolist(), pairs.T_a_b[pairs.confirmed], strict=True):
        if a in true[0] and b in true[1]:
            T_true = np.linalg.inv(_pose(truth, true[0][a])) @ _pose(truth, true[1][b])
            wrong = np.linalg.inv(planar_transform(*T_a_b)) @ T_true
            errors.append(float(np.hypot(wrong[0, 3], wrong[1, 3])))
            turns.append(abs(float(yaw_of(wrong))))
    right = (np.array(errors) <= RIGHT_M) & (np.array(turns) <= RIGHT_RAD)
    xy = [truth.positions_m[list(rows.values())] for rows in true]
    passing = [n for n, near in zip(true[1], rows_within(xy[0], xy[1], PLACE_M), strict=True) if len(near)]
    placed = np.isin(passing, found.placed[1]).sum()
    median_m = float(np.median(errors)) if errors else float("nan")
    return PairCheck(len(errors), int(right.sum()), median_m, len(passing), int(placed))


def _true_rows(table: FrameTable, truth: FrameTable, drive: str) -> dict[int, int]:
    """Number of each frame of the drive with a true pose -> row of the truth."""
    rows = np.flatnonzero((truth.drives == drive) & (truth.pose_frames != ""))
    row_of = dict(zip(truth.stamps_ns[rows].tolist(), rows.tolist(), strict=True))
    own = np.flatnonzero(table.drives == drive)
    stamps = zip(table.numbers[own].tolist(), table.stamps_ns[own].tolist(), strict=True)
    return {number: row_of[stamp] for number, stamp in stamps if stamp in row_of}


def _frame(truth: FrameTable, rows: dict[int, int]) -> str:
    """The one frame of these true poses; empty where there are none, or several."""
    frames = set(truth.pose_frames[list(rows.values())].tolist())
    return frames.pop() if len(frames) == 1 else ""


def _pose(truth: FrameTable, row: int) -> np.ndarray:
    x, y = truth.positions_m[row]
    return planar_transform(float(x), float(y), float(truth.headings_rad[row]))
