"""Clouds of a training set as files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.plain_files import load_arrays


class CloudFiles(Sequence[np.ndarray]):
    """Clouds in files, read when they are asked for: those of a long drive are gigabytes."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, row):
        return read_npy_cloud(self._paths[row])


def read_npy_cloud(path: Path) -> np.ndarray:
    """Points (N, 3) float32 of an `.npy` file with at least three columns; never runs a pickle inside it.

    Raises VprError for a file that is missing, torn or holds something else.
    """
    try:
        points = load_arrays(path)
        if not isinstance(points, np.ndarray):
            raise ValueError("an archive of arrays")
        if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
            raise ValueError(f"an array of shape {points.shape} and type {points.dtype}")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VprError(
            f"cannot read the cloud {path} ({reason}): an .npy array (N, 3) is needed; fetch or convert it again"
        ) from None
    return points[:, :3].astype(np.float32)
