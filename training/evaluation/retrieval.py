"""Single-frame retrieval among the samples of a set: which queries are answered right, and of two models which one
answers more."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.evaluation.paired import FEWEST_AREAS, expanded_tail
from vpr_ros.evaluation.ranking import Measure, OwnMeasure, distances
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.data.sampling.masks import same_place

RADIUS_M, HEADING_RAD = 10.0, 0.8  # of a true match
STRETCH_M = 50.0  # side of the squares whose queries are resampled together: neighbours fail for the same reason
RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """Difference of two recalls, with the bounds of its 95 % interval over so many stretches."""

    mean: float
    low: float
    high: float
    stretches: int


class Queries:
    """The queries of a set: within each city every drive asks the first one, which is the map.

    True is what lies within `RADIUS_M` and `HEADING_RAD`; where headings are not known, the position alone decides.
    Frames without a true match are no queries.
    """

    def __init__(self, samples: SampleSet):
        self.samples = samples
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []  # rows of a drive's queries, and of its map
        for city in np.unique(samples.areas):
            of_city = np.flatnonzero(samples.areas == city)
            first, *others = sorted(set(samples.drives[of_city].tolist()))
            base = of_city[samples.drives[of_city] == first]
            for drive in others:
                query = of_city[samples.drives[of_city] == drive]
                true = same_place(samples, query[:, None], base[None], RADIUS_M, HEADING_RAD).any(1)
                if true.any():
                    self.asked.append((query[true], base))
        self.rows = np.concatenate([query for query, _ in self.asked] or [np.empty(0, np.int64)])  # (Q,)

    def __len__(self) -> int:
        return len(self.rows)

    def right(self, embeddings: np.ndarray, measure: Measure | OwnMeasure = "euclidean") -> np.ndarray:
        """(N, D) of all samples -> (Q,) bool, whether a query's nearest row of the map is right."""
        found = [np.empty(0, dtype=bool)]
        for query, base in self.asked:
            nearest = base[np.argmin(distances(embeddings[query], embeddings[base], measure)[0], axis=1)]
            found.append(same_place(self.samples, query, nearest, RADIUS_M, HEADING_RAD))
        return np.concatenate(found)

    def recalls(self, right: np.ndarray) -> dict[str, float]:
        """Recall@1 by the query's condition, and "all", the plain mean over queries; empty where there are none."""
        conditions = self.samples.conditions[self.rows]
        result = {str(name): float(right[conditions == name].mean()) for name in np.unique(conditions)}
        return result | ({"all": float(right.mean())} if len(right) else {})

    def difference(self, first: np.ndarray, second: np.ndarray) -> Difference | None:
        """Recall of `first` (Q,) minus that of `second` (Q,), with its 95 % interval over stretches of the streets.

        A stretch is a square of `STRETCH_M`, with the queries of all drives in it; stretches are drawn with
        replacement, and the interval is expanded as in `evaluation.paired`. None for fewer than five.
        """
        # Frames without a position are one stretch.
        squares = np.floor(np.nan_to_num(self.samples.positions_m[self.rows]) / STRETCH_M)
        areas = np.unique(self.samples.areas[self.rows], return_inverse=True)[1]
        _, at = np.unique(np.column_stack([areas, squares]), axis=0, return_inverse=True)
        queries = np.bincount(at.ravel())
        if len(queries) < FEWEST_AREAS:
            return None
        gained = np.bincount(at.ravel(), first.astype(float) - second)
        drawn = np.random.default_rng(0).integers(0, len(queries), (RESAMPLES, len(queries)))
        means = gained[drawn].sum(1) / queries[drawn].sum(1)
        tail = expanded_tail(len(queries))
        low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
        return Difference(float(gained.sum() / queries.sum()), float(low), float(high), len(queries))


def recall_by_condition(
    embeddings: np.ndarray, samples: SampleSet, measure: Measure | OwnMeasure = "euclidean"
) -> dict[str, float]:
    """Recall@1 of embeddings (N, D) by condition, and "all"; see `Queries`, which says what a query is."""
    queries = Queries(samples)
    return queries.recalls(queries.right(embeddings, measure))
