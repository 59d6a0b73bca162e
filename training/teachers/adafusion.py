"""AdaFusion: image and occupancy grid, with weights of both from attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.training.teachers.attention import OUT, ChannelAttention, PositionAttention
from vpr_ros.training.teachers.inputs import TeacherInputs, Thinning
from vpr_ros.training.teachers.occupancy import OccupancyGrid, grid_of
from vpr_ros.training.teachers.teacher import Teacher, required

STRIDES = (2, 2, 1)  # of the position attentions at the three scales
FUSED = 128


def _features(axes: int, *layout: int | str) -> nn.Sequential:
    """Convolutions of kernel 3 with ReLU, of the widths in `layout`, with its "norm" and "pool" layers between them."""
    conv, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d, nn.AvgPool3d)
    )
    width, layers = int(layout[0]), []
    for step in layout[1:]:
        if step == "pool":
            layers.append(pool(2))
        elif step == "norm":
            layers.append(norm(width))
        else:
            layers += [conv(width, int(step), 3, padding=1), nn.ReLU(inplace=True)]
            width = int(step)
    return nn.Sequential(*layers)


class AdaFusion(Teacher):
    """METHODS section 5; entries are named as published.

    `detach_features` pools detached maps, as released: the six feature stages then get no gradient and keep their
    initial weights. The input of the attentions is detached in any case. The six attention maps of a modality are
    concatenated in the order position 1 to 3, channel 1 to 3.
    """

    def __init__(
        self,
        inputs: TeacherInputs,
        image_planes: Sequence[int] = (64, 128),
        cloud_planes: Sequence[int] = (32, 64, 128),
        detach_features: bool = False,
    ) -> None:
        one, two = image_planes
        first, second, third = cloud_planes
        super().__init__(inputs, two + third)
        self.detach_features = detach_features
        self.v_feature1 = _features(2, 3, one, one, "pool", one, one, "pool")
        self.v_feature2 = _features(2, one, one, one, two, two, "pool")
        self.v_feature3 = _features(2, two, two, two, two, two, "norm", "pool")
        self.l_feature1 = _features(3, 1, first, first, "pool")
        self.l_feature2 = _features(3, first, second, second, second, second, "pool")
        self.l_feature3 = _features(3, second, third, third, "norm", "pool")
        for axes, letter, widths in ((2, "v", (one, two, two)), (3, "l", (first, second, third))):
            for scale, (width, stride) in enumerate(zip(widths, STRIDES, strict=True), start=1):
                self.add_module(f"{letter}_attention_pos{scale}", PositionAttention(width, stride, axes))
                self.add_module(f"{letter}_attention_chn{scale}", ChannelAttention(width, axes))
        self.v_atten_fusion = nn.Sequential(nn.Conv2d(6 * OUT, FUSED, 1), nn.BatchNorm2d(FUSED), nn.ReLU(inplace=True))
        self.l_atten_fusion = nn.Sequential(nn.Conv3d(6 * OUT, FUSED, 1), nn.BatchNorm3d(FUSED), nn.ReLU(inplace=True))
        self.vl_atten_fusion = nn.Sequential(
            nn.Linear(2 * FUSED, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2), nn.Sigmoid()
        )

    def _modality(self, letter: str, x: Tensor) -> tuple[Tensor, Tensor]:
        """Input (B, c, *space) -> pooled map (B, C) and pooled attention (B, 128)."""
        part = self._modules
        positions, channels = [], []
        for scale in (1, 2, 3):
            x = part[f"{letter}_feature{scale}"](x)  # type: ignore[misc]
            seen = x.detach()
            positions.append(part[f"{letter}_attention_pos{scale}"](seen))  # type: ignore[misc]
            channels.append(part[f"{letter}_attention_chn{scale}"](seen))  # type: ignore[misc]
        size = positions[-1].shape[2:]
        joined = torch.cat([F.interpolate(each, size=size, mode="nearest") for each in positions + channels], dim=1)
        attended = part[f"{letter}_atten_fusion"](joined)  # type: ignore[misc]
        pooled = x.detach() if self.detach_features else x
        return pooled.flatten(2).float().mean(dim=2), attended.flatten(2).mean(dim=2)

    def heads(
        self, images: Tensor | None = None, clouds: Sequence[Tensor] | None = None, voxels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`final` (B, D): the image's pooled map times its weight, then the grid's times its weight."""
        image, image_attention = self._modality("v", required(images, "images"))
        grid, grid_attention = self._modality("l", required(voxels, "voxels"))
        weights = self.vl_atten_fusion(torch.cat([image_attention, grid_attention], dim=1))
        return {"final": torch.cat([weights[:, :1] * image, weights[:, 1:] * grid], dim=1)}


def make_adafusion(
    *,
    detach_features: bool = False,
    image_size: tuple[int, int] = (300, 400),
    grid: str | OccupancyGrid | Mapping[str, Any] = "robotcar",
    grid_shape: tuple[int, int, int] | None = None,
    cloud_points: int | None = None,
    thinning: Thinning = "even",
    image_planes: tuple[int, int] = (64, 128),
    cloud_planes: tuple[int, int, int] = (32, 64, 128),
) -> AdaFusion:
    """`grid`: a name of `occupancy.GRIDS` or a grid; `grid_shape` replaces its number of cells in the same box.

    VprError for images and grids that are too small for four halvings of the image and three of the grid.
    """
    cells = grid_of(grid, None if grid_shape is None else tuple(grid_shape))  # type: ignore[arg-type]
    if min(image_size) < 16 or min(cells.shape) < 8:
        raise VprError(
            f"AdaFusion needs images of at least 16x16 and grids of at least 8x8x8, not {image_size} and {cells.shape}."
        )
    inputs = TeacherInputs(
        image_size=(image_size[0], image_size[1]),
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.5, 0.5, 0.5),
        grid=cells,
        cloud_points=cloud_points,
        thinning=thinning,
    )
    return AdaFusion(inputs, image_planes, cloud_planes, detach_features)
