"""The streets cut into stretches, each of which is kept out of a training in turn."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.data.sample import SampleSet

COUNT = 5
AT_ONCE = 256  # rows that are compared with all others: bounds the memory


@dataclass(frozen=True)
class Stretches:
    """Where every frame lies along its streets: what lies at one place has one number in all drives, as far as known.

    `pieces` (N,) int are short, numbered through all areas; neighbours fail for the same reason, and one piece is one
    observation. `numbers` (N,) int, from 0 to COUNT - 1 in every area, are the stretches that are kept out.
    """

    samples: SampleSet
    size: PlaceSize
    pieces: np.ndarray
    numbers: np.ndarray

    def kept_out(self, number: int) -> np.ndarray:
        """(N,) bool: the frames on a stretch."""
        return self.numbers == number

    def apart(self, number: int) -> np.ndarray:
        """(N,) bool: the frames that certainly lie so far from all on a stretch that it is another place for them.

        Those beside it are neither on it nor apart.
        """
        held, nearness = np.flatnonzero(self.kept_out(number)), self.samples.nearness
        found = np.ones(len(self.numbers), bool)
        for at in range(0, len(found), AT_ONCE):
            rows = np.arange(at, min(at + AT_ONCE, len(found)))
            found[rows] = (nearness.gaps(rows[:, None], held[None]).least_m > self.size.border_m).all(axis=1)
        return found


def cut(samples: SampleSet, size: PlaceSize) -> Stretches:
    """Cut every area along its longest drive into pieces of about `size.piece_m`, and into COUNT stretches.

    A frame of another drive is of the piece of the nearest frame there; those that are near none are cut along their
    own drive in the same way.
    """
    pieces, numbers = np.full(len(samples), -1), np.zeros(len(samples), np.int64)
    for area in np.unique(samples.areas):
        rows = np.flatnonzero(samples.areas == area)
        names, counts = np.unique(samples.drives[rows], return_counts=True)
        placed = np.zeros(0, np.int64)
        for name in names[np.argsort(-counts, kind="stable")]:
            own = rows[samples.drives[rows] == name]
            if len(placed):
                _beside(samples, own, placed, size, pieces, numbers)
            alone = own[pieces[own] < 0]
            if len(alone):
                along = np.arange(len(alone)) / len(alone)
                count = COUNT * max(1, round(_length_m(samples, alone, size) / (COUNT * size.piece_m)))
                pieces[alone] = pieces.max() + 1 + (along * count).astype(np.int64)
                numbers[alone] = (along * COUNT).astype(np.int64)
            placed = np.concatenate([placed, own])
    return Stretches(samples, size, np.unique(pieces, return_inverse=True)[1].ravel(), numbers)


def _beside(
    samples: SampleSet, own: np.ndarray, placed: np.ndarray, size: PlaceSize, pieces: np.ndarray, numbers: np.ndarray
) -> None:
    """Give frames of a drive the piece and the stretch of the nearest frame that has some, where one is near."""
    for at in range(0, len(own), AT_ONCE):
        rows = own[at : at + AT_ONCE]
        gaps = samples.nearness.gaps(rows[:, None], placed[None]).most_m
        near = gaps.min(axis=1) <= size.border_m
        nearest = placed[gaps[near].argmin(axis=1)]
        pieces[rows[near]], numbers[rows[near]] = pieces[nearest], numbers[nearest]


def _length_m(samples: SampleSet, rows: np.ndarray, size: PlaceSize) -> float:
    """Of the way through the frames; where their positions are not known, as they are spaced."""
    steps = np.linalg.norm(np.diff(samples.positions_m[rows], axis=0), axis=1)
    return float(np.where(np.isfinite(steps), steps, size.spacing_m).sum())
