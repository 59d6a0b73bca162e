"""Local features of labelled drives, compared as they are asked for, no pair twice."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.local_features.features import LocalFeatures
from vpr_ros.local_features.packing import pack, unpack
from vpr_ros.recognition.local.readings import Counts

MAX_BYTES = 64_000  # of a query that waits to be compared; a robot's has as many keypoints


@dataclass
class Pictures:
    """Packed local features by the number of a picture, and what comparing two of them gave.

    `read` makes those of a picture at its first use, None where it has none. A drive is asked against several maps: the
    same pairs come up again and again.
    """

    kind: str
    read: Callable[[int], LocalFeatures | None]

    def __post_init__(self):
        self._packed: dict[tuple[int, bool], bytes | None] = {}
        self._counts: dict[tuple[int, int], tuple[float, float, float]] = {}

    def counts(self, query: int, keyframes: np.ndarray) -> tuple[np.ndarray, Counts]:
        """Which of the keyframes (C,) could be compared (C,) bool, and what those gave; all by numbers of pictures."""
        wanted = [(query, keyframe) for keyframe in keyframes.tolist()]
        missing = [pair for pair in wanted if pair not in self._counts]
        asked = self._features(query, False) if missing else None
        for pair in missing:
            keyframe = None if asked is None else self._features(pair[1], True)
            if asked is not None and keyframe is not None:
                one = Counts.of(asked, [keyframe])
                self._counts[pair] = float(one.matches[0]), float(one.inliers[0]), float(one.capacity[0])
        found = np.array([pair in self._counts for pair in wanted], dtype=bool)
        rows = [self._counts[pair] for pair in wanted if pair in self._counts]
        return found, Counts(*np.array(rows, dtype=np.float64).reshape(-1, 3).T)

    def _features(self, picture: int, as_keyframe: bool) -> LocalFeatures | None:
        """As a query has them, or as a map keeps them."""
        key = picture, as_keyframe
        if key not in self._packed:
            found = self.read(picture)
            self._packed[picture, False] = None if found is None else pack(found, MAX_BYTES)
            self._packed[picture, True] = None if found is None else pack(found)
        data = self._packed[key]
        return None if data is None else unpack(data)


@dataclass(frozen=True)
class Comparisons:
    """Which picture each query (M,) and each keyframe (N,) of a labelled drive is."""

    pictures: Pictures
    queries: np.ndarray
    keyframes: np.ndarray

    def select(self, queries: np.ndarray | None = None, keyframes: np.ndarray | None = None) -> "Comparisons":
        """Those of these queries and keyframes; None: of all."""
        return replace(
            self,
            queries=self.queries if queries is None else self.queries[queries],
            keyframes=self.keyframes if keyframes is None else self.keyframes[keyframes],
        )

    def counts(self, query: int, rows: np.ndarray) -> tuple[np.ndarray, Counts]:
        """Of a query and keyframes by their rows (C,), as `Pictures.counts`."""
        return self.pictures.counts(int(self.queries[query]), self.keyframes[rows])
