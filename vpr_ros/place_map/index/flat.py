"""Exact search: every row is compared."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

_CHUNK = 65536
_SMALL_BATCH = 8  # waking a thread pool costs more than it saves on the few queries of a live robot


class FlatRows:
    """Inner products with fp16 rows, which are held in memory."""

    def __init__(self, dim: int):
        import faiss

        self.dim = dim
        quantizer: Any = faiss.ScalarQuantizer.QT_fp16
        self._index: Any = faiss.IndexScalarQuantizer(dim, quantizer, faiss.METRIC_INNER_PRODUCT)
        self._index.is_trained = True  # half precision has nothing to learn

    def __len__(self) -> int:
        return self._index.ntotal

    def add(self, rows: np.ndarray) -> None:
        """Append rows (N, dim)."""
        if rows.dtype == np.float16:
            self._index.add_sa_codes(np.ascontiguousarray(rows).view(np.uint8))  # a code is the half number itself
            return
        for start in range(0, len(rows), _CHUNK):
            self._index.add(np.ascontiguousarray(rows[start : start + _CHUNK], dtype=np.float32))

    def truncate(self, count: int) -> None:
        """Only the first `count` rows from now on."""
        import faiss

        self._index.remove_ids(faiss.IDSelectorRange(count, len(self)))

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Rows (M, dim) float32 of the numbers (M,)."""
        if not len(rows):
            return np.empty((0, self.dim), dtype=np.float32)
        return self._index.reconstruct_batch(np.ascontiguousarray(rows, dtype=np.int64))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As `PlaceIndex.search`, of float32 queries."""
        with threads_for(len(queries)):
            similarities, rows = self._index.search(queries, k)
        similarities[rows < 0] = -np.inf
        return similarities, rows


@contextmanager
def threads_for(queries: int) -> Generator[None, None, None]:
    """One thread for as few queries as a robot has at once, all of them for more."""
    import faiss

    threads = faiss.omp_get_max_threads()
    if queries <= _SMALL_BATCH:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
