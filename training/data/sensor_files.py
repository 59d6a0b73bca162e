"""Reading picture files of any data set; VprError, one sentence, for a file that cannot be used."""

from pathlib import Path

import numpy as np

from vpr_ros import pictures
from vpr_ros.errors import VprError


def read_rgb(path: Path) -> np.ndarray:
    """The picture as (H, W, 3) uint8 RGB; raises VprError where the file is missing or torn."""
    pixels = pictures.read(path)
    if pixels is None:
        raise VprError(f"cannot read the image {path}: missing or torn; fetch, convert or render it again")
    return pixels
