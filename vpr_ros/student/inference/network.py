"""From camera pixels at the network's size to the descriptor that a map stores, as one graph."""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn

from vpr_ros.student.d2vpr import D2VPR
from vpr_ros.student.inference.colours import normalise
from vpr_ros.student.inference.convolutions import fold_norms
from vpr_ros.student.inference.projecting import projection_layer
from vpr_ros.student.parts import AnyProjection
from vpr_ros.student.trunks.features import Trunk


class InferenceNetwork(nn.Module):
    """Normalisation, student and projection with nothing left to decide; made by `inference_form`."""

    mean: Tensor
    std: Tensor

    def __init__(self, student: D2VPR, projection: AnyProjection | None) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(student.config.input_mean))
        self.register_buffer("std", torch.tensor(student.config.input_std))
        self.student = student
        self.projection = projection_layer(projection)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB at the network's size -> (B, dim) float32 unit rows."""
        return self.projection(self.raw(pixels))

    def raw(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 RGB at the network's size -> (B, descriptor_dim) float32, before the projection."""
        return self.student(normalise(pixels, self.mean, self.std))


def inference_form(
    student: D2VPR, projection: AnyProjection | None = None, dtype: torch.dtype = torch.float32
) -> InferenceNetwork:
    """A copy of a student for images of its configured size, with its projection; the student stays as it is.

    The same descriptors up to rounding (cosine 0.99999 and more in float32). It can be captured whole by
    `torch.export`, `torch.compile` and CUDA graphs: nothing in it is looked up by a tensor's address or made on the
    way. `dtype` is that of the transformer blocks' products; the rest of the network keeps float32 unless autocast
    changes it.
    """
    form = copy.deepcopy(student).requires_grad_(False).eval()
    backbone, size = form.backbone, form.config.image_size
    with torch.inference_mode(False), torch.no_grad():
        fold_norms(form)
        if not isinstance(backbone, Trunk):
            from vpr_ros.student.adapters import AdaptedBlock
            from vpr_ros.student.inference.blocks import InferenceBlock  # it needs timm, and a trunk may not

            backbone.bake_positions(size)
            blocks = (cast(AdaptedBlock, block) for block in backbone.blocks)
            backbone.blocks = nn.ModuleList(InferenceBlock(block, dtype) for block in blocks)
        form.aggregator.bake(backbone.grid_of(size))
    return InferenceNetwork(form, projection).to(next(student.parameters()).device)
