"""How similar each query was to each keyframe: a matrix of bounded size, gathered while a drive is localised."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.plain_files import load_arrays

SIMILARITIES = "similarities.npz"  # in the folder of a run
LIMIT = 400  # rows, and columns, of a matrix
CHUNK = 4096  # keyframes whose similarities are held at once


class Compared(Protocol):
    """Keyframes as they are compared, and the query that was compared last: a recogniser's `searched`."""

    last_query: np.ndarray | None  # (dim,)

    def __len__(self) -> int:
        """Number of keyframes."""
        ...

    def similarities(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Inner products (M, Q) of queries (dim, Q) with the keyframes in rows (M,)."""
        ...


@dataclass(frozen=True)
class SimilarityMatrix:
    """`values[r, c]`: the highest similarity of frame `frames[r]` to the `step` keyframes from row `c * step` on.

    values (R, C) float16, frames (R,) int64 counted from 0 over the answered frames; `keyframes` of the map in its
    order (session, stamp).
    """

    values: np.ndarray
    frames: np.ndarray
    keyframes: int
    step: int


class SimilarityGatherer:
    """Keeps an even sample of a drive's queries: every frame up to `limit` of them, then every second, fourth, …

    At most `limit` descriptors are held, however long the drive is.
    """

    def __init__(self, limit: int = LIMIT):
        self.limit, self._stride, self._next = limit, 1, 0
        self._frames: list[int] = []
        self._queries: list[np.ndarray] = []

    def add(self, searched: Compared) -> None:
        """Takes note of the frame that was answered last."""
        if self._next % self._stride == 0 and searched.last_query is not None:
            self._frames.append(self._next)
            self._queries.append(np.array(searched.last_query, np.float32))
            if len(self._frames) > self.limit:
                self._stride *= 2
                self._frames, self._queries = self._frames[::2], self._queries[::2]
        self._next += 1

    def matrix(self, searched: Compared) -> SimilarityMatrix | None:
        """The kept frames against all keyframes; None without a frame or a keyframe."""
        count = len(searched)
        if not self._queries or not count:
            return None
        queries = np.stack(self._queries)
        step = -(-count // self.limit)
        chunk = max(CHUNK // step, 1) * step  # so that no block of keyframes is cut in two
        columns = []
        for start in range(0, count, chunk):
            rows = np.arange(start, min(start + chunk, count))
            similar = searched.similarities(queries.T, rows)
            columns.append(np.maximum.reduceat(similar, np.arange(0, len(rows), step), axis=0))
        values = np.concatenate(columns).T.astype(np.float16)
        return SimilarityMatrix(values, np.array(self._frames, np.int64), count, step)


def write_similarities(path: str | Path, matrix: SimilarityMatrix) -> None:
    """Write an .npz file, whole or not at all."""
    with whole_file(path) as draft, open(draft, "wb") as stream:
        np.savez_compressed(
            stream,
            values=matrix.values,
            frames=matrix.frames,
            keyframes=np.int64(matrix.keyframes),
            step=np.int64(matrix.step),
        )


def read_similarities(path: str | Path) -> SimilarityMatrix | None:
    """The matrix of a run; None where it has none. Raises VprError for a damaged file; nothing in it is executed."""
    try:
        with load_arrays(path) as arrays:
            matrix = SimilarityMatrix(arrays["values"], arrays["frames"], int(arrays["keyframes"]), int(arrays["step"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile, zlib.error, MemoryError) as error:
        raise VprError(f"{path} is no matrix of similarities ({error}); run `vpr_ros localize` again.") from error
    columns = -(-matrix.keyframes // matrix.step) if matrix.step > 0 else -1
    if matrix.values.shape != (len(matrix.frames), columns) or max(matrix.values.shape) > 4 * LIMIT:
        raise VprError(f"{path} is no matrix of similarities (its sizes differ); run `vpr_ros localize` again.")
    return matrix
