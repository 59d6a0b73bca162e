"""Seeded augmentation of training images, with a strength that the caller raises during the training.

Photometric and greyscale variation lowers recall in the synthetic world and raises it on real photos; geometric
variation imitates the lane, the pitch and the lens of another vehicle.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.geometry import planar_transform


@dataclass(frozen=True)
class AugmentConfig:
    """Largest variation at strength 1; probabilities are per image."""

    crop: float = 0.16  # largest part of a side cut away
    aspect: float = 0.2
    rotation_deg: float = 3.0
    perspective: float = 0.05  # of a side, per corner
    brightness: float = 0.25
    contrast: float = 0.3
    gamma: float = 0.35
    saturation: float = 0.6
    hue_deg: float = 7.0
    grey: float = 0.25  # probability
    blur: float = 0.2  # probability
    low_resolution: float = 0.45  # probability of a pass through a third of the pixels or fewer
    noise: float = 8.0  # standard deviation, grey levels
    erase: float = 0.2  # probability of one erased rectangle, which imitates a vehicle in front of the camera


def augment(
    image: np.ndarray, size: tuple[int, int], config: AugmentConfig, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) uint8 RGB to (h, w, 3) uint8 RGB of `size` = (h, w); strength 0 is a plain resize."""
    out = _warp(image, size, config, strength, rng)
    if strength <= 0:
        return out
    out = _photometric(out.astype(np.float32), config, strength, rng)
    height, width = size
    if rng.random() < config.low_resolution * strength:
        factor = rng.uniform(1.5, 3.5)
        small = cv2.resize(
            out, (max(8, int(width / factor)), max(8, int(height / factor))), interpolation=cv2.INTER_AREA
        )
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    elif rng.random() < config.blur * strength:
        out = cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.2))
    out = out + rng.standard_normal(out.shape, dtype=np.float32) * (rng.uniform(0, config.noise) * strength)
    if rng.random() < config.erase * strength:
        h, w = int(height * rng.uniform(0.1, 0.35)), int(width * rng.uniform(0.1, 0.35))
        top, left = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
        out[top : top + h, left : left + w] = rng.uniform(0, 255, 3)
    return np.clip(out, 0, 255).astype(np.uint8)


def _warp(image, size, config, strength, rng) -> np.ndarray:
    """Crop, aspect, rotation and perspective as one homography, so that pixels are resampled once."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32)
    if strength > 0:
        keep = 1 - rng.uniform(0, config.crop) * strength
        aspect = np.exp(rng.uniform(-config.aspect, config.aspect) * strength)
        half = np.array([width * min(keep * aspect, 1.0), height * min(keep / aspect, 1.0)]) / 2
        slack = np.array([width, height]) / 2 - half
        centre = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * slack
        angle = np.radians(rng.uniform(-config.rotation_deg, config.rotation_deg) * strength)
        R = planar_transform(0.0, 0.0, angle)[:2, :2]
        unit = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)
        jitter = rng.uniform(-1, 1, (4, 2)) * config.perspective * strength * 2
        corners = ((unit + jitter) * half @ R.T + centre).astype(np.float32)
    h, w = size
    # Shrinking without an area filter aliases façades; blur by the shrink factor first.
    shrink = min(width / w, height / h)
    source = cv2.GaussianBlur(image, (0, 0), 0.45 * shrink) if shrink > 1.2 else image
    target = np.array([[0, 0], [w, 0], [w, h], [0, h]], dtype=np.float32)
    H = cv2.getPerspectiveTransform(corners, target)
    # Pixel centres lie at half-integers of these coordinates.
    shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return cv2.warpPerspective(
        source, np.linalg.inv(shift) @ H @ shift, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
    )


def _photometric(image: np.ndarray, config: AugmentConfig, strength: float, rng) -> np.ndarray:
    """Colour, contrast, brightness and gamma of a float32 image; factors are Python floats, which keep it float32."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    if rng.random() < config.grey * strength:
        image = np.repeat(grey, 3, axis=2)
    else:
        image = grey + (image - grey) * float(1 + rng.uniform(-config.saturation, config.saturation * 0.6) * strength)
        tint = 1 + rng.uniform(-1, 1, 3) * np.radians(config.hue_deg) * strength
        image = image * tint.astype(np.float32)
    mean = float(grey.mean())
    contrast = float(np.exp(rng.uniform(-config.contrast, config.contrast) * strength))
    brightness = float(np.exp(rng.uniform(-config.brightness, config.brightness) * strength))
    image = (image * contrast + mean * (1 - contrast)) * (brightness / 255.0)
    gamma = float(np.exp(rng.uniform(-config.gamma, config.gamma) * strength))
    return 255.0 * np.clip(image, 0, 1) ** gamma
