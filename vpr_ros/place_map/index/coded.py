"""Search among millions: short codes nominate candidates, which are then compared exactly.

A row's code is of product quantisation: each few numbers become 4 bits, the nearest of 16 prototypes. All codes are
compared, by table look-ups in registers (André, Kermarrec and Le Scouarnec, "Quicker ADC", 2019; faiss's FastScan).
There are no lists or graph that a query could miss its place in: whitened descriptors have no clusters, and of 100,000
drawn rows a search of an eighth of 1024 lists missed the best one for 2 queries in 100.
"""

from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.place_map.index.cached_file import seal, sealed
from vpr_ros.place_map.index.flat import FlatRows, threads_for
from vpr_ros.place_map.index.row_file import set_aside
from vpr_ros.place_map.index.rows import Joined, Rows

LEAST_TRAINING = 16  # one row for each prototype
_TRAINING_ROWS = 20_000  # more make no better prototypes
_LENGTHS = (4, 3, 2, 1)  # numbers that share 4 bits, as far as they divide a descriptor
_CANDIDATES = 16  # compared exactly, for each that is wanted
_LEAST_CANDIDATES = 400
_GROWTH = 4  # prototypes are learned anew when there are so many times the rows that they were learned from
_CHUNK = 65536


class CodedRows:
    """Rows by their codes; the rows themselves stay where they are, or in a nameless file of `folder`."""

    def __init__(self, dim: int, folder: Path | None = None):
        self._folder = folder
        self._rows = Joined(dim)
        self._index: Any = None
        self._trained_at = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Rows:
        """The rows (N, dim) float16 as they were given."""
        return self._rows

    def append(self, rows: Rows) -> None:
        """Rows (M, dim), which must stay as they are. Each is coded a fixed number of times in the long run."""
        start = len(self)
        self._rows.append(rows)
        if len(self) >= _GROWTH * self._trained_at:
            self._train()
            start = 0
        for at in range(start, len(self), _CHUNK):
            self._index.add(self._rows[at : min(at + _CHUNK, len(self))].astype(np.float32))

    def take_over(self, rows: np.ndarray) -> None:
        """As `append`, of rows that are held in memory and shall not stay there."""
        self.append(set_aside(rows, self._folder))

    def truncate(self, count: int) -> None:
        """Only the first `count` rows from now on."""
        import faiss

        self._index.remove_ids(faiss.IDSelectorRange(count, len(self)))
        self._rows.truncate(count)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `FlatRows.search`: the same similarities, and nearly always the same rows."""
        similarities = np.full((len(queries), k), -np.inf, dtype=np.float32)
        rows = np.full((len(queries), k), -1, dtype=np.int64)
        most = min(max(_CANDIDATES * k, _LEAST_CANDIDATES), len(self))
        with threads_for(len(queries)):
            _, nominated = self._index.search(queries, most)
        for number, found in enumerate(nominated):
            candidates = np.sort(found[found >= 0])
            exact = FlatRows(queries.shape[1])
            exact.add(self._rows[candidates])
            similarities[number], best = exact.search(queries[number : number + 1], k)
            rows[number] = np.where(best[0] >= 0, candidates[best[0]], -1)
        return similarities, rows

    def save(self, path: Path, key: str) -> None:
        """Write the codes of the content `key`, whole or not at all; VprError or faiss's RuntimeError."""
        import faiss

        with whole_file(path, durable=False) as draft:
            faiss.write_index(self._index, str(draft))
            seal(draft, key, trained_at=self._trained_at)

    def load(self, path: Path, key: str, rows: Rows) -> bool:
        """Take over the codes of these rows from a file that is whole and of the content `key`; else return False."""
        import faiss

        facts = sealed(path, key)
        if facts is None:
            return False
        try:
            index = faiss.read_index(str(path))
        except RuntimeError:  # of a faiss that writes codes in another way
            return False
        if (index.ntotal, index.d) != tuple(rows.shape):
            return False
        self._index, self._trained_at = index, int(facts["trained_at"])
        self._rows.append(rows)
        return True

    def _train(self) -> None:
        import faiss

        dim = self._rows.shape[1]
        length = next(n for n in _LENGTHS if dim % n == 0)
        self._index = faiss.IndexPQFastScan(dim, dim // length, 4, faiss.METRIC_INNER_PRODUCT)
        self._index.pq.cp.min_points_per_centroid = 1  # a small map is said to be one elsewhere
        sample = np.unique(np.linspace(0, len(self) - 1, min(len(self), _TRAINING_ROWS)).astype(np.int64))
        self._index.train(self._rows[sample].astype(np.float32))
        self._trained_at = len(self)
