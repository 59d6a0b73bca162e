"""The two attentions of AdaFusion, on maps of two or three spatial axes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

OUT = 16  # channels that every attention gives
KEYS = 4  # channels of a query and of a key


class PositionAttention(nn.Module):
    """Self-attention over positions: a convolution of kernel 3 gives queries, keys and values, in this order.

    One head, softmax(q.k / sqrt(4)) over positions, no output projection (METHODS section 5).
    """

    def __init__(self, channels: int, stride: int, axes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.qkv_conv = conv(channels, 2 * KEYS + OUT, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *space) -> (B, 16, *space / stride), sides rounded up."""
        maps = self.qkv_conv(x)
        query, key, value = maps.flatten(2).transpose(1, 2).split([KEYS, KEYS, OUT], dim=2)
        seen = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1 / math.sqrt(KEYS))
        return seen[:, 0].transpose(1, 2).unflatten(2, maps.shape[2:])


class ChannelAttention(nn.Module):
    """Self-attention over channels: softmax of their unscaled inner products, then a 1x1 convolution to 16."""

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        self.bottleneck = conv(channels, OUT, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *space) -> (B, 16, *space)."""
        # sums over thousands of positions exceed the range of half precision
        with torch.autocast(x.device.type, enabled=False):
            flat = x.flatten(2).float()
            seen = torch.softmax(flat @ flat.transpose(1, 2), dim=2) @ flat
        return self.bottleneck(seen.view_as(x))
