"""The base class of all teachers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpr_ros.errors import VprError
from vpr_ros.evaluation.ranking import Measure, OwnMeasure, distances
from vpr_ros.training.data.sample import METRES, NORMALISED, SampleSet
from vpr_ros.training.teachers.inputs import TeacherInputs

UNITS = {METRES: "clouds in metres", NORMALISED: "PointNetVLAD's normalised clouds"}


class Teacher(nn.Module):
    """A network that embeds samples; `inputs` describes its input, `dim` is D of its embedding.

    `made_as` is set by the registry: the name and the options that make this network again. `cloud_unit` is the
    unit of the clouds that its weights were trained on, a `SampleSet`'s "m" or "normalised"; empty where it is unknown.
    """

    def __init__(self, inputs: TeacherInputs, dim: int) -> None:
        super().__init__()
        self.inputs, self.dim = inputs, dim
        self.made_as: tuple[str, dict[str, Any]] | None = None
        self.cloud_unit = ""

    @property
    def measure(self) -> Measure | OwnMeasure:
        """How embeddings are compared when places are looked up, where nothing else is asked for."""
        return "euclidean"

    @property
    def device(self) -> torch.device:
        """Where the network is; a teacher without parameters computes on the CPU."""
        first = next(self.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Every embedding that a loss may weigh, (B, D_k) by name; `final` is always among them."""
        raise NotImplementedError

    def forward(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> Tensor:
        """images (B, 3, h, w), clouds B x (N_i, 3), voxels (B, 1, X, Y, Z), as `collate` makes them -> (B, D)."""
        return self.heads(images, clouds, voxels)["final"]

    def embed(self, inputs: Mapping[str, Tensor | list[Tensor]]) -> Tensor:
        """What `collate` makes, on any device -> embeddings (B, D) float32 on the network's device."""
        device = self.device
        moved: dict[str, Any] = {
            name: value.to(device) if isinstance(value, Tensor) else [part.to(device) for part in value]
            for name, value in inputs.items()
        }
        return self(**moved).float()

    def similarities(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """How alike samples are by their embeddings (N, D), (M, D) -> (N, M), larger is more alike.

        Only values of one teacher compare with one another: those of networks are negated squared distances.
        """
        return -distances(a, b)[0]


def check_unit(teacher: Teacher, samples: SampleSet) -> None:
    """VprError where the clouds of a set are in another unit than those that the teacher was trained on."""
    if "cloud" in teacher.inputs.modalities and teacher.cloud_unit not in ("", samples.cloud_unit):
        raise VprError(
            f"the teacher knows {UNITS[teacher.cloud_unit]}, and {samples.name} has "
            f"{UNITS[samples.cloud_unit]}: it sees nothing it knows there; train one on such clouds."
        )


def required(value: Any, name: str) -> Any:
    """The input itself; VprError when it was not given."""
    if value is None:
        raise VprError(f"this teacher needs `{name}`, which were not given: make its input with collate().")
    return value
