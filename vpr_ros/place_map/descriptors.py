"""Descriptors of a large map, which stay in its file and are read when they are asked for."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeAlias

import numpy as np

from vpr_ros.errors import VprError

Reading: TypeAlias = Callable[[], AbstractContextManager[sqlite3.Connection]]
_SPREAD = 4  # a range of ids is read as one where at least one in so many is wanted
_CHUNK = 8192


class StoredDescriptors:
    """Stands for an array (N, dim) float16 of which rows are taken: by number, slice, mask or numbers.

    `reading` gives the map's connection, `ids` are those of the rows. VprError where the map is closed, and where a
    descriptor is not there any more, or damaged.
    """

    dtype = np.dtype(np.float16)

    def __init__(self, reading: Reading, ids: np.ndarray, dim: int):
        self._reading, self._ids = reading, ids
        self.shape = (len(ids), dim)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: "int | slice | np.ndarray | list[int]") -> np.ndarray:
        wanted = self._ids[rows]
        found = self._read(np.atleast_1d(wanted))
        return found if np.ndim(wanted) else found[0]

    def __array__(self, dtype: "np.typing.DTypeLike | None" = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def _read(self, ids: np.ndarray) -> np.ndarray:
        out = np.empty((len(ids), self.shape[1]), dtype=np.float16)
        order = np.argsort(ids, kind="stable")
        with self._reading() as db:
            for start in range(0, len(ids), _CHUNK):  # as bytes they take the memory a second time
                rows = order[start : start + _CHUNK]
                blobs = _blobs(db, ids[rows])
                bad = next((i for i, blob in enumerate(blobs) if blob is None or len(blob) != 2 * self.shape[1]), None)
                if bad is not None:
                    raise missing(int(ids[rows[bad]]), self.shape[1])
                out[rows] = np.frombuffer(b"".join(filter(None, blobs)), dtype="<f2").reshape(-1, self.shape[1])
        return out


def missing(keyframe_id: int, dim: int) -> VprError:
    """What to say of a keyframe without a descriptor of `dim` numbers."""
    return VprError(
        f"keyframe {keyframe_id} of the map has no descriptor of {dim} numbers: rebuild them with `vpr_ros redescribe`"
    )


def _blobs(db: sqlite3.Connection, ids: np.ndarray) -> list[bytes | None]:
    """Descriptors of ascending ids."""
    first, last, wanted = int(ids[0]), int(ids[-1]), ids.tolist()
    if last - first < _SPREAD * len(wanted):
        found = dict(db.execute("SELECT id, vector FROM descriptors WHERE id BETWEEN ? AND ?", (first, last)))
        return [found.get(i) for i in wanted]
    select = "SELECT vector FROM descriptors WHERE id = ?"
    return [(db.execute(select, (i,)).fetchone() or (None,))[0] for i in wanted]
