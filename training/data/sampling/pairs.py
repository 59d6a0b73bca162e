"""Batches of pairs of neighbours, as PointNetVLAD-style training draws them (METHODS section 3.3)."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from vpr_ros.errors import VprError
from vpr_ros.training.data.sample import SampleSet

Key = tuple[int, int, int]  # row, seed of the sample's augmentation, seed of the batch's
LEAST = 4  # a smaller last batch is dropped


class PairBatchSampler(Sampler):
    """Yields batches of keys for `TeacherTuples`: pairs of an unused element and an unused positive of it.

    An epoch goes through all elements in random order: the next unused one, then one of its unused positives at
    random, or any of its positives where none is unused. Elements without positives are skipped; a batch ends with the
    pair that fills it; a last batch of fewer than 4 elements is dropped. Everything drawn depends on (seed, epoch,
    batch size) alone, so a resumed run draws what an uninterrupted one does.

    `areas_per_batch` above 0 takes the elements of a batch from so many areas, each drawn in proportion to the elements
    that it has left; 0, as published, from all areas. Sets of many small areas need it: negatives of another city soon
    become too easy.
    """

    def __init__(
        self,
        samples: SampleSet,
        batch_size: int,
        *,
        positive_m: float = 10.0,
        seed: int = 0,
        areas_per_batch: int = 0,
    ):
        areas = np.asarray(samples.areas)
        self.positives = samples.nearness.neighbours(positive_m)
        if not any(map(len, self.positives)):
            raise VprError(
                f"no two of the {len(samples)} samples are known to lie within {positive_m:g} m: there is no positive."
            )
        self.group = np.unique(areas, return_inverse=True)[1] if areas_per_batch else np.zeros(len(areas), np.int64)
        self.groups_per_batch = max(1, areas_per_batch)
        self.batch_size, self.seed, self.epoch = batch_size, seed, 0
        self._drawn: tuple[tuple[int, int], list[list[int]]] | None = None

    @property
    def sampler(self) -> "PairBatchSampler":
        """This object: Lightning calls `set_epoch` on the `sampler` of a batch sampler, not on the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.epoch = epoch

    def batches(self) -> list[list[int]]:
        """Rows of every batch of the epoch."""
        key = (self.epoch, self.batch_size)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = key, self._draw()
        return self._drawn[1]

    def _draw(self) -> list[list[int]]:
        rng = np.random.default_rng((self.seed, self.epoch, self.batch_size))
        left = np.array([len(near) > 0 for near in self.positives])  # elements that may still begin a pair
        unused = np.ones(len(left), dtype=bool)
        order = rng.permutation(len(left))
        queues = [order[self.group[order] == g].tolist() for g in range(self.group.max() + 1)]
        batches: list[list[int]] = []
        while left.any():
            rows: list[int] = []
            chosen: list[int] = []
            while len(rows) < self.batch_size and left.any():
                chosen = [g for g in chosen if left[self.group == g].any()]
                remaining = np.bincount(self.group[left], minlength=len(queues)).astype(float)
                remaining[chosen] = 0
                if len(chosen) < self.groups_per_batch and remaining.any():
                    chosen.append(int(rng.choice(len(queues), p=remaining / remaining.sum())))
                    continue
                rows += self._pair(queues[chosen[int(rng.integers(len(chosen)))]], left, unused, rng)
            batches.append(rows)
        return [rows for rows in batches if len(rows) >= min(LEAST, self.batch_size)]

    def _pair(self, queue: list[int], left: np.ndarray, unused: np.ndarray, rng: np.random.Generator) -> list[int]:
        """The next unused element of a queue and its partner; marks both as used."""
        element = queue.pop()
        while not left[element]:
            element = queue.pop()
        near = self.positives[element]
        fresh = near[unused[near]]
        unused[element] = left[element] = False
        partner = int(rng.choice(fresh if len(fresh) else near))
        unused[partner] = left[partner] = False
        return [element, partner]

    def __len__(self) -> int:
        return len(self.batches())

    def __iter__(self) -> Iterator[list[Key]]:
        for step, rows in enumerate(self.batches()):
            rng = np.random.default_rng((self.seed, self.epoch, self.batch_size, step))
            shared, *seeds = rng.integers(2**62, size=len(rows) + 1).tolist()
            yield [(row, seed, shared) for row, seed in zip(rows, seeds, strict=True)]
