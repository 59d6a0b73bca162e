"""Nearest-neighbour search over the descriptors of a map: exact while they are few, by codes where they are many."""

from pathlib import Path
from typing import Literal

import numpy as np

from vpr_ros.configuration import EXACT_SEARCH_MB
from vpr_ros.place_map.index.coded import LEAST_TRAINING, CodedRows
from vpr_ros.place_map.index.flat import FlatRows
from vpr_ros.place_map.index.rows import Rows

Kind = Literal["flat", "coded"]


def rows_within(megabytes: float, dim: int) -> int:
    """How many descriptors of `dim` float16 numbers take so many megabytes."""
    return max(int(megabytes * 1e6 / (2 * dim)), LEAST_TRAINING)


class PlaceIndex:
    """Inner-product search over fp16 unit rows; row numbers are those of the arrays given to `build` and `add`.

    Up to `exact_rows` rows (None: those of EXACT_SEARCH_MB) are held in memory and searched exactly. More are searched
    by codes, which nominate candidates that are compared exactly; what is added later is searched exactly until it has
    become as much. Similarities are the same, whichever way. `folder` is where rows of more than the budget are set
    aside; None: in memory.
    """

    def __init__(self, dim: int, exact_rows: int | None = None, folder: Path | None = None):
        self.dim = dim
        self.exact_rows = rows_within(EXACT_SEARCH_MB, dim) if exact_rows is None else exact_rows
        self._folder = folder
        self._coded = CodedRows(dim, folder)
        self._flat = FlatRows(dim)  # rows behind the coded ones

    @property
    def kind(self) -> Kind:
        """How most rows are searched."""
        return "coded" if len(self._coded) else "flat"

    def __len__(self) -> int:
        return len(self._coded) + len(self._flat)

    def build(self, rows: Rows) -> "PlaceIndex":
        """Forget everything and index these rows (N, dim); more than `exact_rows` must stay as they are."""
        self._require(rows)
        self._coded, self._flat = CodedRows(self.dim, self._folder), FlatRows(self.dim)
        if len(rows) > self.exact_rows:
            self._coded.append(rows)
        else:
            self.add(rows[:])
        return self

    def build_cached(self, rows: Rows, path: Path, key: str) -> "PlaceIndex":
        """As `build`, with the codes of the content `key` kept in a file, which is made where it does not hold them."""
        if len(rows) <= self.exact_rows:
            return self.build(rows)
        self._coded, self._flat = CodedRows(self.dim, self._folder), FlatRows(self.dim)
        if not self._coded.load(path, key, rows):
            self.build(rows)
            self._coded.save(path, key)
        return self

    def add(self, descriptors: np.ndarray) -> None:
        """Append rows (N, dim) or one descriptor (dim,)."""
        rows = np.atleast_2d(np.asarray(descriptors))
        self._require(rows)
        self._flat.add(rows.reshape(-1, self.dim))
        if len(self._flat) > self.exact_rows:
            self._coded.take_over(self._flat.vectors(np.arange(len(self._flat))).astype(np.float16))
            self._flat = FlatRows(self.dim)

    def replace_from(self, start: int, descriptors: np.ndarray) -> None:
        """Put these rows (N, dim) in the place of all rows from `start` on."""
        if start < len(self._coded):
            self._coded.truncate(start)
        self._flat.truncate(max(start - len(self._coded), 0))
        self.add(descriptors)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The descriptors (M, dim) float32 of rows (M,), as they are searched."""
        numbers, coded = np.asarray(rows, dtype=np.int64), len(self._coded)
        if not coded:
            return self._flat.vectors(numbers)
        out = np.empty((len(numbers), self.dim), dtype=np.float32)
        out[numbers < coded] = self._coded.rows[numbers[numbers < coded]]
        out[numbers >= coded] = self._flat.vectors(numbers[numbers >= coded] - coded)
        return out

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k most similar rows of each query (Q, dim), best first.

        Returns similarities (Q, k) float32 and rows (Q, k) int64; where there are fewer than k rows the rest is -inf
        and -1.
        """
        asked = np.atleast_2d(np.asarray(queries))
        self._require(asked)
        asked = np.ascontiguousarray(asked, dtype=np.float32)
        similarities, rows = self._flat.search(asked, k)
        if not len(self._coded):
            return similarities, rows
        before, rows_before = self._coded.search(asked, k)
        rows = np.concatenate([rows_before, np.where(rows < 0, -1, rows + len(self._coded))], axis=1)
        similarities = np.concatenate([before, similarities], axis=1)
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)

    def _require(self, rows: Rows) -> None:
        if len(rows.shape) != 2 or (rows.shape[1] != self.dim and rows.shape[0] * rows.shape[1]):
            raise ValueError(f"descriptors of shape {tuple(rows.shape)} given to an index of dimension {self.dim}")
