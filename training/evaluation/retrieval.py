"""Single-frame retrieval among the samples of a set: which queries are answered right, and of two models which one
answers more."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.evaluation.paired import FEWEST_AREAS, expanded_tail
from vpr_ros.evaluation.ranking import Measure, OwnMeasure, distances
from vpr_ros.training.data.sample import SampleSet

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


def recall_difference(first: np.ndarray, second: np.ndarray, stretches: np.ndarray) -> Difference | None:
    """Share of queries (Q,) that `first` answers right minus that of `second`, with its 95 % interval.

    `stretches` (Q,) are numbers from 0 of what is drawn together, with replacement, and the interval is expanded as in
    `evaluation.paired`. None for fewer than five.
    """
    queries = np.bincount(stretches)
    if len(queries) < FEWEST_AREAS:
        return None
    gained = np.bincount(stretches, first.astype(float) - second)
    drawn = np.random.default_rng(0).integers(0, len(queries), (RESAMPLES, len(queries)))
    means = gained[drawn].sum(1) / queries[drawn].sum(1)
    tail = expanded_tail(len(queries))
    low, high = np.quantile(means, [tail, 1 - tail], method="inverted_cdf")
    return Difference(float(gained.sum() / queries.sum()), float(low), float(high), len(queries))


@dataclass(frozen=True)
class _Asked:
    """Rows (q,) of a drive's queries and (k,) of its map, what of it is true, and what is left out (None: nothing)."""

    rows: np.ndarray
    base: np.ndarray
    true: np.ndarray  # (q, k) bool
    left_out: np.ndarray | None


class Queries:
    """The queries of a set: within each city every drive asks the first one, which is the map.

    True is what certainly lies within `RADIUS_M` and `HEADING_RAD`; where headings are not known, none are compared.
    Frames without a true match are no queries. Frames of the map of which it is not known whether they show a query's
    place, between drives without a common frame, are left out of its search.
    """

    def __init__(self, samples: SampleSet):
        self.samples = samples
        self.asked: list[_Asked] = []
        truth = samples.nearness.truth(RADIUS_M, HEADING_RAD)
        for city in np.unique(samples.areas):
            of_city = np.flatnonzero(samples.areas == city)
            first, *others = sorted(set(samples.drives[of_city].tolist()))
            base = of_city[samples.drives[of_city] == first]
            for drive in others:
                rows = of_city[samples.drives[of_city] == drive]
                true, unknown = truth(rows, base)
                asks = true.any(1)
                if asks.any():
                    left_out = unknown[asks] if unknown[asks].any() else None
                    self.asked.append(_Asked(rows[asks], base, true[asks], left_out))
        self.rows = np.concatenate([one.rows for one in self.asked] or [np.empty(0, np.int64)])  # (Q,)

    def __len__(self) -> int:
        return len(self.rows)

    def right(self, embeddings: np.ndarray, measure: Measure | OwnMeasure = "euclidean") -> np.ndarray:
        """(N, D) of all samples -> (Q,) bool, whether a query's nearest row of the map is right."""
        found = [np.empty(0, dtype=bool)]
        for one in self.asked:
            apart = distances(embeddings[one.rows], embeddings[one.base], measure)[0]
            if one.left_out is not None:
                apart = np.where(one.left_out, np.inf, apart)
            found.append(one.true[np.arange(len(one.rows)), apart.argmin(1)])
        return np.concatenate(found)

    def recalls(self, right: np.ndarray) -> dict[str, float]:
        """Recall@1 by the query's condition, and "all", the plain mean over queries; empty where there are none."""
        conditions = self.samples.conditions[self.rows]
        result = {str(name): float(right[conditions == name].mean()) for name in np.unique(conditions)}
        return result | ({"all": float(right.mean())} if len(right) else {})

    def difference(self, first: np.ndarray, second: np.ndarray) -> Difference | None:
        """Recall of `first` (Q,) minus that of `second` (Q,), with its 95 % interval over stretches of the streets.

        A stretch is a square of `STRETCH_M`, with the queries of all drives in it. None for fewer than five.
        """
        cells = self.samples.nearness.cells(STRETCH_M)[self.rows]
        return recall_difference(first, second, np.unique(cells, axis=0, return_inverse=True)[1].ravel())


def recall_by_condition(
    embeddings: np.ndarray, samples: SampleSet, measure: Measure | OwnMeasure = "euclidean"
) -> dict[str, float]:
    """Recall@1 of embeddings (N, D) by condition, and "all"; see `Queries`, which says what a query is."""
    queries = Queries(samples)
    return queries.recalls(queries.right(embeddings, measure))
