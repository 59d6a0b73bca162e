"""Batches of a student's training: sampled by places, pairs or visits, and split among processes."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from vpr_ros.errors import VprError
from vpr_ros.training.common.distributed import rank, ranks
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.pairs import PairBatchSampler
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.data.sampling.visits import PlaceVisits
from vpr_ros.training.student.config import TrainConfig
from vpr_ros.training.student.frames import FrameKey


class StudentBatches(Sampler):
    """Yields batches of keys for `TrainingFrames`; with several processes, the part of this one of each batch.

    Batches depend on (seed, epoch, step) alone, so a resumed run has those of an uninterrupted one. A batch is cut to a
    multiple of the number of processes; the parts in the order of ranks are the batch.
    """

    def __init__(self, samples: SampleSet, config: TrainConfig):
        self.config, self.count = config, len(samples)
        self.keys = _key_sampler(samples, config)

    @property
    def sampler(self) -> "StudentBatches":
        """For Lightning, which calls `set_epoch` of a batch sampler's `sampler`, not of the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.keys.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[list[FrameKey]]:
        empty = True
        for step, keys in enumerate(self.keys):
            strength = self.strength(step)
            part = len(keys) // ranks()
            if not part:
                continue  # no pair in the sampled cities, or a last batch with fewer samples than processes
            empty = False
            # Keys of the place sampler hold the strength instead of the batch's seed.
            batch_seed = keys[0][2] if isinstance(keys[0][2], int) else keys[0][1]
            own = keys[rank() * part : (rank() + 1) * part]
            yield [(row, seed, strength, int(batch_seed)) for row, seed, _ in own]
        if empty:
            raise VprError(
                f"no batch holds a pair of one place: none of the {self.count} samples lies within "
                f"{self.config.data.positive_m:g} m of another with its heading; add drives or raise positive_m"
            )

    def strength(self, step: int) -> float:
        """Augmentation strength in [0, 1], which rises: full strength from the first step stalls a short training."""
        if isinstance(self.keys, PlaceBatchSampler):
            return self.keys.strength(step)
        done = (self.keys.epoch + step / max(1, len(self))) / self.config.optimisation.epochs
        low, high = self.config.augmentation.ramp
        return float(low + (high - low) * min(1.0, done / max(self.config.augmentation.ramp_until, 1e-9)))


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
