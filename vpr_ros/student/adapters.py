"""Multi-scale convolution adapters, one beside the MLP of every transformer block."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.config import AdapterInit
from vpr_ros.student.trunks.timm_library import Block

BN_EPS = 1e-3


class Adapter(nn.Module):
    """Bottleneck with a 1x1, a 3x3 and a 5x5 branch on the patch tokens.

    The three 1x1 convolutions of the branches read the same tokens, so they are one linear layer here (`mix`: 1x1
    branch first, then the reduced inputs of the 3x3 and the 5x5); batch norm acts per channel, so one norm over the
    concatenation is the same function as one per branch. The importer of published weights joins theirs accordingly.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.direct, self.reduced, spread = bottleneck // 2, bottleneck // 16, bottleneck // 4
        self.down = nn.Linear(width, bottleneck)
        self.mix = nn.Linear(bottleneck, self.direct + 2 * self.reduced)
        self.mix_norm = nn.BatchNorm1d(self.direct + 2 * self.reduced, eps=BN_EPS)
        self.spread3 = nn.Conv2d(self.reduced, spread, 3, padding=1)
        self.spread5 = nn.Conv2d(self.reduced, spread, 5, padding=2)
        self.spread_norm = nn.BatchNorm2d(2 * spread, eps=BN_EPS)
        self.up = nn.Linear(bottleneck, width)

    def reset_parameters(self, init: AdapterInit) -> None:
        """Start as the zero function: `up` is zero.

        `constant` also sets every convolution to 1e-5, as the published training does from pretrained blocks;
        `scratch` leaves them random, because equal channels would get equal gradients.
        """
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        if init == "constant":
            for layer in (self.mix, self.spread3, self.spread5):
                nn.init.constant_(layer.weight, 1e-5)
                nn.init.constant_(layer.bias, 1e-5)  # type: ignore[arg-type]
        else:
            nn.init.kaiming_normal_(self.mix.weight)
            nn.init.zeros_(self.mix.bias)
            for conv in (self.spread3, self.spread5):
                nn.init.kaiming_normal_(conv.weight)
                nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, width) normalised tokens, class token first -> (B, 1+h*w, width)."""
        down = F.relu(self.down(tokens))
        batch, (rows, cols) = down.shape[0], grid
        mixed = F.relu(self.mix_norm(self.mix(down[:, 1:]).flatten(0, 1)))
        direct, three, five = torch.split(mixed, [self.direct, self.reduced, self.reduced], dim=1)
        spread = torch.cat(
            [self._spread(self.spread3, three, batch, grid), self._spread(self.spread5, five, batch, grid)], 1
        )
        spread = F.relu(self.spread_norm(spread)).flatten(2).transpose(1, 2)
        patches = torch.cat([direct.view(batch, rows * cols, -1), spread], dim=2)
        # the class token has no neighbours: it is added to itself
        return self.up(down + torch.cat([down[:, :1], patches], dim=1))

    @staticmethod
    def _spread(conv: nn.Conv2d, flat: Tensor, batch: int, grid: tuple[int, int]) -> Tensor:
        return conv(flat.view(batch, *grid, -1).permute(0, 3, 1, 2))


class AdaptedBlock(Block):
    """timm's pre-norm transformer block with an adapter parallel to its MLP, inside the second LayerScale."""

    def __init__(
        self, dim: int, num_heads: int, adapter_width: int = 0, adapter_scale: float = 0.2, **kwargs: Any
    ) -> None:
        super().__init__(dim, num_heads, **kwargs)  # pyright: ignore[reportUnknownMemberType]  # timm's own types
        self.adapter = Adapter(dim, adapter_width) if adapter_width else None
        self.adapter_scale = adapter_scale

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:  # type: ignore[override]
        """(B, 1+h*w, width) -> (B, 1+h*w, width)."""
        x = x + self.ls1(self.attn(self.norm1(x)))
        tokens = self.norm2(x)
        branch = self.mlp(tokens)
        if self.adapter is not None:
            branch = branch + self.adapter_scale * self.adapter(tokens, grid)
        return x + self.ls2(branch)
