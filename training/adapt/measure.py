"""What a student recognises of own drives: every drive asks every other one of its area, as a recogniser compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.place_map.statistics import DriveStatistics, centred
from vpr_ros.training.adapt.frames import ONE_DRIVE
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.adapt.stretches import Stretches
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.retrieval import Difference, recall_difference
from vpr_ros.training.student.validation.result import comparison

LEAST_QUERIES = 50  # between the drives: fewer measure nothing


@dataclass(frozen=True)
class Asked:
    """The frames of one drive that have a true place in another one, with all frames of both."""

    drive: np.ndarray  # (D,) rows of the drive that asks
    map: np.ndarray  # (M,) rows of the drive that answers
    true: np.ndarray  # (D, M) bool
    unknown: np.ndarray  # (D, M) bool: whether they show one place is not known

    @property
    def queries(self) -> np.ndarray:
        """(Q,) rows of the frames with a true place."""
        return self.drive[self.true.any(axis=1)]


@dataclass(frozen=True)
class Answers:
    """To all queries, in the order of `Crossings.rows`."""

    right: np.ndarray  # (Q,) bool
    rows: np.ndarray  # (Q,) of the frames that are answered

    def where(self, chosen: np.ndarray, other: Answers) -> Answers:
        """The own answers for the `chosen` (Q,) bool queries, those of `other` for the rest."""
        return Answers(np.where(chosen, self.right, other.right), np.where(chosen, self.rows, other.rows))


class Crossings:
    """All queries between the drives of a sample set."""

    def __init__(self, samples: SampleSet, size: PlaceSize):
        self.samples, self.size = samples, size
        self.asked: list[Asked] = []
        for area in np.unique(samples.areas):
            here = samples.areas == area
            drives = [np.flatnonzero(here & (samples.drives == name)) for name in np.unique(samples.drives[here])]
            for drive, other in ((a, b) for a in drives for b in drives if a is not b):
                gaps = samples.nearness.gaps(drive[:, None], other[None])
                true = gaps.near(size.radius_m, size.heading_rad)
                if true.any():
                    self.asked.append(Asked(drive, other, true, gaps.unknown(size.radius_m)))
        self.rows = np.concatenate([np.empty(0, np.int64), *(one.queries for one in self.asked)])  # (Q,)
        # both drives' names (Q, 2), in one order for both directions
        names = [sorted([samples.drives[one.drive[0]], samples.drives[one.map[0]]]) for one in self.asked]
        self.pairs = np.repeat(np.array(names, str).reshape(-1, 2), [len(one.queries) for one in self.asked], axis=0)

    def __len__(self) -> int:
        return len(self.rows)

    def answers(self, descriptors: np.ndarray, parts: tuple[int, ...]) -> Answers:
        """Descriptors (N, dim) of all frames -> the most similar frame of the map for every query.

        Both drives are compared without their means. Frames of which it is not known whether they show the query's
        place are left out of its map.
        """
        right, rows = [np.empty(0, bool)], [np.empty(0, np.int64)]
        for one in self.asked:
            asking = one.true.any(axis=1)
            similarity = _centred(descriptors[one.drive], parts)[asking] @ _centred(descriptors[one.map], parts).T
            best = np.where(one.unknown[asking], -np.inf, similarity).argmax(axis=1)
            right.append(one.true[asking][np.arange(len(best)), best])
            rows.append(one.map[best])
        return Answers(np.concatenate(right), np.concatenate(rows))

    def require_enough(self) -> None:
        """VprError where hardly a frame shows a place of another drive."""
        if len(self) >= LEAST_QUERIES:
            return
        names = np.unique(self.samples.drives).tolist()
        if len(names) < 2:
            raise VprError(ONE_DRIVE.format(names[0]))
        raise VprError(
            f"{len(self)} frames of the drives {', '.join(names)} are known to show a place of another drive, and "
            f"{LEAST_QUERIES} are needed: they have to go through the same streets in the same direction, with poses "
            "in one frame or LiDAR clouds that show it."
        )


@dataclass(frozen=True)
class Row:
    """Recall@1 of the queries between two drives."""

    drives: str
    queries: int
    before: float
    kept_out: float
    learned: float


@dataclass(frozen=True)
class Measured:
    """The answers to the queries: of the start, of students that were trained without the stretch of the query, and of
    the one that was trained on all of them."""

    crossings: Crossings
    stretches: Stretches
    before: Answers
    kept_out: Answers
    learned: Answers

    def rows(self) -> list[Row]:
        """By pair of drives, and in all."""
        pairs = self.crossings.pairs
        chosen = [(" - ".join(pair), (pairs == pair).all(axis=1)) for pair in np.unique(pairs, axis=0)]
        chosen.append(("all", np.ones(len(pairs), bool)))
        kinds = (self.before.right, self.kept_out.right, self.learned.right)
        return [Row(name, int(of.sum()), *(float(right[of].mean()) for right in kinds)) for name, of in chosen]

    @property
    def gain(self) -> Difference | None:
        """On stretches kept out, with its interval over pieces of the streets; None for fewer than five pieces."""
        of_queries = self.stretches.pieces[self.crossings.rows]
        numbers = np.unique(of_queries, return_inverse=True)[1].ravel()
        return recall_difference(self.kept_out.right, self.before.right, numbers)

    @property
    def sentence(self) -> str:
        """What was gained or lost on streets that were not learned from."""
        told = "on stretches kept out the adapted student recognises {:.3f} of the queries, the start {:.3f}"
        return comparison(told, self.kept_out.right, self.before.right, self.gain, self.crossings.size.piece_m)

    @property
    def worse(self) -> bool:
        """Whether fewer queries are answered right than before, on the stretches kept out or where it has learned."""
        return min(self.kept_out.right.sum(), self.learned.right.sum()) < self.before.right.sum()


def _centred(descriptors: np.ndarray, parts: tuple[int, ...]) -> np.ndarray:
    """The rows of a drive less what is constant in it."""
    return centred(descriptors, DriveStatistics.of(descriptors).constant, parts)
