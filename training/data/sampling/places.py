"""Batches of places: every place by several images of different drives, most places of a batch from one city.

Places of one city are the hard negatives: the same materials, light and camera, another place.
"""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from vpr_ros.errors import VprError
from vpr_ros.training.data.sample import SampleSet


class PlaceBatchSampler(Sampler):
    """Yields batches of `places * images_per_place` keys (row, seed, strength) for `TrainingFrames`.

    Drawing depends on (seed, epoch, step) alone. Lightning calls `set_epoch`, so a run that resumes at an epoch's
    end draws what an uninterrupted one would.
    """

    def __init__(
        self,
        samples: SampleSet,
        places: int,
        images_per_place: int,
        steps: int,
        epochs: int,
        *,
        seed: int = 0,
        cities_per_batch: int = 2,
        positive_m: float = 3.0,
        positive_rad: float | None = 0.35,
        negative_m: float = 15.0,
        ramp: tuple[float, float] = (0.0, 1.0),
        ramp_until: float = 0.7,
    ):
        if positive_rad is not None and samples.headings_rad is None:
            raise VprError("places are drawn by position and heading, and these frames have no headings")
        self.samples, self.places, self.images_per_place, self.steps, self.epochs = (
            samples,
            places,
            images_per_place,
            steps,
            epochs,
        )
        self.seed, self.cities_per_batch, self.ramp, self.ramp_until = seed, cities_per_batch, ramp, ramp_until
        self.positive_m, self.positive_rad, self.negative_m = positive_m, positive_rad, negative_m
        self.rows_of_city = {c: np.flatnonzero(samples.areas == c) for c in np.unique(samples.areas)}
        self._near_of: dict[int, np.ndarray] = {}  # by row, as far as it was drawn
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    @property
    def sampler(self) -> "PlaceBatchSampler":
        """This object: Lightning calls `set_epoch` on the `sampler` of a batch sampler, not on the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.epoch = epoch

    def strength(self, step: int) -> float:
        """Augmentation strength in [0, 1]: full strength from the first step stalls a short training."""
        done = (self.epoch * self.steps + step) / max(1, self.epochs * self.steps)
        low, high = self.ramp
        return float(low + (high - low) * min(1.0, done / max(self.ramp_until, 1e-9)))

    def __iter__(self) -> Iterator[list[tuple[int, int, float]]]:
        for step in range(self.steps):
            rng = np.random.default_rng((self.seed, self.epoch, step))
            rows = self._rows(rng)
            seeds = rng.integers(0, 2**62, size=len(rows))
            strength = self.strength(step)
            yield [(int(row), int(seed), strength) for row, seed in zip(rows, seeds, strict=True)]

    def _rows(self, rng: np.random.Generator) -> list[int]:
        cities = rng.permutation(list(self.rows_of_city))[: self.cities_per_batch]
        share = np.full(len(cities), self.places // len(cities))
        share[: self.places - share.sum()] += 1
        rows: list[int] = []
        for city, count in zip(cities, share, strict=True):
            rows += self._rows_of_city(self.rows_of_city[city], int(count), rng)
        return rows

    def _rows_of_city(self, candidates: np.ndarray, count: int, rng: np.random.Generator) -> list[int]:
        """`count` places at least `negative_m` apart, as far as the city has them, each by several drives."""
        nearness, drives = self.samples.nearness, self.samples.drives[candidates]
        anchors: list[int] = []
        rows: list[int] = []
        for anchor in rng.permutation(len(candidates)):
            if len(anchors) == count:
                break
            near = self._near(candidates, int(anchor))
            if not len(near):
                continue
            # Anchors of which nothing is known may show two places or one: the masks leave them out.
            if not (nearness.gaps(candidates[anchor], candidates[anchors]).most_m >= self.negative_m).all():
                continue
            anchors.append(int(anchor))
            # Other drives first: the same drive repeats the season, the light and the parked cars.
            order = rng.permutation(near)
            fresh = _one_per_drive(order, drives, {str(drives[anchor])})
            chosen = [int(anchor), *fresh, *[i for i in order if i not in fresh]][: self.images_per_place]
            rows += [int(candidates[i]) for i in chosen]
        return rows

    def _near(self, candidates: np.ndarray, anchor: int) -> np.ndarray:
        """Of the candidates of a city, other ones of the anchor's place."""
        row = int(candidates[anchor])
        if row not in self._near_of:
            gaps = self.samples.nearness.gaps(candidates[anchor], candidates)
            near = np.flatnonzero(gaps.near(self.positive_m, self.positive_rad))
            self._near_of[row] = near[near != anchor]
        return self._near_of[row]


def _one_per_drive(order: np.ndarray, drives: np.ndarray, used: set) -> list[int]:
    chosen: list[int] = []
    for i in order:
        if str(drives[i]) not in used:
            used.add(str(drives[i]))
            chosen.append(int(i))
    return chosen
