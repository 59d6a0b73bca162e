"""A checkpoint's projection as the last layers of the network (`Projection.apply` and `PartedProjection.apply`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.parts import AnyProjection, Part, PartedProjection
from vpr_ros.student.projection import Projection


class ProjectionLayer(nn.Module):
    """(N, K) -> (N, d): one product, the mean folded into its bias; unit rows unless `renormalise` is off."""

    weight: Tensor
    bias: Tensor

    def __init__(self, projection: Projection, renormalise: bool = True) -> None:
        super().__init__()
        matrix, mean = torch.as_tensor(projection.matrix).double(), torch.as_tensor(projection.mean).double()
        self.renormalise = renormalise
        self.register_buffer("weight", matrix.T.float().contiguous())
        self.register_buffer("bias", (-mean @ matrix).float())

    def forward(self, rows: Tensor) -> Tensor:
        scores = F.linear(rows, self.weight, self.bias)
        return F.normalize(scores, dim=1) if self.renormalise else scores


class PartLayer(nn.Module):
    """(N, length) of any length -> (N, dim) unit rows, as `Part.apply`."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.width = 0 if part.cells is None else part.cells.input_dim
        self.cells = None if part.cells is None else ProjectionLayer(part.cells, part.unit_cells)
        self.joint = None if part.joint is None else ProjectionLayer(part.joint)

    def forward(self, rows: Tensor) -> Tensor:
        rows = F.normalize(rows, dim=1)
        if self.cells is not None:
            cells = rows.reshape(-1, self.width)
            lengths = cells.square().sum(dim=1, keepdim=True).sqrt()
            reduced = self.cells(cells / lengths.clamp(min=1e-12)) * lengths
            rows = F.normalize(reduced.reshape(rows.shape[0], -1), dim=1)
        return rows if self.joint is None else self.joint(rows)


class PartedLayer(nn.Module):
    """(N, sum of lengths) -> (N, dim): every part reduced alone, times the root of its weight."""

    def __init__(self, projection: PartedProjection) -> None:
        super().__init__()
        self.lengths = [part.length for part in projection.parts]
        self.factors = [weight**0.5 for weight in projection.weights]
        self.parts = nn.ModuleList(PartLayer(part) for part in projection.parts)

    def forward(self, rows: Tensor) -> Tensor:
        split = torch.split(rows, self.lengths, dim=1)
        return torch.cat([part(one) * f for part, one, f in zip(self.parts, split, self.factors, strict=True)], dim=1)


def projection_layer(projection: AnyProjection | None) -> nn.Module:
    """The layers of a projection; nothing is done where there is none."""
    if projection is None:
        return nn.Identity()
    return ProjectionLayer(projection) if isinstance(projection, Projection) else PartedLayer(projection)
