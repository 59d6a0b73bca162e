"""Adapted transformer blocks for inference: fewer passes over the tokens, the same function up to rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.adapters import AdaptedBlock
from vpr_ros.student.inference.convolutions import norm_scale


class InferenceBlock(nn.Module):
    """An `AdaptedBlock` in eval mode with norms, scales and constants folded into the layers beside them.

    A layer norm's own scale and shift go into the layers that read it, LayerScale into the last layer of its branch,
    batch norms into the convolutions before them, the adapter's constant into its last layer. The MLP's first layer
    and the adapter's, which read the same tokens, are one product, and both branches are added to the tokens by the
    products that end them. Two biases are no longer needed: that of the keys moves all attention logits of a query
    alike, and that of the values passes attention unchanged, so it is part of the projection's.
    """

    qkv: Tensor
    query_bias: Tensor
    project: Tensor
    project_bias: Tensor
    expand: Tensor
    expand_bias: Tensor
    contract: Tensor
    contract_bias: Tensor
    mix: Tensor
    mix_bias: Tensor
    spread: Tensor
    spread_bias: Tensor
    up: Tensor

    def __init__(self, adapted: AdaptedBlock, dtype: torch.dtype) -> None:
        super().__init__()
        block: Any = adapted  # timm's layers have no types
        attention, mlp, adapter = block.attn, block.mlp, block.adapter
        self.heads, self.eps, self.act = int(attention.num_heads), float(block.norm1.eps), mlp.act
        one = torch.ones((), dtype=torch.float64, device=block.norm1.weight.device)
        scale1, scale2 = (_scale(layer, one) for layer in (block.ls1, block.ls2))

        weight, bias = _after_norm(block.norm1, attention.qkv)
        width = weight.shape[1]
        self._keep("qkv", weight.T, dtype)
        self._keep("query_bias", bias[:width], dtype)
        project = attention.proj.weight.double()
        shift = attention.proj.bias.double() + project @ bias[2 * width :]
        self._keep("project", (project * scale1).T, dtype)
        self._keep("project_bias", shift * scale1.squeeze(-1), torch.float32)

        weight, bias = _after_norm(block.norm2, mlp.fc1)
        self.hidden = len(bias)
        shift = mlp.fc2.bias.double() * scale2.squeeze(-1)
        self.adapted = adapter is not None
        if adapter is not None:
            constant = block.adapter_scale * scale2
            self._keep("up", (adapter.up.weight.double() * constant).T, dtype)
            shift = shift + adapter.up.bias.double() * constant.squeeze(-1)
            down, down_bias = _after_norm(block.norm2, adapter.down)
            weight, bias = torch.cat([weight, down]), torch.cat([bias, down_bias])
            scale, offset = norm_scale(adapter.mix_norm)
            self._keep("mix", adapter.mix.weight.double() * scale[:, None], dtype)
            self._keep("mix_bias", adapter.mix.bias.double() * scale + offset, dtype)
            scale, offset = norm_scale(adapter.spread_norm)
            three, five = (part[:, None, None, None] for part in scale.chunk(2))
            # a 3x3 kernel is a 5x5 kernel with a border of zeros: both branches become one grouped convolution
            three = F.pad(adapter.spread3.weight.double() * three, (1, 1, 1, 1))
            self._keep("spread", torch.cat([three, adapter.spread5.weight.double() * five]), dtype)
            biases = torch.cat([adapter.spread3.bias.double(), adapter.spread5.bias.double()])
            self._keep("spread_bias", biases * scale + offset, dtype)
            self.direct = adapter.direct
        self._keep("expand", weight.T, dtype)
        self._keep("expand_bias", bias, dtype)
        self._keep("contract", (mlp.fc2.weight.double() * scale2).T, dtype)
        self._keep("contract_bias", shift, torch.float32)

    def _keep(self, name: str, values: Tensor, dtype: torch.dtype) -> None:
        self.register_buffer(name, values.detach().to(dtype).contiguous())

    def forward(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, width) float32, class token first -> (B, 1+h*w, width) float32."""
        batch, count, width = x.shape
        flat = x.reshape(-1, width)
        qkv = self._normed(flat) @ self.qkv
        qkv = qkv.view(batch, count, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        query = query + self.query_bias.view(1, self.heads, 1, -1)
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(-1, width)
        flat = _added(flat + self.project_bias, mixed, self.project)
        hidden = torch.addmm(self.expand_bias, self._normed(flat), self.expand)
        branch = self.act(hidden[:, : self.hidden])
        flat = _added(flat + self.contract_bias, branch, self.contract)
        if self.adapted:
            down = F.relu(hidden[:, self.hidden :]).view(batch, count, -1)
            flat = _added(flat, self._adapt(down, grid).flatten(0, 1), self.up)
        return flat.view(batch, count, width)

    def _normed(self, flat: Tensor) -> Tensor:
        return F.layer_norm(flat, flat.shape[1:], eps=self.eps).to(self.qkv.dtype)

    def _adapt(self, down: Tensor, grid: tuple[int, int]) -> Tensor:
        """What the adapter's last layer reads, from its first layer's output (B, 1+h*w, bottleneck)."""
        mixed = F.relu(F.linear(down[:, 1:], self.mix, self.mix_bias))
        reduced = torch.unflatten(mixed[..., self.direct :], 1, grid).permute(0, 3, 1, 2)
        spread = F.relu(F.conv2d(reduced, self.spread, self.spread_bias, padding=2, groups=2))
        spread = spread.flatten(2).transpose(1, 2)
        patches = down[:, 1:] + torch.cat([mixed[..., : self.direct], spread], dim=2)
        # the class token has no neighbours: it is added to itself
        return torch.cat([2 * down[:, :1], patches], dim=1)


def _added(flat: Tensor, values: Tensor, weight: Tensor) -> Tensor:
    """flat + values @ weight; one product that adds where the types allow it."""
    return torch.addmm(flat, values, weight) if flat.dtype == values.dtype else flat + values @ weight


def _scale(layer: Any, one: Tensor) -> Tensor:
    """The factors (width, 1) of a LayerScale, float64; 1 where there is none."""
    gamma: Tensor = getattr(layer, "gamma", one)
    return gamma.double()[..., None]


def _after_norm(norm: nn.LayerNorm, layer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Weight and bias, float64, of a linear layer that reads the norm without its own scale and shift."""
    weight = layer.weight.double()
    return weight * norm.weight.double(), layer.bias.double() + weight @ norm.bias.double()
