"""AR@N and AR@1 %: every run is searched in every other one (METHODS §6.2; PointNetVLAD, CVPR 2018, section 6).

For every ordered pair (database run, query run) of one area, queries without a true match in the database run are
skipped; Recall@N is the share of the others whose N nearest database frames hold a true match; AR@N is its plain mean
over pairs. AR@1 % looks at max(round(K / 100), 1) frames of a database of K. All shares are fractions in 0..1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation import metrics
from vpr_ros.evaluation.protocols.frame_columns import FrameColumns
from vpr_ros.evaluation.ranking import (
    Measure,
    OwnMeasure,
    best_distances,
    described,
    distances,
    first_ranks,
    mask_of,
    near,
)

DEPTH = 25  # N of the published curves
# Of query rows (Q,) and database rows (K,): which show one place, and of which that is not known, both (Q, K) bool.
Truth = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Run:
    """One drive of an area. `positives[other][q]`: rows of the run `other`'s database that show query q's place."""

    name: str
    database: np.ndarray  # (K, D)
    queries: np.ndarray  # (Q, D)
    positives: Mapping[str, Sequence[np.ndarray]]
    area: str = ""
    condition: str = ""


@dataclass(frozen=True)
class PairResult:
    """Result of one query run in one database run. ranks (Q,): of the first true match, 0 where none exists
    (skipped)."""

    area: str
    database_run: str
    query_run: str
    database_condition: str
    query_condition: str
    database_size: int
    ranks: np.ndarray = field(repr=False)
    nearest: np.ndarray = field(repr=False)  # (Q,) distance of the best answer
    chance: float = float("nan")  # Recall@1 of an answer drawn from the database

    @property
    def counted(self) -> int:
        """Queries that have a true match."""
        return int((self.ranks > 0).sum())

    @property
    def skipped(self) -> int:
        """Queries that have none; they enter no recall."""
        return len(self.ranks) - self.counted

    def recall(self, n: int) -> float:
        """Recall@n; NaN where no query has a true match."""
        return metrics.recall_at(self.ranks, (n,), self.ranks > 0)[n]

    @property
    def recall_1_percent(self) -> float:
        return self.recall(metrics.one_percent(self.database_size))


@dataclass(frozen=True)
class PairRecalls:
    """Recalls over run pairs. Pairs in which no query has a true match enter no mean."""

    pairs: tuple[PairResult, ...]
    measure: Measure | OwnMeasure
    rule: str  # one sentence: when does a match count as right

    def ar(self, n: int = 1) -> float:
        """AR@n: the unweighted mean of Recall@n over pairs."""
        return self._mean([p.recall(n) for p in self.pairs])

    @property
    def ar1(self) -> float:
        return self.ar(1)

    @property
    def ar1_percent(self) -> float:
        """AR@1 %."""
        return self._mean([p.recall_1_percent for p in self.pairs])

    @property
    def chance(self) -> float:
        """AR@1 of answers drawn from the database."""
        return self._mean([p.chance for p in self.pairs])

    def curve(self, ns: Sequence[int] = tuple(range(1, DEPTH + 1))) -> dict[int, float]:
        """N -> AR@N."""
        return {int(n): self.ar(int(n)) for n in ns}

    def per_area(self, figure: int | str = 1) -> dict[str, float]:
        """Area -> AR@N over its pairs (`figure` N, or "1%"): what two models are compared by, area against area."""
        areas = sorted({p.area for p in self.pairs if p.counted})
        value = (lambda r: r.ar1_percent) if figure == "1%" else (lambda r: r.ar(int(figure)))
        return {area: value(self.select(lambda p, area=area: p.area == area)) for area in areas}

    def by_condition(self) -> dict[tuple[str, str], "PairRecalls"]:
        """(database condition, query condition) -> the pairs of those conditions."""
        keys = sorted({(p.database_condition, p.query_condition) for p in self.pairs})
        return {key: self.select(lambda p, key=key: (p.database_condition, p.query_condition) == key) for key in keys}

    def select(self, keep: Callable[[PairResult], bool]) -> "PairRecalls":
        """The pairs for which `keep` is true."""
        return replace(self, pairs=tuple(p for p in self.pairs if keep(p)))

    def precision_recall(self) -> metrics.PrecisionRecall:
        """The curve of all queries of all pairs, when answers nearer than a threshold are accepted.

        Thresholds are negated distances. Queries without a true match count here: accepting them is wrong.
        """
        ranks = np.concatenate([p.ranks for p in self.pairs]) if self.pairs else np.zeros(0, np.int64)
        nearest = np.concatenate([p.nearest for p in self.pairs]) if self.pairs else np.zeros(0)
        return metrics.precision_recall(-nearest, ranks == 1, int((ranks > 0).sum()))

    @property
    def counted(self) -> int:
        return sum(p.counted for p in self.pairs)

    @property
    def skipped(self) -> int:
        return sum(p.skipped for p in self.pairs)

    @property
    def empty_pairs(self) -> int:
        """Pairs without any query that has a true match."""
        return sum(p.counted == 0 for p in self.pairs)

    def table(self) -> tuple[list[str], list[list]]:
        """Header and one row per pair, plain values."""
        header = [
            "area",
            "database run",
            "query run",
            "database condition",
            "query condition",
            "database",
            "queries",
            "skipped",
            "recall@1",
            "recall@5",
            "recall@10",
            "recall@1%",
        ]
        rows = [
            [
                p.area,
                p.database_run,
                p.query_run,
                p.database_condition,
                p.query_condition,
                p.database_size,
                p.counted,
                p.skipped,
                p.recall(1),
                p.recall(5),
                p.recall(10),
                p.recall_1_percent,
            ]
            for p in self.pairs
        ]
        return header, rows

    def statement(self) -> str:
        """The protocol in words, to be printed beside the figures."""
        empty = f" {self.empty_pairs} pairs without any true match were left out." if self.empty_pairs else ""
        return (
            f"{described(self.measure)}; mean over {len(self.pairs) - self.empty_pairs} ordered run pairs; "
            f"{self.counted} queries, {self.skipped} without a true match skipped. {self.rule}{empty}"
        )

    @staticmethod
    def _mean(values: Sequence[float]) -> float:
        usable = [v for v in values if v == v]
        return float(np.mean(usable)) if usable else float("nan")


def recall_over_pairs(runs: Sequence[Run], *, measure: Measure = "euclidean", rule: str = "") -> PairRecalls:
    """Every ordered pair of runs of one area, with the published index lists. VprError names what does not fit."""
    _unique([(r.area, r.name) for r in runs])
    pairs = []
    for area in sorted({r.area for r in runs}):
        members = sorted((r for r in runs if r.area == area), key=lambda r: r.name)
        for base in members:
            for query_run in members:
                if query_run is base:
                    continue
                lists = query_run.positives.get(base.name)
                if lists is None:
                    raise VprError(f"run {query_run.name} has no index lists into run {base.name}; give one per query.")
                if len(lists) != len(query_run.queries):
                    raise VprError(
                        f"run {query_run.name} has {len(query_run.queries)} queries but {len(lists)} index lists into "
                        f"{base.name}: the embeddings and the lists are of different sets."
                    )
                right = mask_of(lists, len(base.database))
                ends = (area, base.name, query_run.name, base.condition, query_run.condition)
                pairs.append(_pair(ends, base.database, query_run.queries, right, measure))
    return PairRecalls(tuple(pairs), measure, rule or "A match is right when the published index list names it.")


def run_pairs(
    embeddings: np.ndarray,
    positions_m: np.ndarray,
    runs: np.ndarray,
    areas: np.ndarray | None = None,
    *,
    radius_m: float = 25.0,
    headings_rad: np.ndarray | None = None,
    heading_rad: float | None = None,
    conditions: np.ndarray | None = None,
    queries: np.ndarray | None = None,
    measure: Measure | OwnMeasure = "euclidean",
    truth: Truth | None = None,
) -> PairRecalls:
    """Every ordered pair of runs of one area; a match is right within `radius_m` of the query (inclusive).

    embeddings (N, D); positions_m (N, 2) in one frame per area; runs, areas, conditions (N,) names (a run belongs to
    one area); headings_rad (N,) with `heading_rad` also limits the difference of direction; queries (N,) bool: which
    frames are queries (those inside the test squares), all by default. The database of a run is all of its frames.
    `truth`, by these limits, stands in place of positions and headings where runs share no frame: a query is not
    compared with frames of which it is not known whether they show its place. VprError for columns of different
    lengths, an area with fewer than two runs, or a test in which no query has a true match.
    """
    columns = FrameColumns.checked(embeddings, positions_m, runs, areas, conditions, radius_m)
    count = len(columns.runs)
    asks = np.ones(count, bool) if queries is None else np.asarray(queries, bool)
    headings = None if headings_rad is None else np.asarray(headings_rad, float)
    for what, column in (("entries for who may ask", asks), ("headings", headings)):
        if column is not None and column.shape != (count,):
            raise VprError(f"{count} embeddings but {len(column)} {what}: one of each per frame is needed.")
    pairs = []
    for area, names in columns.runs_of_areas():
        for base in names:
            for query_run in names:
                if query_run == base:
                    continue
                b, q = columns.members(area, base), columns.members(area, query_run)
                q = q[asks[q]]
                unknown = None
                if truth is not None:
                    right, unknown = truth(q, b)
                    asked = ~unknown.all(axis=1)
                    q, right, unknown = q[asked], right[asked], unknown[asked]
                else:
                    turned = (None, None) if headings is None else (headings[q], headings[b])
                    right = near(columns.positions_m[q], columns.positions_m[b], radius_m, *turned, heading_rad)
                ends = (area, base, query_run, columns.condition(area, base), columns.condition(area, query_run))
                pairs.append(_pair(ends, columns.embeddings[b], columns.embeddings[q], right, measure, unknown))
    turn = "" if heading_rad is None else f" and looks the same way within {np.degrees(heading_rad):g}°"
    result = PairRecalls(
        tuple(pairs), measure, f"A match is right within {radius_m:g} m of the query in another run{turn}."
    )
    if not result.counted:
        raise VprError(
            f"no query has a true match within {radius_m:g} m: are the positions of an area in one frame, or are there "
            "pairs of its drives?"
        )
    return result


def _pair(
    ends: tuple[str, str, str, str, str],
    database: np.ndarray,
    queries: np.ndarray,
    right: np.ndarray,
    measure: Measure | OwnMeasure,
    unknown: np.ndarray | None = None,
) -> PairResult:
    """`ends`: area, database run, query run and their conditions; answers that are `unknown` (Q, K) are not given."""
    if not len(database):
        raise VprError(f"run {ends[1]} has no frames to search in; leave the run out.")
    found, tie = distances(queries, database, measure)
    if unknown is not None:
        found[unknown] = np.inf
    ranks = first_ranks(found, right, tie)
    chance = float(right[ranks > 0].mean()) if ranks.any() else float("nan")
    return PairResult(*ends, len(database), ranks, best_distances(found, measure), chance)


def _unique(names: Sequence[tuple[str, str]]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise VprError(f"run {twice[0][1]} is listed twice in area '{twice[0][0]}'; give every run its own name.")
