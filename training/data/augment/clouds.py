"""Seeded augmentation of clouds as MinkLoc++ and DistilVPR train with it (METHODS sections 4.3 and 3.7).

Lengths are in the unit of the clouds: the defaults are for PointNetVLAD's normalised ones. Points that are "removed"
become the origin, so that a cloud keeps its number of points and gets one voxel more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform


@dataclass(frozen=True)
class CloudAugmentConfig:
    """Amounts of variation. The published settings are the defaults (MinkLoc++) and those of `CLOUD_AUGMENTS`."""

    jitter: float = 0.001  # standard deviation per coordinate
    jitter_clip: float = 0.002
    remove: float = 0.1  # largest share of points set to the origin
    translation: float = 0.01  # standard deviation per axis
    block: float = 0.4  # probability that a vertical box of points is set to the origin
    block_area: tuple[float, float] = (0.02, 0.33)  # of the cloud's extent in x and y
    block_aspect: tuple[float, float] = (0.3, 3.3)  # extent in y by extent in x
    rotation_deg: float = 5.0  # largest turn about z
    flip_x: float = 0.25  # probability; x and y are never both flipped
    flip_y: float = 0.25
    # rotation and flip: one draw for the "batch", after all else; or per "cloud", before it
    turn_per: Literal["batch", "cloud"] = "batch"

    def __post_init__(self):
        if self.turn_per not in ("batch", "cloud"):
            raise VprError(f"cloud_augment: turn_per must be batch or cloud, not {self.turn_per!r}")
        if min(self.flip_x, self.flip_y) < 0 or self.flip_x + self.flip_y > 1:
            raise VprError("cloud_augment: flip_x and flip_y are probabilities of one choice, their sum is at most 1")


CLOUD_AUGMENTS = {
    "minkloc++": CloudAugmentConfig(),
    "distilvpr-oxford": CloudAugmentConfig(turn_per="cloud"),
    "distilvpr-boreas": CloudAugmentConfig(translation=0.0, rotation_deg=0.0, flip_x=0.0, flip_y=0.0),
    "none": CloudAugmentConfig(0.0, 0.0, 0.0, 0.0, 0.0, rotation_deg=0.0, flip_x=0.0, flip_y=0.0),
}


def augment_cloud(points: np.ndarray, config: CloudAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Augment the points (N, 3) float32 of one sample: jitter, removed points, translation, removed block, in this
    order.

    A removed point is moved by the translation that comes after it, as published. The input is not changed.
    """
    out = np.array(points, dtype=np.float32)
    if config.turn_per == "cloud":
        out = turn_and_flip([out], config, rng)[0]
    if config.jitter > 0:
        noise = rng.normal(0.0, config.jitter, out.shape)
        out += np.clip(noise, -config.jitter_clip, config.jitter_clip).astype(np.float32)
    if config.remove > 0:
        count = int(len(out) * rng.uniform(0.0, config.remove))
        out[rng.choice(len(out), count, replace=False)] = 0.0
    if config.translation > 0:
        out += (config.translation * rng.standard_normal(3)).astype(np.float32)
    if config.block > 0 and rng.random() < config.block:
        out[in_block(out, config, rng)] = 0.0
    return out


def in_block(points: np.ndarray, config: CloudAugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Which of the points (N, 3) lie in a random vertical box within the cloud's extent; (N,) bool."""
    if not len(points):
        return np.zeros(0, dtype=bool)
    low, high = points[:, :2].min(0).astype(np.float64), points[:, :2].max(0).astype(np.float64)
    area = float(np.prod(high - low)) * rng.uniform(*config.block_area)
    aspect = rng.uniform(*config.block_aspect)
    size = np.sqrt([area / aspect, area * aspect])
    # A long box can be larger than the cloud along one axis; then its corner starts outside.
    corner = low + rng.random(2) * (high - low - size)
    return ((points[:, :2] > corner) & (points[:, :2] < corner + size)).all(axis=1)


def turn_and_flip(
    clouds: Sequence[np.ndarray], config: CloudAugmentConfig, rng: np.random.Generator
) -> list[np.ndarray]:
    """Apply one rotation about z and one flip of x, of y or of none to all clouds [(N_i, 3)]."""
    angle = np.radians(rng.uniform(-config.rotation_deg, config.rotation_deg))
    M = planar_transform(0.0, 0.0, angle)[:3, :3]
    choice = rng.random()
    if choice < config.flip_x:
        M = np.diag([-1.0, 1.0, 1.0]) @ M
    elif choice < config.flip_x + config.flip_y:
        M = np.diag([1.0, -1.0, 1.0]) @ M
    return [(cloud @ M.T).astype(np.float32) for cloud in clouds]


def augment_batch(
    clouds: Sequence[np.ndarray], config: CloudAugmentConfig, rng: np.random.Generator
) -> list[np.ndarray]:
    """Apply the turn and flip that all clouds of a batch share, where `turn_per` is "batch"."""
    return turn_and_flip(clouds, config, rng) if config.turn_per == "batch" else list(clouds)
