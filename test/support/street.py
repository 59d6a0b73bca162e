"""A street to drive along: a long strip of texture that a drive slides a window along.

Near frames look alike, far ones do not.
"""

import cv2
import numpy as np

from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import BagWriter, compressed_image_msg, navsat_msg, odometry_msg, pose_msg

STEP_M = 3.0
SECOND_NS = 1_000_000_000
START_NS = 1_700_000_000 * SECOND_NS


def strip(seed: int, frames: int) -> np.ndarray:
    """Texture (64, W, 3) uint8 with structure of several sizes."""
    rng = np.random.default_rng(seed)
    width = 64 + 16 * frames
    picture = np.zeros((64, width, 3), np.float32)
    for cell in (4, 8, 16):
        coarse = rng.uniform(0, 255, (64 // cell, width // cell, 3)).astype(np.float32)
        picture += cv2.resize(coarse, (width, 64), interpolation=cv2.INTER_CUBIC) / 3
    return np.clip(picture, 0, 255).astype(np.uint8)


def drive_images(seed: int, frames: int, noise_seed: int = 0) -> list[np.ndarray]:
    """Windows (64, 64, 3) uint8 RGB along the strip, with a little sensor noise."""
    world, rng = strip(seed, frames), np.random.default_rng(noise_seed)
    out = []
    for i in range(frames):
        window = world[:, 16 * i : 16 * i + 64].astype(np.int16) + rng.integers(-6, 7, (64, 64, 3))
        out.append(np.clip(window, 0, 255).astype(np.uint8))
    return out


def write_drive(path, images, storage="mcap", poses=True, truth=True, fix=False, start_ns=START_NS, y_m=0.0):
    """A bag of images at 2 Hz, 3 m apart, with odometry, ground truth and satellite fixes as asked."""
    with BagWriter(path, storage) as bag:
        for i, image in enumerate(images):
            stamp = start_ns + i * SECOND_NS // 2
            bag.write("/camera/image/compressed", compressed_image_msg(image, stamp), stamp)
            T = planar_transform(STEP_M * i, y_m, 0.0)
            if poses:
                bag.write("/odom", odometry_msg(T, stamp), stamp)
            if truth:  # the frame of the truth is not the odometry's
                bag.write("/ground_truth/pose", pose_msg(planar_transform(500.0, 40.0, 1.0) @ T, stamp), stamp)
            if fix:
                bag.write("/fix", navsat_msg(48.0 + y_m * 9e-6, 11.0 + 1.34e-5 * STEP_M * i, 500.0, stamp), stamp)
    return path
