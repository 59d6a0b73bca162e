"""Surfaces cut from photographs, for walls and whatever else is built of painted materials."""

from pathlib import Path

import cv2
import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.pictures import read
from vpr_ros.sensors.picture_files import list_pictures

PHOTO_TILES = 64  # of a city
PHOTO_SIZE_M = 8.0  # covered by one repetition of a tile
CUT = (0.3, 0.8)  # side of a tile as a share of the photograph's shorter side


def photographs_in(folder: str | Path) -> list[Path]:
    """Paths of the pictures below a folder, sorted as text, which a seed draws from; VprError where there are none."""
    return sorted(list_pictures(folder))


def photo_tiles(folder: str | Path, size: int, seed: int) -> np.ndarray:
    """Tint multipliers (PHOTO_TILES, size, size, 3) float32 with mean brightness 1: squares of random photographs.

    VprError for a picture that cannot be read.
    """
    paths, rng = photographs_in(folder), np.random.default_rng([seed, 117])
    tiles = np.empty((PHOTO_TILES, size, size, 3), np.float32)
    for tile in tiles:
        path = paths[rng.integers(len(paths))]
        image = read(path)
        if image is None:
            raise VprError(f"{path} is no picture that surfaces can be cut from: remove it from the folder.")
        side = max(1, int(min(image.shape[:2]) * rng.uniform(*CUT)))
        top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
        square = np.ascontiguousarray(image[top : top + side, left : left + side])
        shrinks = side > size
        square = cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        tile[:] = square / max(float(square.mean()), 1.0)
    return tiles
