"""Batches without labels: groups of frames that a teacher finds alike, drawn across the drives of a city.

Relations teach little in a batch of frames that are all equally far from one another. So the teacher nominates: each
group begins with a random frame and goes on with what it finds nearest in the other drives, so that day meets night.
The groups are the far ones of each other.
"""

from collections.abc import Callable, Iterator

import numpy as np
from torch.utils.data import Sampler

from vpr_ros.errors import VprError
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.pairs import Key

NEAREST = (
    3  # of a drive, from which one is drawn: one nomination may err, and graded relations teach more than equal ones
)


class NominatedBatchSampler(Sampler):
    """Yields batches of `groups * frames_per_group` keys (row, seed of the frame, seed of the batch).

    `embeddings` gives the teacher's (N, D) when the first batch is drawn, compared by their Euclidean distances; frames
    that it does not see, rows of NaN, are left out. Of a group's frames the first is random; then comes one of the
    `NEAREST` of each other drive of its city, drives in random order, and where these are too few, of the own drive.
    Drawing depends on (seed, epoch, step) alone.
    """

    def __init__(
        self,
        samples: SampleSet,
        embeddings: Callable[[], np.ndarray],
        groups: int,
        frames_per_group: int,
        steps: int,
        *,
        seed: int = 0,
        cities_per_batch: int = 2,
    ):
        self.samples, self.embeddings = samples, embeddings
        self.groups, self.frames_per_group, self.steps = groups, frames_per_group, steps
        self.seed, self.cities_per_batch, self.epoch = seed, cities_per_batch, 0
        self._cities: list[_City] | None = None

    def __len__(self) -> int:
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches are drawn next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Key]]:
        return map(self.batch, range(self.steps))

    def batch(self, step: int) -> list[Key]:
        """The keys of one step of the epoch, also beyond the number of steps."""
        rng = np.random.default_rng((self.seed, self.epoch, step, 1))  # not what a sampler of labels draws
        rows = self._rows(rng)
        shared, *seeds = rng.integers(2**62, size=len(rows) + 1).tolist()
        return [(row, seed, shared) for row, seed in zip(rows, seeds, strict=True)]

    def _rows(self, rng: np.random.Generator) -> list[int]:
        if self._cities is None:
            self._cities = _cities(self.samples, self.embeddings(), self.frames_per_group)
        cities = [self._cities[i] for i in rng.permutation(len(self._cities))[: self.cities_per_batch]]
        rows: list[int] = []
        for number in range(self.groups):
            rows += cities[number % len(cities)].group(rng, set(rows), self.frames_per_group)
        return rows


class _City:
    """The frames of a city that the teacher sees; nearest ones are looked up when they are asked for, and kept."""

    def __init__(self, rows: np.ndarray, drives: np.ndarray, embeddings: np.ndarray):
        self.rows, self.x = rows, np.asarray(embeddings, np.float32)
        self.square = (self.x.astype(np.float64) ** 2).sum(axis=1)
        self.drive_of = np.unique(drives, return_inverse=True)[1].ravel()
        self.members = [np.flatnonzero(self.drive_of == d) for d in range(int(self.drive_of.max()) + 1)]
        self.nearest: dict[int, list[np.ndarray]] = {}

    def group(self, rng: np.random.Generator, taken: set[int], count: int) -> list[int]:
        """`count` rows of the sample set that are not taken, fewer where the city has no more."""
        free = np.flatnonzero(~np.isin(self.rows, list(taken)))
        if not len(free):
            return []
        first = int(free[rng.integers(len(free))])
        chosen, own = [first], int(self.drive_of[first])
        others = [int(d) for d in rng.permutation(len(self.members)) if d != own]
        used = taken | {int(self.rows[first])}
        while len(chosen) < count:
            before = len(chosen)
            for drive in others or [own]:
                near = [i for i in self._nearest(first)[drive].tolist() if int(self.rows[i]) not in used]
                if near and len(chosen) < count:
                    chosen.append(near[int(rng.integers(min(NEAREST, len(near))))])
                    used.add(int(self.rows[chosen[-1]]))
            if len(chosen) == before:
                if not others:
                    break
                others = []  # the other drives are used up: the own one has more
        return [int(self.rows[i]) for i in chosen]

    def _nearest(self, first: int) -> list[np.ndarray]:
        """For each drive its frames, the nearest to the first one before others, as many as a group may ask for."""
        if first not in self.nearest:
            distance = self.square - 2 * (self.x @ self.x[first])
            found = []
            for members in self.members:
                order = np.argsort(distance[members], kind="stable")[: 4 * NEAREST + 1]
                found.append(members[order])
            self.nearest[first] = found
        return self.nearest[first]


def _cities(samples: SampleSet, embeddings: np.ndarray, least: int) -> list[_City]:
    seen = np.isfinite(embeddings).all(axis=1)
    found = []
    for city in np.unique(samples.areas):
        rows = np.flatnonzero((samples.areas == city) & seen)
        if len(rows) >= least:
            found.append(_City(rows, samples.drives[rows], embeddings[rows]))
    if not found:
        raise VprError(
            f"no city has {least} frames that the teacher sees: there are no batches of unlabelled frames to draw"
        )
    return found
