"""Distillation of a student: the terms of a loss between its embeddings and a teacher's, with a head on the student."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vpr_ros.errors import VprError
from vpr_ros.training.losses import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS
from vpr_ros.training.student.config.learning import DistillationConfig, Head


def make_head(kind: Head, width: int, out: int) -> nn.Module:
    """(B, width) -> (B, out): `linear`, `mlp` with one hidden layer of twice the output's width, or `none`."""
    if kind == "none":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, 2 * out), nn.ReLU(), nn.Linear(2 * out, out))


class Distillation(nn.Module):
    """Student (B, D) and teacher (B, D') embeddings -> the weighted sum of the losses' terms, and the terms.

    VprError for a loss that compares equal widths where they differ and no head makes them equal.
    """

    def __init__(self, config: DistillationConfig, width: int, teacher_width: int):
        super().__init__()
        self.config, names = config, config.losses
        equal = [name for name in names if name in NEEDS_EQUAL_WIDTHS]
        if equal and config.head == "none" and width != teacher_width:
            raise VprError(
                f"distillation: {equal[0]} compares embeddings of equal widths, and the student's has {width}, the "
                f"teacher's {teacher_width}: take a head (linear or mlp) or a loss on relations alone"
            )
        defaults = {term: weight for name in names for term, weight in DISTILLATION_WEIGHTS[name].items()}
        self.weights: Mapping[str, float] = {**defaults, **config.weights}
        headed = equal if config.head_for == "widths" else list(names)
        self.losses = [(DISTILLATION[name], name in headed) for name in names]
        self.head = make_head(config.head if headed else "none", width, config.head_dim or teacher_width)

    def weigh(
        self,
        descriptors: Tensor,
        headed: Tensor,
        teacher: Tensor,
        seen: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Descriptors of the batch before and after the head -> `scale` times the weighted sum, and its terms.

        Samples that `seen` (B,) bool excludes, since they lack the teacher's input, are left out; no terms for a batch
        without any sample. `weights` (B,) above 0 say how much each sample counts; None: all alike.
        """
        if seen is not None:
            descriptors, headed, teacher = descriptors[seen], headed[seen], teacher[seen]
            weights = None if weights is None else weights[seen]
        terms: dict[str, Tensor] = {}
        if len(teacher):
            with torch.autocast(descriptors.device.type, enabled=False):
                for loss, through_head in self.losses:
                    student = headed if through_head else descriptors
                    terms |= loss(student.float(), teacher.float(), weights)
        # Terms of weight 0 are reported and have no gradient.
        total = headed.sum() * 0.0
        for name, value in terms.items():
            if self.weights[name]:
                total = total + self.weights[name] * value
        return self.config.scale * total, terms
