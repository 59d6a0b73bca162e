"""Generalised-mean pooling of dense maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

GEM_START, GEM_EPS = 3.0, 1e-6


class GeM(nn.Module):
    """(B, C, H, W) -> (B, C): the p-th root of the mean of p-th powers over the map; values are clamped to 1e-6.

    One learnable p, starting at 3 (Radenovic et al., "Fine-tuning CNN image retrieval with no human annotation").
    """

    def __init__(self, p: float = GEM_START, eps: float = GEM_EPS) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([p]))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        # cubes of small activations are 0 in half precision
        return x.float().clamp(min=self.eps).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)
