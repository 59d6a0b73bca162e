"""What one query's retrieval says, before any filter."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.recognition.topology import Topology

BACKGROUND_ROWS = 1024
MIN_SPREAD = 0.01  # a background narrower than this is no measure of anything
FEW_KEYFRAMES = 20  # below, the background's spread is not estimated but assumed
ASSUMED_SPREAD = 0.05


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Top-k keyframes of one query, best first, with their features; `novelty` in [0, 1]: how much of the view is
    new."""

    rows: np.ndarray  # (k,) int64
    similarities: np.ndarray  # (k,) float32
    features: np.ndarray  # (k, 3): similarity, z-score, lead over the best distinct place
    novelty: float


class Background:
    """Descriptors of an evenly spread sample of the map: a query's similarities to them say what is ordinary for it.

    Dusk or snow lower every similarity of a query alike; its own background shows by how much. The sample is redrawn
    each time the map has doubled, so that it depends on the number of keyframes alone and streaming equals offline.
    """

    def __init__(self) -> None:
        self._sample = np.empty((0, 0), dtype=np.float32)
        self._drawn_at = 0

    def refresh(self, descriptors: np.ndarray) -> None:
        """Takes note of the map's descriptors (N, dim)."""
        n = len(descriptors)
        if n >= 2 * self._drawn_at and n:
            rows = np.unique(np.linspace(0, n - 1, min(n, BACKGROUND_ROWS)).astype(np.int64))
            self._sample, self._drawn_at = descriptors[rows].astype(np.float32), n

    def level(self, query: np.ndarray) -> tuple[float, float]:
        """Median and robust standard deviation of the query's (dim,) ordinary similarities."""
        similarities = self._sample @ query
        middle = float(np.median(similarities))
        if len(similarities) < FEW_KEYFRAMES:
            return middle, ASSUMED_SPREAD
        return middle, max(MIN_SPREAD, 1.4826 * float(np.median(np.abs(similarities - middle))))


def retrieval_features(
    similarities: np.ndarray, distinct: np.ndarray, middle: float, spread: float
) -> np.ndarray:
    """Features (k, 3) of retrieved similarities (k,), given which pairs (k, k) are distinct places."""
    rivals = np.where(distinct, similarities[None], -np.inf).max(axis=1)
    # Where all retrieved keyframes are one place, every rival is below the last of them.
    rivals = np.where(np.isfinite(rivals), rivals, min(float(similarities.min()), middle))
    return np.column_stack([similarities, (similarities - middle) / spread, (similarities - rivals) / spread])


def retrieve(
    query: np.ndarray, index, topology: Topology, background: Background, top_k: int, previous: np.ndarray | None
) -> Retrieval:
    """Searches the index with a float32 unit descriptor (dim,) and describes what came back.

    `previous` is the last query's descriptor. A view that resembles the last one far more than it resembles any
    keyframe has the same errors as the last one, and little to add: novelty = (1 - cos(query, previous)) / (1 - best
    similarity).
    """
    similarities, rows = index.search(query[None], min(top_k, topology.n))
    valid = rows[0] >= 0
    rows, similarities = rows[0][valid], similarities[0][valid].astype(np.float64)
    middle, spread = background.level(query)
    distinct = topology.distinct(rows, 2 * topology.radius)
    novelty = 1.0
    if previous is not None and len(similarities):
        novelty = float(np.clip((1 - query @ previous) / max(1 - similarities[0], 0.02), 0.0, 1.0))
    return Retrieval(rows, similarities, retrieval_features(similarities, distinct, middle, spread), novelty)
