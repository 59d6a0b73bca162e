"""Rows of descriptors in a file that is mapped into memory, not read: its pages come as they are used, and go again."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.place_map.index.cached_file import seal, sealed


def mapped_rows(path: Path, key: str, shape: tuple[int, int], fill: Callable[[np.ndarray], object]) -> np.ndarray:
    """Rows `shape` float16 of the content `key`, which `fill` writes into an empty array where the file lacks them.

    Where the folder cannot be written, or the disk is full, the rows are in memory instead. Errors are those of `fill`.
    """
    if sealed(path, key) is None:
        unreadable: BaseException | None = None
        try:
            with whole_file(path, durable=False) as draft:
                rows = np.memmap(draft, dtype=np.float16, mode="w+", shape=shape)
                try:
                    fill(rows)
                except BaseException as error:
                    unreadable = error
                    raise
                rows.flush()
                seal(draft, key)
        except (OSError, VprError):
            if unreadable is not None:
                raise
            held = np.empty(shape, dtype=np.float16)
            fill(held)
            return held
    return np.memmap(path, dtype=np.float16, mode="r", shape=shape)


def set_aside(rows: np.ndarray, folder: Path | None) -> np.ndarray:
    """The same rows (N, dim) float16 in a nameless file of a folder; as they are where there is none to write to."""
    if folder is None or not rows.size:
        return rows
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            rows.tofile(stream)
            stream.flush()
            return np.memmap(stream, dtype=np.float16, mode="r", shape=rows.shape)
    except OSError:
        return rows
