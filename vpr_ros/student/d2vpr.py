"""The student network: image -> unit descriptor."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.aggregator import Aggregator, FixedRegions
from vpr_ros.student.backbone import Backbone
from vpr_ros.student.config import SMALL, Standardise, StudentConfig
from vpr_ros.student.encoder import CrossImageEncoder
from vpr_ros.student.recovery import Recovery

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
    with torch.autocast(x.device.type, enabled=False):
        x = x - _window_mean(x)
        variance = _window_mean((x * x).mean(dim=1, keepdim=True))
        return x / (variance + LOCAL_VARIANCE_FLOOR).sqrt()


def _window_mean(x: Tensor) -> Tensor:
    """Mean over a window of a quarter of each side, cut at the border; two matrix products, far faster than pooling."""
    down, along = (_window_matrix(side, x.dtype, x.device) for side in x.shape[2:])
    return down @ x @ along.T


@lru_cache(maxsize=16)
def _window_matrix(side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(side, side): row i averages the positions within side // 8 of i."""
    # a tensor made in inference mode could not be used by a later training step
    with torch.inference_mode(False):
        at = torch.arange(side, device=device)
        near = ((at[:, None] - at[None]).abs() <= side // 8).to(dtype)
        return near / near.sum(dim=1, keepdim=True)


class D2VPR(nn.Module):
    """D2-VPR (distilled and deformable visual place recognition), every size and reading of it."""

    def __init__(self, config: StudentConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.recovery = Recovery(config.width, len(config.taps), config.dim)
        self.aggregator = FixedRegions(config) if config.aggregator == "fixed" else Aggregator(config)
        self.encoder = (
            CrossImageEncoder(config.dim, config.encoder_heads, config.encoder_hidden, config.encoder_layers)
            if config.encoder
            else None
        )

    def forward_regions(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) ImageNet-normalised RGB -> (B, 14, dim) region vectors: global, 4 medium, 9 small.

        Raises VprError when a side is not a multiple of the patch size.
        """
        x = standardise(x, self.config.standardise)
        tapped, grid = self.backbone(x)
        regions = self.aggregator(self.recovery(tapped), grid)
        return regions if self.encoder is None else self.encoder(regions)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) ImageNet-normalised RGB -> (B, 14*dim) unit descriptors (float32)."""
        regions = self.forward_regions(x).float()
        if self.config.normalise_regions:
            regions = F.normalize(regions, dim=2)
        return F.normalize(regions.flatten(1), dim=1)
