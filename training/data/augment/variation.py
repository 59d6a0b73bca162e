"""Augmentation of a student's pictures: this package's own, that of MinkLoc++ and DistilVPR, and that of D2-VPR."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment

from vpr_ros.student import resize
from vpr_ros.training.data.augment.images import AugmentConfig, augment
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig, augment_image


@dataclass(frozen=True)
class RandAugmentConfig:
    """Cubuk et al., "RandAugment", CVPR 2020 workshops. D2-VPR: magnitude 9 in stage 1, 15 in stage 2 (METHODS 1.9)."""

    operations: int = 3  # applied one after the other, each drawn independently
    magnitude: int = 9  # of 31


Variation = AugmentConfig | ImageAugmentConfig | RandAugmentConfig


def vary(
    image: np.ndarray, size: tuple[int, int], how: Variation, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) uint8 RGB to (h, w, 3) uint8 RGB of `size` = (h, w); `strength` applies to `AugmentConfig` only."""
    if isinstance(how, AugmentConfig):
        return augment(image, size, how, strength, rng)
    shrunk = resize(image, size)
    if isinstance(how, ImageAugmentConfig):
        return augment_image(shrunk, how, rng)
    draw = RandAugment(how.operations, how.magnitude, interpolation=InterpolationMode.BILINEAR)
    # RandAugment draws from torch's global generator, whose state is restored afterwards.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        return np.array(draw(Image.fromarray(shrunk)))
