"""CricaVPR: DINOv2 ViT-B/14 with adapters, fixed regions, and an encoder across the images of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.student.backbone import Backbone
from vpr_ros.student.config import REGIONS, AdapterInit, StudentConfig
from vpr_ros.student.encoder import CrossImageEncoder
from vpr_ros.student.published import from_dinov2
from vpr_ros.tensor_files import fill, read_tensors, without_shared_prefix
from vpr_ros.training.teachers.inputs import TeacherInputs
from vpr_ros.training.teachers.pooling import GEM_EPS, GEM_START
from vpr_ros.training.teachers.teacher import Teacher, required

Cuts = Literal["fixed", "scaled"]
SIDE = 16  # of the token map for which the regions are defined
STARTS = ((0, 8), (0, 5, 11))  # first tokens of the quadrants and of the nine cells


@lru_cache(maxsize=32)
def region_means(grid: tuple[int, int], cuts: Cuts, device: torch.device) -> Tensor:
    """(13, h*w): row r averages the tokens of region r; 4 quadrants, then 9 cells, each row by row.

    `fixed`: bands begin at tokens 0, 8 and 0, 5, 11 for any size of the map, and the last band has the remaining
    tokens (METHODS 2.2). `scaled`: at the same fractions of the map, rounded. VprError when a band of tokens is empty.
    """
    # the tensor is cached, and one made in inference mode could not be used by a later training step
    with torch.inference_mode(False):
        rows = []
        for starts in STARTS:
            bands = []
            for side in grid:
                begin = [s if cuts == "fixed" else round(s * side / SIDE) for s in starts]
                edges = list(zip(begin, [*begin[1:], side], strict=True))
                if any(high <= low for low, high in edges):
                    raise VprError(
                        f"a token map of {grid[0]}x{grid[1]} is too small for CricaVPR's {cuts} regions: use larger "
                        "images, or cuts='scaled' for a map of at least 3x3."
                    )
                bands.append(edges)
            for top, bottom in bands[0]:
                for left, right in bands[1]:
                    inside = torch.zeros(grid)
                    inside[top:bottom, left:right] = 1
                    rows.append(inside.flatten() / inside.sum())
        return torch.stack(rows).to(device)


class RegionPooling(nn.Module):
    """GeM of unit tokens over 13 fixed regions, with one shared power."""

    def __init__(self, cuts: Cuts = "fixed") -> None:
        super().__init__()
        if cuts not in get_args(Cuts):
            raise VprError(f"CricaVPR's cuts are '{cuts}': choose one of {', '.join(get_args(Cuts))}.")
        self.cuts = cuts
        self.p = nn.Parameter(torch.tensor([GEM_START]))

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, h*w, D) -> (B, 13, D)."""
        powers = F.normalize(patches.float(), dim=2).clamp(min=GEM_EPS).pow(self.p)
        return (region_means(grid, self.cuts, patches.device) @ powers).pow(1 / self.p)


class CricaVPR(Teacher):
    """METHODS section 2: image -> unit descriptor of 14 regions.

    With the encoder, as published, a descriptor also depends on the other images of its batch.
    """

    def __init__(self, config: StudentConfig, cuts: Cuts = "fixed") -> None:
        super().__init__(TeacherInputs(image_size=config.image_size), REGIONS * config.width)
        self.backbone = Backbone(config)
        self.norm = nn.LayerNorm(config.width, eps=1e-6)
        self.aggregator = RegionPooling(cuts)
        self.encoder = (
            CrossImageEncoder(config.width, config.encoder_heads, config.encoder_hidden, config.encoder_layers)
            if config.encoder
            else None
        )

    def load_dinov2(self, path: str | Path) -> None:
        """Start from a DINOv2 file of the same width (its own or timm's names); VprError when it does not fit."""
        state = without_shared_prefix(read_tensors(path)[0])
        weights, _ = from_dinov2(state)
        weights |= {key: state[key] for key in ("norm.weight", "norm.bias") if key in state}
        started = nn.ModuleDict({"backbone": self.backbone, "norm": self.norm})
        # adapters are not in such a file, and the unused mask token is not in timm's
        own = {key: v for key, v in started.state_dict().items() if ".adapter." in key or key == "backbone.mask_token"}
        fill(started, {**own, **weights}, path, "CricaVPR backbone")

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`final` (B, 14 * width), of unit length. VprError when a side is not a multiple of the patch size."""
        tapped, grid = self.backbone(required(images, "images"))
        tokens = self.norm(tapped[-1])
        regions = torch.cat([tokens[:, :1], self.aggregator(tokens[:, 1:], grid).to(tokens.dtype)], dim=1)
        if self.encoder is not None:
            regions = self.encoder(regions)
        return {"final": F.normalize(regions.float().flatten(1), dim=1)}


def make_cricavpr(
    *,
    encoder: bool = True,
    image_size: tuple[int, int] = (224, 224),
    cuts: Cuts = "fixed",
    width: int = 768,
    depth: int = 12,
    patch_size: int = 14,
    position_grid: tuple[int, int] = (37, 37),
    encoder_heads: int = 16,
    encoder_hidden: int = 2048,
    adapter_init: AdapterInit = "constant",
    dinov2: str | Path | None = None,
) -> CricaVPR:
    """`dinov2`: file of the backbone's initial weights (published: ViT-B/14); without it they are random.

    Heads are 64 channels wide, adapters half the width, as published. `adapter_init` "constant" is for a pretrained
    backbone, "scratch" for training from random weights.
    """
    config = StudentConfig(
        name="cricavpr",
        image_size=(image_size[0], image_size[1]),
        patch_size=patch_size,
        width=width,
        depth=depth,
        heads=max(1, width // 64),
        position_grid=(position_grid[0], position_grid[1]),
        adapter_width=width // 2,
        adapter_init=adapter_init,
        taps=(depth,),
        dim=width,
        reading="released",
        encoder=encoder,
        encoder_heads=encoder_heads,
        encoder_hidden=encoder_hidden,
    )
    model = CricaVPR(config, cuts)
    if dinov2 is not None:
        model.load_dinov2(dinov2)
    return model
