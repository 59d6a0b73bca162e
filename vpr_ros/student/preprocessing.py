"""From camera images to the network's size: one definition for the runtime, training and evaluation (no PyTorch)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.student.config import StudentConfig

MIN_SIDE = 16  # pixels; no camera gives less, and what is less is the same smear everywhere


def preprocessing_of(config: StudentConfig) -> dict[str, Any]:
    """What happens to an image before the network, as stored in checkpoints and maps."""
    return {
        "height": config.image_size[0],
        "width": config.image_size[1],
        "channels": "RGB",
        "keep_ratio": False,
        "shrink": "area",
        "enlarge": "bilinear",
        "mean": list(config.input_mean),
        "std": list(config.input_std),
    }


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 RGB -> (H, W, 3) uint8 at `size` = (H, W), ratio not kept; the same array when it already fits.

    FrameError unless the image is an (h, w, 3) array of uint8 with sides of `MIN_SIDE` pixels or more.
    """
    is_array = isinstance(image, np.ndarray)  # pyright: ignore[reportUnnecessaryIsInstance]  # callers may be untyped
    if not is_array or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        shape, kind = getattr(image, "shape", None), getattr(image, "dtype", type(image).__name__)
        raise FrameError(f"an image must be an (h, w, 3) array of uint8 RGB, not {kind} of shape {shape}.")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise FrameError(
            f"an image of {width}x{height} pixels shows no place: both sides need {MIN_SIDE} pixels or more; check the "
            "camera driver."
        )
    if (height, width) == tuple(size):
        return image
    shrinks = height * width > size[0] * size[1]
    return cv2.resize(image, (size[1], size[0]), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
