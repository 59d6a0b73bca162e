"""From pixels to the numbers that a network reads: one definition for the runtime, training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vpr_ros.student.config import IMAGENET_MEAN, IMAGENET_STD

Colours = Sequence[float] | Tensor  # of red, green and blue in [0, 1]


def normalise(images: Tensor, mean: Colours = IMAGENET_MEAN, std: Colours = IMAGENET_STD) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, brought to [0, 1], minus mean, over deviation; same device."""
    shift, scale = (torch.as_tensor(one, dtype=torch.float32, device=images.device) for one in (mean, std))
    return ((images.float() / 255 - shift) / scale).permute(0, 3, 1, 2)
