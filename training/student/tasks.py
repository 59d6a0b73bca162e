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

    positions_m: Tensor
    headings_rad: Tensor
    areas: Tensor
    places: Tensor

    def __init__(self, samples: SampleSet, config: DataConfig):
        super().__init__()
        self.config = config
        _, areas = np.unique(samples.areas, return_inverse=True)
        columns = {"positions_m": samples.positions_m, "areas": areas}
        if config.batches == "places":
            columns["headings_rad"] = samples.headings_rad
        if config.batches == "visits":
            columns["places"] = samples.places
        for name, column in columns.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(column)), persistent=False)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        if config.batches == "visits":
            return masks_by_place(self.places[rows], rows)
        if config.batches == "pairs":
            return masks_by_position(
                self.positions_m[rows],
                self.areas[rows],
                rows,
                positive_m=config.positive_m,
                non_negative_m=config.negative_m,
            )
        return masks_by_pose(
            self.positions_m[rows],
            self.headings_rad[rows],
            self.areas[rows],
            positive_m=config.positive_m * POSITIVE_SLACK,
            positive_rad=POSITIVE_RAD,
            negative_m=config.negative_m,
        )


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
