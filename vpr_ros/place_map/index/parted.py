"""Search by the parts of a descriptor: each part nominates candidates, which the whole descriptor then ranks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.configuration import EXACT_SEARCH_MB
from vpr_ros.place_map.index.of_map import map_index
from vpr_ros.place_map.index.place_index import Kind, PlaceIndex, rows_within
from vpr_ros.place_map.index.rows import Columns, Rows
from vpr_ros.place_map.statistics import slices
from vpr_ros.place_map.store import PlaceMap


@dataclass(frozen=True, slots=True)
class Found:
    """What a search came back with, best first."""

    rows: np.ndarray  # (K,) int64
    similarities: np.ndarray  # (K,) float64, of the whole descriptors
    by_part: np.ndarray  # (K, P) float64: the share of each part in them


class PartedIndex:
    """One index for each part, over the same rows; it holds every number of a descriptor once.

    `parts` are the lengths of the parts. With one part it is a PlaceIndex. With several, fine cells and a global vector
    say, no part can do without the other: where one is blind, its candidates are arbitrary, and those of a search by
    the whole would be few of the other's.

    Descriptors of up to `exact_mb` megabytes are searched exactly, see `PlaceIndex`.
    """

    def __init__(
        self,
        parts: tuple[int, ...],
        indexes: Sequence[PlaceIndex] | None = None,
        exact_mb: float = EXACT_SEARCH_MB,
        folder: Path | None = None,
    ):
        self.parts = parts
        exact_rows = rows_within(exact_mb, sum(parts))
        self._indexes = list(indexes or (PlaceIndex(length, exact_rows, folder) for length in parts))

    @classmethod
    def of_map(
        cls, place_map: PlaceMap, rows: Rows, made_of_it: str = "", exact_mb: float = EXACT_SEARCH_MB
    ) -> "PartedIndex":
        """Over the descriptors (N, dim) of all keyframes of a map; see `map_index`."""
        exact_rows = rows_within(exact_mb, place_map.dim)
        if len(place_map.parts) == 1:
            return cls(place_map.parts, [map_index(place_map, rows, made_of_it, exact_rows=exact_rows)])
        indexes = [
            map_index(place_map, Columns(rows, part), made_of_it, f".{number}", exact_rows)
            for number, part in enumerate(slices(place_map.parts))
        ]
        return cls(place_map.parts, indexes)

    def __len__(self) -> int:
        return len(self._indexes[0])

    @property
    def kind(self) -> Kind:
        """How most rows are searched."""
        return self._indexes[0].kind

    def build(self, rows: Rows) -> "PartedIndex":
        """Forget everything and index these rows (N, dim); see `PlaceIndex.build`."""
        for index, part in zip(self._indexes, slices(self.parts), strict=True):
            index.build(rows if len(self.parts) == 1 else Columns(rows, part))
        return self

    def add(self, descriptors: np.ndarray) -> None:
        """Append rows (N, dim)."""
        for index, part in zip(self._indexes, slices(self.parts), strict=True):
            index.add(descriptors[:, part])

    def replace_from(self, start: int, descriptors: np.ndarray) -> None:
        """Put these rows (N, dim) in the place of all rows from `start` on."""
        for index, part in zip(self._indexes, slices(self.parts), strict=True):
            index.replace_from(start, descriptors[:, part])

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The descriptors (M, dim) float32 of rows (M,), as they are searched."""
        if len(self._indexes) == 1:
            return self._indexes[0].vectors(rows)
        return np.concatenate([index.vectors(rows) for index in self._indexes], axis=1)

    def search(self, query: np.ndarray, k: int) -> Found:
        """Candidates for one query (dim,), at least min(k, rows of the index) of them.

        With several parts: the best r of each part, for the least r that gives `k` different ones in all.
        """
        k = min(k, len(self))
        lists = [
            index.search(query[None, part], k) for index, part in zip(self._indexes, slices(self.parts), strict=True)
        ]
        if len(lists) == 1:
            similarities, rows = lists[0][0][0], lists[0][1][0]
            valid = rows >= 0
            similarities = similarities[valid].astype(np.float64)
            return Found(rows[valid], similarities, similarities[:, None])
        nominated = np.concatenate([rows[0] for _, rows in lists])
        ranks = np.tile(np.arange(k), len(lists))
        order = np.lexsort((ranks, nominated))
        first = order[np.r_[True, np.diff(nominated[order]) != 0]]  # each row at its best rank
        first = first[nominated[first] >= 0]
        best = ranks[first]
        deepest = np.sort(best)[min(k, len(best)) - 1] if len(best) else 0
        rows = nominated[first[best <= deepest]]
        by_part = part_similarities(self.vectors(rows), query, self.parts)
        order = np.argsort(-by_part.sum(axis=1), kind="stable")
        return Found(rows[order], by_part.sum(axis=1)[order], by_part[order])


def part_similarities(vectors: np.ndarray, query: np.ndarray, parts: tuple[int, ...]) -> np.ndarray:
    """Inner products (M, P) float64 of each part of descriptors (M, dim) with that of a query (dim,)."""
    columns = [(vectors[:, part] @ query[part]).astype(np.float64) for part in slices(parts)]
    return np.stack(columns, axis=1)
