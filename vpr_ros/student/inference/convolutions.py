"""Batch norms folded into the convolutions before them."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

Batched = nn.BatchNorm1d | nn.BatchNorm2d
# Convolution and norm, in the order in which blocks of these kinds run them; others stay as they are.
PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "Trunk": (("conv_stem", "bn1"),),
    "Separable": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "DepthwiseSeparableConv": (("conv_dw", "bn1"), ("conv_pw", "bn2")),
    "Inverted": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    "InvertedResidual": (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")),
    "ConvBnAct": (("conv", "bn1"),),
    "ConvStem": (("conv1", "norm1"), ("conv2", "norm2")),
}


def norm_scale(norm: Batched) -> tuple[Tensor, Tensor]:
    """Batch norm with running statistics as (scale, shift), in float64."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = norm.running_mean.double(), norm.running_var.double()
    scale = norm.weight.double() / (variance + norm.eps).sqrt()
    return scale, norm.bias.double() - mean * scale


def fold_norms(network: nn.Module) -> None:
    """Fold, in place, the batch norms of every block whose order is known; what they do besides (activation) stays."""
    for module in network.modules():
        for conv_name, norm_name in PAIRS.get(type(module).__name__, ()):
            conv, norm = getattr(module, conv_name, None), getattr(module, norm_name, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(conv, norm)
                setattr(module, norm_name, _rest_of(norm))


def _fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    scale, shift = norm_scale(norm)
    if conv.bias is not None:
        shift = shift + conv.bias.double() * scale
    dtype = conv.weight.dtype
    conv.weight = nn.Parameter((conv.weight.double() * scale[:, None, None, None]).to(dtype), requires_grad=False)
    conv.bias = nn.Parameter(shift.to(dtype), requires_grad=False)


def _rest_of(norm: Any) -> nn.Module:
    """What a norm does after scaling: nothing, or its activation (ours a switch, timm's a module)."""
    act = getattr(norm, "act", None)
    if isinstance(act, nn.Module):
        return act
    return nn.ReLU6(inplace=True) if act else nn.Identity()
