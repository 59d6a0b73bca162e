"""The task of a student: which pairs of a batch show one place, and the loss on them."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.masks import masks_by_place, masks_by_pose, masks_by_position
from vpr_ros.training.losses import LOSSES
from vpr_ros.training.losses.triplet import batch_hard_triplet
from vpr_ros.training.student.config import DataConfig, TaskConfig

POSITIVE_SLACK, POSITIVE_RAD = 1.5, 0.5  # two frames of one sampled place may lie on both sides of its anchor


class PlaceMasks(nn.Module):
    """Rows (B,) -> masks (B, B) of positive and negative pairs, by the rule of the configuration's `batches`.

    `places`: position and heading, `pairs`: position alone as in PointNetVLAD's benchmark, `visits`: the number of the
    place. Poses are data, not weights: the checkpoint does not hold them.
    """

    places: Tensor

    def __init__(self, samples: SampleSet, config: DataConfig):
        super().__init__()
        self.config, self.nearness = config, samples.nearness
        if config.batches == "visits":
            self.register_buffer("places", torch.from_numpy(np.asarray(samples.places)), persistent=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        if config.batches == "visits":
            return masks_by_place(self.places[rows], rows)
        drawn = rows.cpu().numpy()
        gaps = self.nearness.among(drawn)
        if config.batches == "pairs":
            masks = masks_by_position(gaps, drawn, positive_m=config.positive_m, non_negative_m=config.negative_m)
        else:
            masks = masks_by_pose(
                gaps,
                positive_m=config.positive_m * POSITIVE_SLACK,
                positive_rad=POSITIVE_RAD,
                negative_m=config.negative_m,
            )
        positives, negatives = (mask.to(rows.device) for mask in masks)
        return positives, negatives


def task_loss(config: TaskConfig, unit: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor] | None:
    """The loss of descriptors (B, D) and masks; None for no task. `unit`: the student's descriptors have length 1.

    Triplets use descriptors as they are, the other losses use their directions.
    """
    if config.loss == "none":
        return None
    if config.loss == "triplet":
        return lambda x, positives, negatives: batch_hard_triplet(x, positives, negatives, margin=config.margin).loss
    loss = LOSSES[config.loss]
    return loss if unit else lambda x, *masks: loss(F.normalize(x.float(), dim=1), *masks)
