"""A teacher as a Lightning module: weighted heads, two learning rates, a batch that grows with easy triplets."""

from collections.abc import Callable
from functools import partial

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader

from vpr_ros.training.common.loading import SampleLoader
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.masks import masks_by_position
from vpr_ros.training.data.sampling.pairs import PairBatchSampler
from vpr_ros.training.losses.distance_contrast import distance_contrast
from vpr_ros.training.losses.margin import pairwise_margin
from vpr_ros.training.losses.triplet import Triplets, weighted_heads
from vpr_ros.training.teacher.config import TeacherConfig, TeacherDataConfig
from vpr_ros.training.teacher.tuples import TeacherTuples, TupleBatches
from vpr_ros.training.teachers import Teacher, collate

IMAGE_PARTS = ("image.", "v_feature", "network.v_feature")  # prefixes of parameters with the image's learning rate


class TeacherTraining(L.LightningModule):
    """Trains `teacher` on pairs of `samples`; `history` holds a row per finished epoch and is part of the checkpoint.

    The batch size is part of the run's state: it grows at the end of an epoch and applies to the batches of the next
    one, also after a resume.
    """

    def __init__(self, teacher: Teacher, samples: SampleSet, config: TeacherConfig, validate: Callable[[], dict]):
        super().__init__()
        self.teacher, self.config, self.validate = teacher, config, validate
        self.batch_size, self.history = config.data.batch_size, []
        self.nearness = samples.nearness
        inputs = teacher.inputs
        self.tuples = TeacherTuples(
            samples,
            inputs.modalities,
            config.augmentation.clouds,
            config.augmentation.images,
            cache=config.data.cache,
            image_size=inputs.image_size if config.augmentation.shrink_first else None,
        )
        self.pairs = PairBatchSampler(
            samples,
            config.data.batch_size,
            positive_m=config.data.positive_m,
            seed=config.optimisation.seed,
            areas_per_batch=config.data.areas_per_batch,
        )
        self.epoch_triplets: dict[str, list[Triplets]] = {}

    def train_dataloader(self) -> DataLoader:
        """The batches of the next epoch, of the current batch size."""
        self.pairs.batch_size = self.batch_size
        self.pairs.set_epoch(self.current_epoch)
        collate_fn = TupleBatches(partial(_collate, inputs=self.teacher.inputs), self.config.augmentation.clouds)
        return SampleLoader(
            self.tuples,
            collate_fn=collate_fn,
            batch_sampler=self.pairs,
            num_workers=self.config.hardware.workers,
        )

    def on_train_epoch_start(self) -> None:
        self.epoch_triplets, self.epoch_losses = {}, []

    def training_step(self, batch: dict, _index: int) -> torch.Tensor:
        rows, data, task = batch["rows"].cpu().numpy(), self.config.data, self.config.task
        masks = masks_by_position(
            self.nearness.among(rows), rows, positive_m=data.positive_m, non_negative_m=data.non_negative_m
        )
        positives, negatives = (mask.to(self.device) for mask in masks)
        heads = self.teacher.heads(**batch["inputs"])
        loss, found = weighted_heads(
            heads, task.head_weights, positives, negatives, margin=task.margin, loss=self.head_loss()
        )
        for name, triplets in found.items():
            self.epoch_triplets.setdefault(name, []).append(triplets)
        self.epoch_losses.append(float(loss.detach()))
        share = found["final"].active / max(1, found["final"].count)
        self.log_dict({"loss": loss, "active": share}, on_step=True, on_epoch=False, batch_size=len(rows))
        return loss

    def head_loss(self) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor] | None:
        """The loss of a head in the current epoch; None for the triplet loss."""
        task = self.config.task
        if task.loss == "contrastive" or self.current_epoch < task.warmup_epochs:
            return distance_contrast
        if task.loss == "pairwise":
            return partial(pairwise_margin, boundary=task.boundary, margin=task.pair_margin)
        return None

    def active_shares(self) -> dict[str, float]:
        """Share of active triplets in the epoch so far, by head."""
        counts = {name: sum(t.count for t in found) for name, found in self.epoch_triplets.items()}
        active = {name: sum(t.active for t in found) for name, found in self.epoch_triplets.items()}
        return {name: active[name] / max(1, counts[name]) for name in counts}

    def on_train_epoch_end(self) -> None:
        optimisation, task, shares = self.config.optimisation, self.config.task, self.active_shares()
        epoch = self.current_epoch + 1
        row = {"epoch": epoch, "loss": float(np.mean(self.epoch_losses)), "batch_size": self.batch_size}
        row |= {f"active_{name}": share for name, share in shares.items()}
        if epoch % optimisation.validate_every == 0 or epoch == optimisation.epochs:
            row |= self.validate()
        self.history.append(row)
        if self.current_epoch >= task.warmup_epochs and task.loss == "triplet":
            self.batch_size = next_batch_size(self.batch_size, min(shares.values(), default=1.0), self.config.data)

    def configure_optimizers(self):
        parts = [[], []]
        for name, parameter in self.teacher.named_parameters():
            if parameter.requires_grad:
                parts[name.startswith(IMAGE_PARTS)].append(parameter)
        config = self.config.optimisation
        rates = (config.learning_rate, config.image_learning_rate)
        optimiser = torch.optim.Adam(
            [{"params": part, "lr": rate} for part, rate in zip(parts, rates, strict=True) if part],
            weight_decay=config.weight_decay,
            amsgrad=config.amsgrad,
        )
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(config.milestones), config.decay)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "epoch"}}

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["teacher_training"] = {"batch_size": self.batch_size, "history": self.history}

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        state = checkpoint["teacher_training"]
        self.batch_size, self.history = state["batch_size"], list(state["history"])


def next_batch_size(batch_size: int, active_share: float, config: TeacherDataConfig) -> int:
    """The next epoch's batch size: larger by the growth factor where few triplets of the best head are active.

    The best head is the one with the smallest share of active triplets.
    """
    if active_share >= config.batch_threshold:
        return batch_size
    return min(int(batch_size * config.batch_growth), config.batch_limit)


def _collate(samples, rng, *, inputs):
    return collate(samples, inputs, rng)
