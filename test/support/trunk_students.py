"""A small student on a trunk of random weights, whose heads are not at their start."""

import numpy as np
import torch

from vpr_ros.student import D2VPR, DescriptorExtractor
from vpr_ros.student.parts import PartedProjection, fit_parts
from vpr_ros.student.trunks.weights import trunk_config

OPTIONS = {
    "backbone": "mobilenetv3_small_050",
    "image_size": (64, 64),
    "stages": (1,),
    "global_stage": 4,
    "regions": (2, 3),
    "offset_hidden": 8,
    "fusion_hidden": 8,
}
CONFIG = trunk_config(OPTIONS["backbone"], **{key: value for key, value in OPTIONS.items() if key != "backbone"})


def trunk_student() -> D2VPR:
    """Its offsets, residual, fusion, embedding and region weights have moved."""
    torch.manual_seed(0)
    model = D2VPR(CONFIG).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter += 0.1 * torch.randn_like(parameter)
    return model


def noise_pictures(count: int = 40) -> list[np.ndarray]:
    """(48, 80, 3) uint8."""
    return list(np.random.default_rng(0).integers(0, 255, (count, 48, 80, 3), dtype=np.uint8))


def projection_of(student: D2VPR, images: list[np.ndarray], dims: tuple[int, int] = (5, 4)) -> PartedProjection:
    """Fitted on these pictures."""
    return fit_parts(DescriptorExtractor(student, device="cpu").describe_raw(images), student.config, dims)
