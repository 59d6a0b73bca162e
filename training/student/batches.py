"""Batches of a student's training: sampled by places, pairs or visits, and split among processes."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from torch.utils.data import Sampler

from vpr_ros.errors import VprError
from vpr_ros.training.common.distributed import rank, ranks
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.nominated import NominatedBatchSampler
from vpr_ros.training.data.sampling.pairs import PairBatchSampler
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.data.sampling.visits import PlaceVisits
from vpr_ros.training.student.config import DataConfig, TrainConfig
from vpr_ros.training.student.frames import FrameKey


class StudentBatches(Sampler):
    """Yields batches of keys for `TrainingFrames`; with several processes, the part of this one of each batch.

    Batches depend on (seed, epoch, step) alone, so a resumed run has those of an uninterrupted one. A batch is cut to a
    multiple of the number of processes; the parts in the order of ranks are the batch. `embeddings` gives the teacher's
    (N, D) when the first batch is drawn, for batches of unlabelled frames.
    """

    def __init__(self, samples: SampleSet, config: TrainConfig, embeddings: Callable[[], np.ndarray] | None = None):
        self.config, self.count = config, len(samples)
        self.nominated: NominatedBatchSampler | None = None  # beside the samples of labels
        labelled, nominated = _shares(config.data)
        if config.data.batches == "unlabelled":
            self.keys = _nominated(samples, nominated, config, embeddings)
        else:
            self.keys = _key_sampler(samples, replace(config, data=labelled))
            if config.data.nominated:
                self.nominated = _nominated(samples, nominated, config, embeddings)

    @property
    def sampler(self) -> "StudentBatches":
        """For Lightning, which calls `set_epoch` of a batch sampler's `sampler`, not of the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.keys.set_epoch(epoch)
        if self.nominated is not None:
            self.nominated.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[list[FrameKey]]:
        empty = True
        for step, keys in enumerate(self.keys):
            empty = empty and not keys
            keys = [*keys, *([] if self.nominated is None else self.nominated.batch(step))]
            strength = self.strength(step)
            part = len(keys) // ranks()
            if not part:
                continue  # no pair in the sampled cities, or a last batch with fewer samples than processes
            # Keys of the place sampler hold the strength instead of the batch's seed.
            batch_seed = keys[0][2] if isinstance(keys[0][2], int) else keys[0][1]
            own = keys[rank() * part : (rank() + 1) * part]
            yield [(row, seed, strength, int(batch_seed)) for row, seed, _ in own]
        if empty:
            raise VprError(
                f"no batch holds a pair of one place: none of the {self.count} samples is known to lie within "
                f"{self.config.data.positive_m:g} m of another with its heading; add drives, raise "
                "positive_m, or let a teacher draw the batches (batches: unlabelled)"
            )

    def strength(self, step: int) -> float:
        """Augmentation strength in [0, 1], which rises: full strength from the first step stalls a short training."""
        if isinstance(self.keys, PlaceBatchSampler):
            return self.keys.strength(step)
        done = (self.keys.epoch + step / max(1, len(self))) / self.config.optimisation.epochs
        low, high = self.config.augmentation.ramp
        return float(low + (high - low) * min(1.0, done / max(self.config.augmentation.ramp_until, 1e-9)))


def _shares(data: DataConfig) -> tuple[DataConfig, DataConfig]:
    """The settings of the part of a batch with labels, and of that which the teacher nominates."""
    if not data.unlabelled_share:
        return data, data
    size = data.batch_size if data.batches == "pairs" else data.places_per_batch * data.images_per_place
    groups = max(1, round(data.unlabelled_share * size / data.images_per_place))
    # two places or two pairs are left: one has nothing that it differs from
    labelled = replace(
        data,
        places_per_batch=max(2, data.places_per_batch - groups),
        batch_size=max(4, data.batch_size - groups * data.images_per_place),
    )
    return labelled, replace(data, places_per_batch=groups)


def _nominated(
    samples: SampleSet, data: DataConfig, config: TrainConfig, embeddings: Callable[[], np.ndarray] | None
) -> NominatedBatchSampler:
    if embeddings is None:
        raise VprError("batches of unlabelled frames are nominated by a teacher, and there is none")
    return NominatedBatchSampler(
        samples,
        embeddings,
        data.places_per_batch,
        data.images_per_place,
        config.optimisation.steps_per_epoch,
        seed=config.optimisation.seed,
        cities_per_batch=data.cities_per_batch,
    )


def _key_sampler(samples: SampleSet, config: TrainConfig) -> PlaceBatchSampler | PairBatchSampler | PlaceVisits:
    data, seed = config.data, config.optimisation.seed
    if data.batches == "pairs":
        return PairBatchSampler(
            samples,
            data.batch_size,
            positive_m=data.positive_m,
            seed=seed,
            areas_per_batch=data.cities_per_batch,
        )
    if data.batches == "visits":
        if samples.places is None:
            raise VprError(f"batches: visits need numbered places, which {samples.name} has not; take places or pairs")
        return PlaceVisits(
            samples.places,
            samples.areas,
            data.places_per_batch,
            data.images_per_place,
            seed=seed,
            redraw=data.redraw,
        )
    if samples.headings_rad is None:
        raise VprError(f"batches: places need headings, which {samples.name} has not; take batches: pairs")
    return PlaceBatchSampler(
        samples,
        data.places_per_batch,
        data.images_per_place,
        config.optimisation.steps_per_epoch,
        config.optimisation.epochs,
        seed=seed,
        cities_per_batch=data.cities_per_batch,
        positive_m=data.positive_m,
        negative_m=data.negative_m,
        ramp=config.augmentation.ramp,
        ramp_until=config.augmentation.ramp_until,
    )
