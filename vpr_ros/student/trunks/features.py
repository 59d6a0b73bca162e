"""Feature maps of a network: the stages that a student taps, and no stage after the last one needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]  # the base of all batch norms

from vpr_ros.errors import VprError
from vpr_ros.student.config import StudentConfig
from vpr_ros.student.trunks.lite import SCALES, EfficientNetLite, stages_of_lite

PROBE = 256  # side of the image that stages are measured with


class Stage(NamedTuple):
    """Channels of a stage's map, and how many pixels a side of one of its positions spans."""

    channels: int
    stride: int


def make_network(name: str, stages: Sequence[int], pretrained: bool = False) -> nn.Module:
    """The network of a name: whole where its blocks can be run one by one, else its maps of `stages`.

    EfficientNet-Lite is our own, every other network timm's. VprError where timm knows no such network with feature
    maps, or its weights cannot be fetched.
    """
    if name in SCALES and not pretrained:
        return EfficientNetLite(name)
    from vpr_ros.student.trunks.timm_library import timm

    if not timm.is_model(name):
        raise VprError(f"backbone '{name}' is no network of timm: vit, or a name such as tf_efficientnet_lite0.")
    create: Any = timm.create_model  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  # no types
    try:
        network = create(name, pretrained=pretrained)
        if not by_blocks(network):
            network = create(name, pretrained=pretrained, features_only=True, out_indices=sorted(set(stages)))
    except (RuntimeError, AssertionError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        if pretrained:
            raise
        raise VprError(f"timm's {name} does not give the feature maps {sorted(set(stages))}: {error}") from error
    return network


def by_blocks(network: nn.Module) -> bool:
    """Whether the network is a stem and blocks in a row, as EfficientNet and MobileNet are."""
    return all(hasattr(network, part) for part in ("conv_stem", "bn1", "blocks"))


@lru_cache(maxsize=32)
def stages_of(name: str) -> tuple[Stage, ...]:
    """Every stage of a network, in order; VprError for a name that it does not have."""
    if name in SCALES:
        return tuple(Stage(*stage) for stage in stages_of_lite(name))
    with torch.device("meta"), torch.no_grad():
        network: Any = make_network(name, (0,)).eval()
        if not by_blocks(network):
            info = network.feature_info.info
            return tuple(Stage(int(one["num_chs"]), int(one["reduction"])) for one in info)
        found: list[Stage] = []
        maps = network.bn1(network.conv_stem(torch.empty(1, 3, PROBE, PROBE)))
        for block in network.blocks:
            maps = block(maps)
            found.append(Stage(maps.shape[1], PROBE // maps.shape[2]))
        return tuple(found)


class Trunk(nn.Module):
    """The tapped stages of a timm network; batch norms always use the statistics that they were learned with.

    A class token is stood in for by the mean of the tokens. Entries of the state dict have timm's names.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.name, self.stages, self.global_stage = config.backbone, config.stages, config.global_stage
        needed = [*self.stages, *([] if self.global_stage is None else [self.global_stage])]
        self.stride = _check(config, needed)
        self.check_size(config.image_size)
        network: Any = make_network(self.name, needed)
        self.order = sorted(set(needed))
        if by_blocks(network):
            self.conv_stem, self.bn1 = network.conv_stem, network.bn1
            self.blocks = nn.ModuleList(list(network.blocks)[: self.order[-1] + 1])
        else:
            self.features = network
        self.train(self.training)

    def train(self, mode: bool = True) -> Trunk:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.training = False
        return self

    def check_size(self, size: tuple[int, int]) -> None:
        """VprError unless both sides (height, width) are multiples of what one position of the last map spans."""
        if min(size) < self.stride or size[0] % self.stride or size[1] % self.stride:
            raise VprError(
                f"image size {size[0]}x{size[1]} does not work with {self.name}: both sides must be multiples of "
                f"{self.stride}."
            )

    def grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the first tapped map, for images of a size (height, width)."""
        stride = stages_of(self.name)[self.stages[0]].stride
        return -(-size[0] // stride), -(-size[1] // stride)

    def maps(self, x: Tensor) -> dict[int, Tensor]:
        """(B, 3, H, W) -> the map (B, C, h, w) of every stage that is needed."""
        # convolutions of few channels are faster with channels last, and tokens need no copy
        x = x.contiguous(memory_format=torch.channels_last)
        if not hasattr(self, "blocks"):
            return dict(zip(self.order, self.features(x), strict=True))
        found: dict[int, Tensor] = {}
        x = self.bn1(self.conv_stem(x))
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.order:
                found[number] = x
        return found

    def forward(self, x: Tensor) -> tuple[list[Tensor], tuple[int, int], Tensor | None]:
        """(B, 3, H, W) -> tokens (B, 1+h*w, C) of each tapped stage, their grid (h, w), and the global stage's map.

        The first token is the mean of the others; stages of another grid are resampled bilinearly onto that of the
        first. Raises VprError for sides that `check_size` refuses.
        """
        self.check_size((x.shape[2], x.shape[3]))
        maps = self.maps(x)
        rows, cols = maps[self.stages[0]].shape[2:]
        tapped: list[Tensor] = []
        for stage in self.stages:
            one = maps[stage]
            if one.shape[2:] != (rows, cols):
                one = F.interpolate(one, (rows, cols), mode="bilinear", align_corners=False)
            tokens = one.flatten(2).transpose(1, 2)
            tapped.append(torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1))
        return tapped, (rows, cols), None if self.global_stage is None else maps[self.global_stage]


def joined_channels(config: StudentConfig) -> int:
    """Channels of all tapped stages of a trunk together."""
    stages = stages_of(config.backbone)
    return sum(stages[stage].channels for stage in config.stages)


def _check(config: StudentConfig, needed: list[int]) -> int:
    """The stride of the deepest stage; VprError where stages and widths do not fit the network."""
    stages = stages_of(config.backbone)
    if max(needed) >= len(stages):
        raise VprError(f"{config.backbone} has the stages 0 to {len(stages) - 1}, and no stage {max(needed)}.")
    joined = joined_channels(config)
    if config.recovery == "residual" and config.dim != joined:
        raise VprError(
            f"the stages {config.stages} of {config.backbone} have {joined} channels, which recovery residual passes "
            f"on: dim cannot be {config.dim}."
        )
    if config.global_stage is not None and config.global_dim != stages[config.global_stage].channels:
        raise VprError(
            f"stage {config.global_stage} of {config.backbone} has {stages[config.global_stage].channels} channels: "
            f"global_dim cannot be {config.global_dim}."
        )
    return max(stages[stage].stride for stage in needed)
