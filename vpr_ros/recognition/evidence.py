"""What one query's retrieval says, before any filter."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.place_map.index import PlaceIndex
from vpr_ros.recognition.topology import Topology

BACKGROUND_ROWS = 1024
MIN_SPREAD = 0.01  # a background narrower than this is no measure of anything
FEW_KEYFRAMES = 20  # below, the background's spread cannot be estimated: taken to be wide, the careful side
WIDE_SPREAD = 0.15


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Top-k keyframes of one query, best first, with their features."""

    rows: np.ndarray  # (k,) int64
    similarities: np.ndarray  # (k,) float32
    features: np.ndarray  # (k, 3): similarity, z-score, lead over the best distinct place
    novelty: float  # in [0, 1]: how much of the view is new


class Background:
    """Descriptors of an evenly spread sample of the map: a query's similarities to them say what is ordinary for it.

    Dusk or snow lower every similarity of a query alike; its own background shows by how much. The sample is redrawn
    each time the map has doubled, so that it depends on the number of keyframes alone and streaming equals offline.
    """

    def __init__(self) -> None:
        self._sample = np.empty((0, 0), dtype=np.float32)
        self._drawn_at = 0

    def refresh(self, descriptors: np.ndarray, now: bool = False) -> None:
        """Takes note of the map's descriptors (N, dim); redraws `now` or when they have doubled."""
        n = len(descriptors)
        if n and (now or n >= 2 * self._drawn_at):
            rows = np.unique(np.linspace(0, n - 1, min(n, BACKGROUND_ROWS)).astype(np.int64))
            self._sample, self._drawn_at = descriptors[rows].astype(np.float32), n

    def level(self, query: np.ndarray) -> tuple[float, float]:
        """Median and robust standard deviation of the query's (dim,) ordinary similarities."""
        similarities = self._sample @ query
        middle = float(np.median(similarities))
        least = WIDE_SPREAD if len(similarities) < FEW_KEYFRAMES else MIN_SPREAD
        return middle, max(least, 1.4826 * float(np.median(np.abs(similarities - middle))))


def retrieval_features(
    similarities: np.ndarray, distinct: np.ndarray, middle: float, spread: float, whole_map: bool
) -> np.ndarray:
    """Features (k, 3) of retrieved similarities (k,), given which pairs (k, k) are distinct places.

    `whole_map`: nothing of the map was left out of the retrieval.
    """
    rivals = np.where(distinct, similarities[None], -np.inf).max(axis=1)
    # Where all retrieved keyframes are one place, its rivals are below the last of them; in a map that is one place
    # there are none, and leading the field says nothing.
    unrivalled = similarities if whole_map else np.full_like(similarities, min(float(similarities.min()), middle))
    rivals = np.where(np.isfinite(rivals), rivals, unrivalled)
    return np.column_stack([similarities, (similarities - middle) / spread, (similarities - rivals) / spread])


class Novelty:
    """How much of a view has not been seen in the frames before; it scales a frame's evidence.

    A view that resembles an earlier one far more than it resembles any keyframe shares that one's errors and has little
    to add. So distance is (1 - cos(query, anchor)) / (1 - best similarity), and a frame's novelty is how far it exceeds
    what the frames since the anchor have reached. From 1 on the anchor moves up. Jitter of a standing camera thus
    counts once, however long it lasts, and a drive gains as much per metre at 5 Hz as at 30 Hz.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """The next view is all new."""
        self._anchor: np.ndarray | None = None
        self._reached = 0.0

    def update(self, query: np.ndarray, best_similarity: float) -> float:
        """Novelty in [0, 1] of a unit descriptor (dim,)."""
        if self._anchor is None:
            self._anchor = query
            return 1.0
        distance = max(0.0, 1.0 - float(query @ self._anchor)) / max(1.0 - best_similarity, 0.02)
        gain = min(1.0, max(0.0, distance - self._reached))
        self._reached = max(self._reached, distance)
        if distance >= 1.0:
            self._anchor, self._reached = query, 0.0
        return gain


def retrieve(
    query: np.ndarray, index: PlaceIndex, topology: Topology, background: Background, top_k: int, novelty: Novelty
) -> Retrieval:
    """Searches the index with a float32 unit descriptor (dim,) and describes what came back."""
    similarities, rows = index.search(query[None], min(top_k, topology.n))
    valid = rows[0] >= 0
    rows, similarities = rows[0][valid], similarities[0][valid].astype(np.float64)
    middle, spread = background.level(query)
    distinct = topology.distinct(rows, 2 * topology.radius)
    features = retrieval_features(similarities, distinct, middle, spread, whole_map=len(rows) == topology.n)
    return Retrieval(rows, similarities, features, novelty.update(query, float(similarities[0])))
