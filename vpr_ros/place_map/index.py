"""Nearest-neighbour search over the descriptors of a map."""

import json
import os
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.store import PlaceMap
from vpr_ros.plain_files import parse_json

# Exact search reads every descriptor: 1 GB and about 10 ms of memory traffic per million 512-d fp16 rows. A graph only
# pays above about two million, where a flat search no longer fits between two camera frames; below, exact similarities
# are what the calibration needs.
HNSW_THRESHOLD = 2_000_000
_HNSW_LINKS = 32
_HNSW_BUILD = 200
_HNSW_SEARCH = 256
_CHUNK = 65536
Kind = Literal["flat", "hnsw"]
_SMALL_BATCH = 8  # waking a thread pool costs more than it saves on the few queries of a live robot


class PlaceIndex:
    """Inner-product search over fp16 unit rows; row numbers are those of the arrays given to `build` and `add`.

    Kind "flat" is exact; "hnsw" approximate; "auto" takes the flat one up to HNSW_THRESHOLD rows at `build`.
    """

    def __init__(self, dim: int, kind: Kind | Literal["auto"] = "auto"):
        self._wanted: Kind | Literal["auto"] = kind
        if kind not in ("auto", "flat", "hnsw"):
            raise ValueError(f"kind {kind!r} is none of auto, flat, hnsw")
        self.dim = dim
        self._make("flat" if self._wanted == "auto" else self._wanted)

    def _make(self, kind: Kind) -> None:
        import faiss

        self.kind: Kind = kind
        quantizer: Any = faiss.ScalarQuantizer.QT_fp16
        self._index: Any
        if kind == "flat":
            self._index = faiss.IndexScalarQuantizer(self.dim, quantizer, faiss.METRIC_INNER_PRODUCT)
        else:
            self._index = faiss.IndexHNSWSQ(self.dim, quantizer, _HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
            self._index.hnsw.efConstruction = _HNSW_BUILD
            self._index.hnsw.efSearch = _HNSW_SEARCH
        self._index.is_trained = True  # half precision has nothing to learn

    def __len__(self) -> int:
        return self._index.ntotal

    def build(self, descriptors: np.ndarray) -> "PlaceIndex":
        """Forget everything and index these rows (N, dim)."""
        if self._wanted == "auto":
            self._make("hnsw" if len(descriptors) > HNSW_THRESHOLD else "flat")
        else:
            self._make(self._wanted)
        self.add(descriptors)
        return self

    def add(self, descriptors: np.ndarray) -> None:
        """Append rows (N, dim) or one descriptor (dim,)."""
        rows = self._rows(descriptors)
        for start in range(0, len(rows), _CHUNK):  # faiss wants float32: twice the memory of the fp16 rows
            self._index.add(np.ascontiguousarray(rows[start : start + _CHUNK], dtype=np.float32))

    def replace_from(self, start: int, descriptors: np.ndarray) -> None:
        """Put these rows (N, dim) in the place of all rows from `start` on."""
        import faiss

        if self.kind == "flat":
            self._index.remove_ids(faiss.IDSelectorRange(start, len(self)))
            self.add(descriptors)
        else:  # a graph cannot lose rows
            kept = self.vectors(np.arange(start)).astype(np.float16)
            self.build(np.concatenate([kept, descriptors.astype(np.float16)]))

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The descriptors (M, dim) float32 of rows (M,), as they are searched."""
        if not len(rows):
            return np.empty((0, self.dim), dtype=np.float32)
        return self._index.reconstruct_batch(np.ascontiguousarray(rows, dtype=np.int64))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k most similar rows of each query (Q, dim), best first.

        Returns similarities (Q, k) float32 and rows (Q, k) int64; where there are fewer than k rows the rest is -inf
        and -1.
        """
        import faiss

        queries = np.ascontiguousarray(self._rows(queries), dtype=np.float32)
        threads = faiss.omp_get_max_threads()
        if len(queries) <= _SMALL_BATCH:
            faiss.omp_set_num_threads(1)
        try:
            similarities, rows = self._index.search(queries, k)
        finally:
            faiss.omp_set_num_threads(threads)
        similarities[rows < 0] = -np.inf
        return similarities, rows

    def _rows(self, array: np.ndarray) -> np.ndarray:
        rows = np.atleast_2d(np.asarray(array))
        if rows.ndim != 2 or (rows.size and rows.shape[1] != self.dim):
            raise ValueError(f"descriptors of shape {rows.shape} given to an index of dimension {self.dim}")
        return rows.reshape(-1, self.dim)

    def save(self, path: Path, key: str) -> None:
        """Write a cache file for content named `key`, whole or not at all; VprError or RuntimeError."""
        import faiss

        with whole_file(path) as draft:
            faiss.write_index(self._index, str(draft))
            trailer = json.dumps({"key": key, "kind": self.kind, "dim": self.dim, "crc": _crc(draft)}).encode()
            with open(draft, "ab") as stream:  # behind faiss's own bytes, which it reads from the front
                stream.write(trailer + len(trailer).to_bytes(8, "little"))

    def load(self, path: Path, key: str) -> bool:
        """Take over the cache file if it is whole and holds the content named `key`; else return False, unchanged."""
        import faiss

        try:
            size = os.path.getsize(path)
            with open(path, "rb") as stream:
                stream.seek(size - 8)
                length = int.from_bytes(stream.read(8), "little")
                stream.seek(size - 8 - length)
                trailer = parse_json(stream.read(length))
            if trailer["key"] != key or trailer["dim"] != self.dim or trailer["crc"] != _crc(path, size - 8 - length):
                return False
            self._index, self.kind = faiss.read_index(str(path)), trailer["kind"]
            return True
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RuntimeError):
            return False


def map_index(place_map: PlaceMap, keyframes: Keyframes, content: str = "", suffix: str = "") -> PlaceIndex:
    """Index over all keyframes of a map, row for row.

    `content` names what was done to their descriptors, `suffix` the file where they are one part of several.

    A flat index is rebuilt in memory (faster than reading it); a graph is kept in `<map><suffix>.faiss`, which is
    rebuilt whenever it is missing, torn, or of other content than the map. A directory that cannot be written costs
    only time.
    """
    index = PlaceIndex(keyframes.descriptors.shape[1])
    if len(keyframes) <= HNSW_THRESHOLD:
        return index.build(keyframes.descriptors)
    cache = Path(f"{place_map.path}{suffix}.faiss")
    key = f"{place_map.map_id}:{place_map.version}:{len(keyframes)}{content}"
    if not index.load(cache, key):
        index.build(keyframes.descriptors)
        try:
            index.save(cache, key)
        except (VprError, RuntimeError):  # faiss's own errors are RuntimeErrors
            pass
    return index


def _crc(path: Path, size: int | None = None) -> int:
    left = os.path.getsize(path) if size is None else size
    crc = 0
    with open(path, "rb") as stream:
        while left > 0 and (block := stream.read(min(left, 1 << 22))):
            crc = zlib.crc32(block, crc)
            left -= len(block)
    return crc
