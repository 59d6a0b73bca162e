"""The training itself: everything behind the trunk and the projections, on kept maps, by the frames of one place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vpr_ros.errors import VprError
from vpr_ros.training.adapt.places import PlaceSize
from vpr_ros.training.adapt.reduced import Reduced
from vpr_ros.training.common.trainer import fit, make_trainer
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.losses import contrastive_loss
from vpr_ros.training.student.config import DataConfig
from vpr_ros.training.student.freezing import freeze_statistics, trained_parameters
from vpr_ros.training.student.schedules import rate_factor
from vpr_ros.training.student.tasks import PlaceMasks

PROJECTION_RATE, HEADS_RATE = 3e-3, 9e-4  # Adam's, at the first step
TEMPERATURE = 0.07
MOST_PER_PLACE = 3
LEAST_FRAMES = 8  # of a batch: fewer are hardly different places


@dataclass(frozen=True)
class LearningConfig:
    """Length and size of a training."""

    steps: int = 200
    places: int = 20  # of a batch
    seed: int = 0


class _Keys(Dataset):
    """A batch is the rows that its sampler names."""

    def __getitem__(self, key: tuple[int, int, float]) -> int:
        return key[0]


class LearningOnMaps(L.LightningModule):
    """Trains what follows the trunk on maps (N, K) of the samples; the trunk itself is not there."""

    def __init__(self, model: Reduced, maps: np.ndarray, samples: SampleSet, size: PlaceSize, config: LearningConfig):
        super().__init__()
        self.model, self.config = model, config
        self._maps = maps
        self.masks = PlaceMasks(samples, DataConfig(positive_m=size.positive_m, negative_m=size.negative_m))

    def on_train_batch_start(self, *_args) -> None:
        # Dropout uses torch's generator, whose state is in no checkpoint.
        torch.manual_seed(int(np.random.default_rng((self.config.seed, self.global_step)).integers(2**62)))

    def training_step(self, rows: Tensor, _index: int) -> Tensor:
        positives, negatives = self.masks(rows)
        descriptors = self.model(torch.from_numpy(self._maps[rows.numpy()]))
        return contrastive_loss(descriptors, positives, negatives, temperature=TEMPERATURE)

    def configure_optimizers(self):
        heads = trained_parameters(self.model.student, "heads")
        freeze_statistics(self.model.student)
        groups = [
            {"params": list(self.model.matrices.parameters()), "lr": PROJECTION_RATE},
            {"params": heads, "lr": HEADS_RATE},
        ]
        optimiser = torch.optim.Adam(groups)
        factor = rate_factor("cosine", self.config.steps, 1)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class StepProgress(Callback):
    """Tells how many steps are done."""

    def __init__(self, tell: Callable[[int], None]):
        self._tell = tell

    def on_train_batch_end(self, trainer, *_args) -> None:
        self._tell(trainer.global_step)


def learn(
    model: Reduced,
    maps: np.ndarray,
    samples: SampleSet,
    size: PlaceSize,
    config: LearningConfig,
    folder: Path,
    tell: Callable[[int], None],
) -> None:
    """Train `model` on the frames of `samples`, whose maps (N, K) are `maps`; `folder` keeps a finished training.

    The same seed gives the same weights (CPU, same number of threads). `tell` gets the number of steps done. VprError
    where too few frames show one place.
    """
    drives = len(np.unique(samples.drives))
    sampler = PlaceBatchSampler(
        *(samples, config.places, min(max(drives, 2), MOST_PER_PLACE), config.steps, 1),
        seed=config.seed,
        positive_m=size.positive_m,
        negative_m=size.negative_m,
    )
    if (found := len(next(iter(sampler)))) < LEAST_FRAMES:
        raise VprError(
            f"only {found} frames of the drives can be learned from at once, and {LEAST_FRAMES} are needed: record a "
            f"longer way, or say how large a place is with --place-radius (here {size.radius_m:g} m)."
        )
    module = LearningOnMaps(model, maps, samples, size, config).train()
    callbacks: list[Callback] = [StepProgress(tell)]
    trainer = make_trainer(
        *(folder, callbacks), max_epochs=1, accelerator="cpu", devices=1, logger=False, log_every_n_steps=1
    )
    try:
        fit(trainer, module, folder, True, DataLoader(_Keys(), batch_sampler=sampler, num_workers=0))
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None  # its sentence is of runs that keep every epoch
