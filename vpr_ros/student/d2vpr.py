"""The student network: image -> unit descriptor."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.aggregator import Aggregator
from vpr_ros.student.backbone import Backbone
from vpr_ros.student.config import SMALL, StudentConfig
from vpr_ros.student.encoder import CrossImageEncoder
from vpr_ros.student.recovery import Recovery


class D2VPR(nn.Module):
    """D2-VPR (distilled and deformable visual place recognition), every size and reading of it."""

    def __init__(self, config: StudentConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config)
        self.recovery = Recovery(config.width, len(config.taps), config.dim)
        self.aggregator = Aggregator(config)
        self.encoder = (
            CrossImageEncoder(config.dim, config.encoder_heads, config.encoder_hidden, config.encoder_layers)
            if config.encoder
            else None
        )

    def forward_regions(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) ImageNet-normalised RGB -> (B, 14, dim) region vectors: global, 4 medium, 9 small.

        Raises VprError when a side is not a multiple of the patch size.
        """
        if self.config.standardise:
            x = F.instance_norm(x)
        tapped, grid = self.backbone(x)
        regions = self.aggregator(self.recovery(tapped), grid)
        return regions if self.encoder is None else self.encoder(regions)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) ImageNet-normalised RGB -> (B, 14*dim) unit descriptors (float32)."""
        regions = self.forward_regions(x).float()
        if self.config.normalise_regions:
            regions = F.normalize(regions, dim=2)
        return F.normalize(regions.flatten(1), dim=1)
