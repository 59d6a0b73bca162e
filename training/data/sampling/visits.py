"""Batches that visit numbered places: several pictures of each, every place once an epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from vpr_ros.errors import VprError
from vpr_ros.training.data.sampling.pairs import Key


class PlaceVisits(Sampler):
    """Yields batches of keys for `TeacherTuples`: `images_per_place` random pictures of each of `places` places.

    Places come in random order within their area, areas one after the other, so most batches hold one city's places:
    hard negatives (METHODS section 1.9). Every place is visited once an epoch. `redraw` draws the order of places anew
    every epoch (second stage of D2-VPR); without it the order stays (its first stage, CricaVPR). Which pictures of a
    place, and the augmentation's seeds, differ in every epoch. Everything drawn depends on (seed, epoch) alone. The
    last batch may be smaller; a single place, which has no negative, is left out.
    """

    def __init__(
        self,
        place_of: np.ndarray,
        areas: np.ndarray,
        places: int,
        images_per_place: int = 4,
        *,
        seed: int = 0,
        redraw: bool = True,
    ):
        self.places, self.images_per_place, self.seed, self.redraw = places, images_per_place, seed, redraw
        self.epoch = 0
        order = np.argsort(place_of, kind="stable")
        starts = np.flatnonzero(np.diff(place_of[order], prepend=place_of[order][:1] - 1)) if len(order) else []
        self._rows = [rows for rows in np.split(order, starts[1:]) if len(rows) >= images_per_place]
        if len(self._rows) < 2:
            raise VprError(f"{len(self._rows)} places have {images_per_place} pictures or more: a batch needs two")
        of_place = np.array([areas[rows[0]] for rows in self._rows])
        first = {area: i for i, area in reversed(list(enumerate(areas)))}
        self._areas = [np.flatnonzero(of_place == area) for area in sorted(set(of_place), key=lambda a: first[a])]

    @property
    def sampler(self) -> "PlaceVisits":
        """This object: Lightning calls `set_epoch` on the `sampler` of a batch sampler, not on the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(len(self._rows), self.places)
        return whole + (rest > 1)

    def __iter__(self) -> Iterator[list[Key]]:
        order_rng = np.random.default_rng((self.seed, 0, self.epoch if self.redraw else 0))
        order = np.concatenate([order_rng.permutation(members) for members in self._areas])
        rng = np.random.default_rng((self.seed, 1, self.epoch))
        for step in range(len(self)):
            chosen = order[step * self.places : (step + 1) * self.places]
            rows = [int(r) for p in chosen for r in rng.choice(self._rows[p], self.images_per_place, replace=False)]
            shared, seeds = int(rng.integers(2**62)), rng.integers(2**62, size=len(rows))
            yield [(row, int(seed), shared) for row, seed in zip(rows, seeds, strict=True)]
