"""The student as a Lightning module under one metric-learning loss."""

import copy
import math

import lightning as L
import numpy as np
import torch

from vpr_ros.student import D2VPR

from ..data.training_set import FrameTable
from ..losses import LOSSES, place_pairs
from .config import TrainConfig


class MetricLearning(L.LightningModule):
    """Trains `student` on batches of `TrainingFrames`; the pose of a row decides which pairs are positive."""

    def __init__(self, student: D2VPR, table: FrameTable, config: TrainConfig):
        super().__init__()
        self.student, self.config = student, config
        self.positions_m: torch.Tensor
        self.headings_rad: torch.Tensor
        self.cities: torch.Tensor
        self.loss = LOSSES[config.loss]
        self.average = copy.deepcopy(student).requires_grad_(False).eval() if config.ema_decay else None
        _, cities = np.unique(table.cities, return_inverse=True)
        # Poses are data, not weights: they stay out of the checkpoint.
        self.register_buffer("positions_m", torch.from_numpy(table.positions_m), persistent=False)
        self.register_buffer("headings_rad", torch.from_numpy(table.headings_rad), persistent=False)
        self.register_buffer("cities", torch.from_numpy(cities), persistent=False)

    @property
    def best_student(self) -> D2VPR:
        """The averaged weights where there are some, else the trained ones."""
        return self.student if self.average is None else self.average

    def training_step(self, batch: dict, _index: int) -> torch.Tensor:
        images, rows = self._resize(batch["image"]), batch["row"]
        descriptors = self.student(images)
        positives, negatives = place_pairs(
            self.positions_m[rows],
            self.headings_rad[rows],
            self.cities[rows],
            positive_m=self.config.positive_m * 1.5,
            positive_rad=0.5,
            negative_m=self.config.negative_m,
        )
        loss = self.loss(descriptors, positives, negatives)
        with torch.no_grad():
            similarity = (descriptors @ descriptors.T).fill_diagonal_(-2)
            hit = positives.gather(1, similarity.argmax(1, keepdim=True)).float().mean()
        self.log_dict({"loss": loss, "batch_recall": hit}, prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def _resize(self, images: torch.Tensor) -> torch.Tensor:
        """Smaller images early in the run, where `image_sizes` asks for it: most is learnt from few pixels."""
        sizes = self.config.image_sizes
        if not sizes:
            return images
        done = self.global_step / max(1, self.config.epochs * self.config.steps_per_epoch)
        side = sizes[min(int(done * len(sizes)), len(sizes) - 1)]
        if side == images.shape[-1] == images.shape[-2]:
            return images
        return torch.nn.functional.interpolate(images, (side, side), mode="bilinear", antialias=True)

    def on_train_batch_end(self, *_args) -> None:
        if self.average is None:
            return
        decay = min(self.config.ema_decay, (1 + self.global_step) / (10 + self.global_step))
        with torch.no_grad():
            for mean, value in zip(self.average.state_dict().values(), self.student.state_dict().values(), strict=True):
                if mean.dtype.is_floating_point:
                    mean.lerp_(value, 1 - decay)
                else:
                    mean.copy_(value)

    def configure_optimizers(self):
        decayed = [p for p in self.student.parameters() if p.requires_grad and p.ndim >= 2]
        plain = [p for p in self.student.parameters() if p.requires_grad and p.ndim < 2]
        optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": self.config.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.config.learning_rate,
        )
        total = self.config.epochs * self.config.steps_per_epoch
        warmup = max(1, int(self.config.warmup_fraction * total))

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total - warmup))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
