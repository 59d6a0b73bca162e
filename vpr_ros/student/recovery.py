"""Distillation recovery module: shallow and deep tokens joined and brought to the descriptor width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Recovery(nn.Module):
    """Concatenate the tapped residual streams on channels, one linear layer, layer norm (eps 1e-6)."""

    def __init__(self, width: int, taps: int, dim: int) -> None:
        super().__init__()
        self.lift = nn.Linear(taps * width, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        nn.init.trunc_normal_(self.lift.weight, std=0.02)
        nn.init.zeros_(self.lift.bias)

    def forward(self, tapped: Sequence[Tensor]) -> Tensor:
        """k x (B, N, width), or of other widths with the same sum, -> (B, N, dim)."""
        return self.norm(self.lift(torch.cat(list(tapped), dim=2)))


class ResidualRecovery(nn.Module):
    """The tapped channels joined, plus a linear layer that starts at zero: at first the backbone's own channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.lift = nn.Linear(dim, dim)
        nn.init.zeros_(self.lift.weight)
        nn.init.zeros_(self.lift.bias)

    def forward(self, tapped: Sequence[Tensor]) -> Tensor:
        """Tapped maps (B, N, C) whose channels sum to dim -> (B, N, dim)."""
        joined = torch.cat(list(tapped), dim=2)
        return joined + self.lift(joined)
