"""Batches of a student's training: drawn by places, pairs or visits, ramped, and split among processes."""

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
    """Yields batches of keys for `TrainingFrames`; where several processes train, this one's part of each.

    What is drawn depends on (seed, epoch, step) alone, so a resumed run draws what an uninterrupted one does. A batch
    is cut to a multiple of the processes, and the parts in the order of ranks are the batch.
    """

    def __init__(self, samples: SampleSet, config: TrainConfig):
        self.config, self.count = config, len(samples)
        self.drawn = _drawn(samples, config)

    @property
    def sampler(self) -> "StudentBatches":
        """Where Lightning looks for `set_epoch`: it asks a batch sampler's sampler, not the batch sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches the next iteration yields."""
        self.drawn.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.drawn)

    def __iter__(self) -> Iterator[list[FrameKey]]:
        empty = True
        for step, keys in enumerate(self.drawn):
            strength = self.strength(step)
            part = len(keys) // ranks()
            if not part:
                continue  # no pair in the cities that were drawn, or a last batch smaller than the processes
            empty = False
            # The place sampler has its strength in place of the batch's seed.
            shared = keys[0][2] if isinstance(keys[0][2], int) else keys[0][1]
            mine = keys[rank() * part : (rank() + 1) * part]
            yield [(row, seed, strength, int(shared)) for row, seed, _ in mine]
        if empty:
            raise VprError(
                f"no batch holds a pair of one place: none of the {self.count} samples lies within "
                f"{self.config.data.positive_m:g} m of another with its heading; add drives or raise positive_m"
            )

    def strength(self, step: int) -> float:
        """Augmentation strength in [0, 1]: full strength from the first step stalls a short training."""
        if isinstance(self.drawn, PlaceBatchSampler):
            return self.drawn.strength(step)
        done = (self.drawn.epoch + step / max(1, len(self))) / self.config.optimisation.epochs
        low, high = self.config.augmentation.ramp
        return float(low + (high - low) * min(1.0, done / max(self.config.augmentation.ramp_until, 1e-9)))


def _drawn(samples: SampleSet, config: TrainConfig) -> PlaceBatchSampler | PairBatchSampler | PlaceVisits:
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
