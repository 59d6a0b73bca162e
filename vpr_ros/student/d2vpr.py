"""The student network: image -> unit descriptor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.aggregator import GEM_EPS, Aggregator, FixedRegions
from vpr_ros.student.config import SMALL, Pooling, Standardise, StudentConfig
from vpr_ros.student.encoder import CrossImageEncoder
from vpr_ros.student.precision import at_least_float32, without_autocast
from vpr_ros.student.recovery import Recovery, ResidualRecovery
from vpr_ros.student.trunks.features import Trunk, joined_channels

if TYPE_CHECKING:
    from vpr_ros.student.backbone import Backbone

LOCAL_VARIANCE_FLOOR = 0.02


def standardise(x: Tensor, how: Standardise) -> Tensor:
    """(B, 3, H, W) -> the same without the light's level and contrast, of each `image` or of each `local` window.

    Local: the window's mean is taken from each channel, and one deviation, over window and channels, divides all three,
    so that colour stays. The floor keeps the noise of a plain sky or wall small.
    """
    if how == "none":
        return x
    if how == "image":
        return F.instance_norm(x)
    # products in half precision would round the differences away
    with without_autocast(x.device.type):
        x = x - _window_mean(x)
        variance = _window_mean((x * x).mean(dim=1, keepdim=True))
        return x / (variance + LOCAL_VARIANCE_FLOOR).sqrt()


def _window_mean(x: Tensor) -> Tensor:
    """Mean over a window of a quarter of each side, cut at the border; two matrix products, far faster than pooling."""
    down, along = (_window_matrix(side, x.dtype, x.device) for side in x.shape[2:])
    return down @ x @ along.T


def _window_matrix(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side, side): row i averages the positions within side // 8 of i."""
    at = torch.arange(side, device=device)
    near = ((at[:, None] - at[None]).abs() <= side // 8).to(dtype)
    return near / near.sum(dim=1, keepdim=True)


def _transformer(config: StudentConfig) -> Backbone:
    from vpr_ros.student.backbone import Backbone  # it needs timm, and a trunk may not

    return Backbone(config)


class GlobalPool(nn.Module):
    """One vector of a whole map: its generalised mean with a learned exponent that starts at 3, or its plain mean."""

    def __init__(self, pooling: Pooling) -> None:
        super().__init__()
        self.pooling = pooling
        if pooling != "mean":
            self.p = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C) float32."""
        with without_autocast(maps.device.type):
            # powers do not survive half precision
            maps = at_least_float32(maps)
            if self.pooling == "mean":
                return maps.mean(dim=(2, 3))
            positive = self._mean(maps)
            return positive if self.pooling == "gem" else positive - self._mean(-maps)

    def _mean(self, maps: Tensor) -> Tensor:
        return maps.clamp(min=GEM_EPS).pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)


class D2VPR(nn.Module):
    """D2-VPR (distilled and deformable visual place recognition), every size and reading of it, on any backbone."""

    def __init__(self, config: StudentConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        self.backbone = Trunk(config) if config.is_trunk else _transformer(config)
        self.recovery: Recovery | ResidualRecovery
        if config.recovery == "residual":
            self.recovery = ResidualRecovery(config.dim)
        elif config.is_trunk:
            self.recovery = Recovery(joined_channels(config), 1, config.dim)
        else:
            self.recovery = Recovery(config.width, len(config.taps), config.dim)
        self.aggregator = FixedRegions(config) if config.aggregator == "fixed" else Aggregator(config)
        self.encoder = (
            CrossImageEncoder(config.dim, config.encoder_heads, config.encoder_hidden, config.encoder_layers)
            if config.encoder
            else None
        )
        if config.region_weights:
            self.region_weights = nn.Parameter(torch.ones(config.region_count))
        if config.global_stage is not None:
            self.global_pool = GlobalPool(config.global_pooling)

    def forward_regions(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) normalised RGB -> (B, R, dim) region vectors: global, then the levels, coarse to fine.

        Raises VprError when a side is no multiple of what the backbone needs.
        """
        return self._regions(x)[0]

    def _regions(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        x = standardise(x, self.config.standardise)
        last = None
        if isinstance(self.backbone, Trunk):
            tapped, grid, last = self.backbone(x)
        else:
            tapped, grid = self.backbone(x)
        regions = self.aggregator(self.recovery(tapped), grid)
        return (regions if self.encoder is None else self.encoder(regions)), last

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) RGB normalised as the configuration says -> unit descriptors (B, descriptor_dim), float32.

        With a global vector, each part has unit length times the root of its weight (`StudentConfig.raw_parts`,
        `part_weights`), so that the whole has unit length too.
        """
        regions, last = self._regions(x)
        regions = regions.float()
        if self.config.normalise_regions:
            regions = F.normalize(regions, dim=2)
        if self.config.region_weights:
            regions = regions * self.region_weights[:, None]
        local = F.normalize(regions.flatten(1), dim=1)
        if last is None:
            return local
        parts = (local, F.normalize(self.global_pool(last).float(), dim=1))
        weighted = zip(parts, self.config.part_weights, strict=True)
        return torch.cat([part * share**0.5 for part, share in weighted], dim=1)
