"""What a student learns from a teacher: the terms of a loss between their embeddings, through a head of its own."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from vpr_ros.errors import VprError

from ..losses import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS
from .config import DistilConfig


def make_head(kind: str, width: int, out: int) -> nn.Module:
    """(B, width) -> (B, out): `linear`, `mlp` with one hidden layer as wide as the output twice, or `none`."""
    if kind == "none":
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(width, out)
    return nn.Sequential(nn.Linear(width, 2 * out), nn.ReLU(), nn.Linear(2 * out, out))


class Distilling(nn.Module):
    """Student (B, D) and teacher (B, D') embeddings -> the weighted sum of the loss's terms, and the terms.

    VprError for a loss that compares equal widths where they differ and no head makes them equal, and for weights of
    terms that the loss does not have.
    """

    def __init__(self, config: DistilConfig, width: int, teacher_width: int):
        super().__init__()
        self.config = config
        if config.loss in NEEDS_EQUAL_WIDTHS and config.head == "none" and width != teacher_width:
            raise VprError(
                f"distil: {config.loss} compares embeddings of equal widths, and the student's has {width}, the "
                f"teacher's {teacher_width}: take a head (linear or mlp) or a loss on relations alone"
            )
        defaults = DISTILLATION_WEIGHTS[config.loss]
        unknown = sorted(set(config.weights) - set(defaults))
        if unknown:
            raise VprError(f"distil: {config.loss} has no term {', '.join(unknown)}; it has {', '.join(defaults)}")
        self.weights: Mapping[str, float] = {**defaults, **config.weights}
        self.terms = DISTILLATION[config.loss]
        self.head = make_head(config.head, width, config.head_dim or teacher_width)

    def weigh(self, student: Tensor, teacher: Tensor, positives: Tensor, negatives: Tensor
              ) -> tuple[Tensor, dict[str, Tensor]]:  # fmt: skip
        """Embeddings after the head, of the whole batch -> `scale` times the weighted sum, and the unweighted terms."""
        with torch.autocast(student.device.type, enabled=False):
            terms = self.terms(student.float(), teacher.float(), positives, negatives)
        # Terms of weight 0 are shown, and nothing flows back through them.
        total = student.sum() * 0.0
        for name, value in terms.items():
            if self.weights[name]:
                total = total + self.weights[name] * value
        return self.config.scale * total, terms
