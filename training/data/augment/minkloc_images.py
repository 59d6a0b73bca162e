"""Seeded augmentation of images as MinkLoc++ trains with it: colour jitter and one erased rectangle (METHODS 4.3)."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torchvision.transforms import functional as vision


@dataclass(frozen=True)
class ImageAugmentConfig:
    """Factors are drawn from 1 - x to 1 + x, the hue's shift from -x to x (of a full turn)."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.1
    erase: float = 0.5  # probability
    erase_area: tuple[float, float] = (0.1, 0.4)  # of the image
    erase_aspect: tuple[float, float] = (0.3, 3.3)  # height by width, drawn evenly on a logarithmic scale


def augment_image(image: np.ndarray, config: ImageAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 RGB to the same; the colour steps come in random order, the erased part is black.

    Erasing comes before the normalisation, so the erased part is black and not the mean colour.
    """
    picture = Image.fromarray(image)
    for step in rng.permutation(4):
        if step == 0:
            picture = vision.adjust_brightness(picture, _factor(config.brightness, rng))  # type: ignore[arg-type]
        elif step == 1:
            picture = vision.adjust_contrast(picture, _factor(config.contrast, rng))  # type: ignore[arg-type]
        elif step == 2:
            picture = vision.adjust_saturation(picture, _factor(config.saturation, rng))  # type: ignore[arg-type]
        elif config.hue:
            picture = vision.adjust_hue(picture, float(rng.uniform(-config.hue, config.hue)))  # type: ignore[arg-type]
    out = np.array(picture)
    if rng.random() < config.erase:
        top, left, height, width = erased_rectangle(out.shape[:2], config, rng)
        out[top : top + height, left : left + width] = 0
    return out


def _factor(spread: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(max(0.0, 1 - spread), 1 + spread))


def erased_rectangle(
    size: tuple[int, int], config: ImageAugmentConfig, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Top, left, height and width in pixels of a rectangle within an image of `size`; zeros if none of ten draws fits.

    Drawn as torchvision's RandomErasing draws it.
    """
    rows, columns = size
    low, high = (math.log(ratio) for ratio in config.erase_aspect)
    for _ in range(10):
        area = rows * columns * rng.uniform(*config.erase_area)
        aspect = math.exp(rng.uniform(low, high))
        height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if height < rows and width < columns:
            return int(rng.integers(rows - height + 1)), int(rng.integers(columns - width + 1)), height, width
    return 0, 0, 0, 0
