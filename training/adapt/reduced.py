"""A student on kept maps with the projections of its parts as parameters, and the way back to a checkpoint's parts."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, AnyProjection
from vpr_ros.student.parts import Part, PartedProjection
from vpr_ros.training.adapt.maps import on_maps

AT_ONCE = 128  # rows that are described together


class Reduced(nn.Module):
    """A student on maps and the fitted projection of each of its parts, as parameters.

    VprError for a student whose maps cannot be kept, and for another projection than one for each part.
    """

    def __init__(self, student: D2VPR, projection: AnyProjection | None) -> None:
        super().__init__()
        moved = on_maps(student)
        fitted = isinstance(projection, PartedProjection)
        if not fitted or any(part.joint is None or part.cells is not None for part in projection.parts):
            raise VprError(
                f"'{student.config.name}' has no projection that can be trained: one for each part is needed, as "
                "`vpr_ros project` fits with --dim and without --cell-dim."
            )
        self.student, self.start = moved, projection
        matrices = [torch.from_numpy(part.joint.matrix) for part in projection.parts if part.joint is not None]
        # entries of a whitened matrix have any scale and Adam's steps a fixed one: scaling makes the steps relative
        self.scales = [float(matrix.square().mean().sqrt()) for matrix in matrices]
        self.matrices = nn.ParameterList(m / scale for m, scale in zip(matrices, self.scales, strict=True))

    def forward(self, rows: Tensor) -> Tensor:
        """Rows (B, K) of maps -> descriptors (B, dim), what `projection.apply` gives, for training."""
        raw = torch.split(self.student(rows[:, :, None, None].float()), list(self.student.config.raw_parts), dim=1)
        reduced: list[Tensor] = []
        for number, (part, weight) in enumerate(zip(self.start.parts, self.start.weights, strict=True)):
            assert part.joint is not None
            unit = nn.functional.normalize(raw[number], dim=1) - torch.from_numpy(part.joint.mean)
            scores = unit @ (self.matrices[number] * self.scales[number])
            reduced.append(nn.functional.normalize(scores, dim=1) * weight**0.5)
        return torch.cat(reduced, dim=1)

    def projection(self) -> PartedProjection:
        """The projection with the matrices as they are now."""
        parts: list[Part] = []
        for part, matrix, scale in zip(self.start.parts, self.matrices, self.scales, strict=True):
            assert part.joint is not None
            parts.append(replace(part, joint=replace(part.joint, matrix=(matrix.detach() * scale).numpy())))
        return PartedProjection(tuple(parts), self.start.weights)

    def on_pixels(self, student: D2VPR) -> D2VPR:
        """A copy of `student`, from which this one was made, with everything behind the trunk as it is now."""
        trained = copy.deepcopy(student)
        trained.load_state_dict(trained.state_dict() | self.student.state_dict())
        return trained.eval()

    def describe(self, rows: np.ndarray) -> np.ndarray:
        """Maps (N, K) -> descriptors (N, dim) float32 as a robot computes them."""
        raw: list[np.ndarray] = []
        self.eval()
        with torch.inference_mode():
            for at in range(0, len(rows), AT_ONCE):
                batch = torch.from_numpy(rows[at : at + AT_ONCE].astype(np.float32))
                raw.append(self.student(batch[:, :, None, None]).numpy())
        return self.projection().apply(np.concatenate(raw))
