"""Every distillation loss by name, with its default weights and whether it needs equal widths."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from .distil_baselines import feature_mse, rkd


@dataclass(frozen=True)
class Distillation:
    """One loss between student (B, D) and teacher (B, D'): call it for its unweighted terms by name."""

    function: Callable[[Tensor, Tensor, Tensor, Tensor], dict[str, Tensor]]
    weights: Mapping[str, float]  # default weight of every term
    equal_widths: bool  # D must be D'
    what: str

    def __call__(self, student: Tensor, teacher: Tensor, positives: Tensor, negatives: Tensor) -> dict[str, Tensor]:
        """Terms of a batch; masks (B, B) say which pairs are one place and which are not (few losses look at them)."""
        return self.function(student, teacher, positives, negatives)


DISTILLATION: dict[str, Distillation] = {
    "feature-mse": Distillation(feature_mse, {"feature_mse": 1.0}, True, "mean squared error of unit descriptors"),
    "rkd": Distillation(rkd, {"rkd_distance": 1.0, "rkd_angle": 2.0}, False, "relational: distances and angles"),
}
DISTILLATION_WEIGHTS: dict[str, dict[str, float]] = {name: dict(d.weights) for name, d in DISTILLATION.items()}
NEEDS_EQUAL_WIDTHS: frozenset[str] = frozenset(name for name, d in DISTILLATION.items() if d.equal_widths)
