"""Inference-only form of an adapted block: norms and scales folded into the layers beside them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _norm_scale(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch norm with running statistics as (scale, shift), in float64."""
    mean, variance = norm.running_mean.double(), norm.running_var.double()  # type: ignore[union-attr]
    scale = norm.weight.double() / (variance + norm.eps).sqrt()
    return scale, norm.bias.double() - mean * scale


class FoldedBlock:
    """The same function as an `AdaptedBlock` in eval mode, up to rounding, with fewer passes over the tokens.

    LayerScale goes into the last layer of its branch, batch norms into the convolutions before them, the adapter's
    constant into its last layer. `current` says whether the block's tensors are still the ones folded.
    """

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self._sources = list(block.parameters()) + list(block.buffers())
        self._versions = [tensor._version for tensor in self._sources]
        ones = torch.ones((), dtype=torch.float64, device=self._sources[0].device)
        scale1 = getattr(block.ls1, "gamma", ones).double()[..., None]
        scale2 = getattr(block.ls2, "gamma", ones).double()[..., None]
        self.project = self._keep(
            block.attn.proj.weight.double() * scale1, block.attn.proj.bias.double() * scale1.squeeze(-1)
        )
        shift2 = block.mlp.fc2.bias.double() * scale2.squeeze(-1)
        self.adapted = block.adapter is not None
        if block.adapter is not None:
            adapter, constant = block.adapter, block.adapter_scale * scale2
            self.up = self._keep(adapter.up.weight.double() * constant)
            shift2 = shift2 + adapter.up.bias.double() * constant.squeeze(-1)
            self.down = self._keep(adapter.down.weight, adapter.down.bias)
            scale, shift = _norm_scale(adapter.mix_norm)
            self.mix = self._keep(
                adapter.mix.weight.double() * scale[:, None], adapter.mix.bias.double() * scale + shift
            )
            scale, shift = _norm_scale(adapter.spread_norm)
            three, five = (part[:, None, None, None] for part in scale.chunk(2))
            bias = torch.cat([adapter.spread3.bias.double(), adapter.spread5.bias.double()]) * scale + shift  # type: ignore[union-attr]
            # a 3x3 kernel is a 5x5 kernel with a border of zeros: both branches become one grouped convolution
            weight = torch.cat(
                [F.pad(adapter.spread3.weight.double() * three, (1, 1, 1, 1)), adapter.spread5.weight.double() * five]
            )
            self.spread = self._keep(weight, bias)
            self.direct = adapter.direct
        self.contract = self._keep(block.mlp.fc2.weight.double() * scale2, shift2)

    def _keep(self, *tensors: Tensor) -> Any:
        return tuple(tensor.detach().to(self.dtype).contiguous() for tensor in tensors)

    def current(self, dtype: torch.dtype) -> bool:
        """Whether nothing has been written to the block's tensors since folding."""
        return self.dtype == dtype and self._versions == [tensor._version for tensor in self._sources]

    def __call__(self, block: Any, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, width) -> (B, 1+h*w, width)."""
        batch, count, width = x.shape
        attention = block.attn
        qkv = attention.qkv(block.norm1(x)).reshape(batch, count, 3, attention.num_heads, attention.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        heads = F.scaled_dot_product_attention(query, key, value)
        x = x + F.linear(heads.transpose(1, 2).reshape(batch, count, width), *self.project)
        tokens = block.norm2(x)
        x = x + F.linear(block.mlp.act(block.mlp.fc1(tokens)), *self.contract)
        return x + F.linear(self._adapt(tokens, grid), *self.up) if self.adapted else x

    def _adapt(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        down = F.linear(tokens, *self.down).relu_()
        mixed = F.linear(down[:, 1:], *self.mix).relu_()
        reduced = torch.unflatten(mixed[..., self.direct :], 1, grid).permute(0, 3, 1, 2)
        spread = F.conv2d(reduced, *self.spread, padding=2, groups=2).relu_().flatten(2).transpose(1, 2)
        down[:, :1] *= 2
        down[:, 1:, : self.direct] += mixed[..., : self.direct]
        down[:, 1:, self.direct :] += spread
        return down


def folded(block: Any, kept: FoldedBlock | None, device_type: str) -> FoldedBlock | None:
    """The kept folding when it is still right, else a new one; None where changes could not be noticed."""
    dtype = (
        torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else block.mlp.fc2.weight.dtype
    )
    if kept is not None and kept.current(dtype):
        return kept
    if any(tensor.is_inference() for tensor in block.parameters()) or any(
        tensor.is_inference() for tensor in block.buffers()
    ):
        return None
    with torch.no_grad(), torch.autocast(device_type, enabled=False):
        return FoldedBlock(block, dtype)
