"""The published splits of the PointNetVLAD benchmark: built from the submaps' positions, or read from the pickles.

Numbers and rules: METHODS §6.1, FORMATS §2.2. Positions are (northing, easting) in UTM metres here, as published.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import rows_within
from vpr_ros.training.data.datasets.pointnetvlad.pickles import TrainingTuple, read_pickle
from vpr_ros.training.data.sampling.masks import NON_NEGATIVE_M, POSITIVE_M, masks_by_lists

TRUE_MATCH_M = 25.0  # of a query in another run
HALF_SQUARE_M = 150.0
OXFORD_SQUARES = (
    (5735712.768124, 620084.402381),
    (5735611.299219, 620540.270327),
    (5735237.358209, 620543.094379),
    (5734749.303802, 619932.693364),
)
UNIVERSITY_SQUARES = ((363621.292362, 142864.19756), (364788.795462, 143125.746609), (363597.507711, 144011.414174))
RESIDENTIAL_SQUARES = ((360895.486453, 144999.915143), (362357.024536, 144894.825301), (361368.907155, 145209.663042))
OXFORD_RUNS = 45  # folders of the complete set; the list of test runs counts them in sorted order
OXFORD_TEST_RUNS = (5, 6, 7, *range(9, 20), 22, 24, 31, 32, 33, 38, 39, 43, 44)
INHOUSE_RUNS = {"business": range(0, 5), "residential": range(5, 10), "university": range(10, 15)}


def in_squares(
    positions: np.ndarray, squares: Sequence[tuple[float, float]], half_m: float = HALF_SQUARE_M
) -> np.ndarray:
    """Which positions (N, 2) northing, easting lie strictly inside one of the squares around the given centres."""
    inside = np.zeros(len(positions), bool)
    for centre in squares:
        inside |= (np.abs(np.asarray(positions, np.float64).reshape(-1, 2) - centre) < half_m).all(axis=1)
    return inside


def oxford_test_runs(folders: Sequence[str]) -> list[str]:
    """The 23 test runs of the complete Oxford set, by their place in the sorted folders.

    Raises VprError where there are not exactly 45 folders: the published list would select other runs.
    """
    if len(folders) != OXFORD_RUNS:
        raise VprError(
            f"the published list of test runs counts the {OXFORD_RUNS} folders of the complete Oxford set, "
            f"but there are {len(folders)}; complete the set, or name the runs to evaluate"
        )
    return [sorted(folders)[i] for i in OXFORD_TEST_RUNS]


@dataclass(frozen=True)
class TrainingSplit:
    """Training elements with their positives and non-negatives, as indices into the same lists."""

    paths: list[str]  # relative to the data set's root
    positions: np.ndarray | None  # (N, 2) northing, easting; None where the pickle has none
    positives: list[np.ndarray]
    non_negatives: list[np.ndarray]  # everything near, itself included

    def __len__(self) -> int:
        return len(self.paths)

    def masks(self, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives (B, B) bool among the elements of a batch."""
        return masks_by_lists(rows, self.positives, self.non_negatives)

    @classmethod
    def build(
        cls,
        paths: Sequence[str],
        positions: np.ndarray,
        squares: Sequence[tuple[float, float]] = OXFORD_SQUARES,
        positive_m: float = POSITIVE_M,
        non_negative_m: float = NON_NEGATIVE_M,
    ) -> "TrainingSplit":
        """Elements outside the test squares, in the given order, from all training submaps and their positions."""
        kept = np.flatnonzero(~in_squares(positions, squares))
        at = np.asarray(positions, np.float64).reshape(-1, 2)[kept]
        positives = [near[near != i] for i, near in enumerate(rows_within(at, at, positive_m))]
        return cls([str(paths[i]) for i in kept.tolist()], at, positives, rows_within(at, at, non_negative_m))

    @classmethod
    def read(cls, path: str | Path) -> "TrainingSplit":
        """A published training pickle, PointNetVLAD's or MinkLoc's form, without executing it."""
        table = _by_number(read_pickle(path), path)
        tuples = [e for e in table if isinstance(e, TrainingTuple)]
        if len(tuples) == len(table):
            for e in tuples:
                _check_ids(e.positives, len(table), path)
                _check_ids(e.non_negatives, len(table), path)
            return cls(
                [e.rel_scan_filepath for e in tuples],
                np.array([e.position for e in tuples]).reshape(-1, 2),
                [np.sort(e.positives) for e in tuples],
                [np.sort(e.non_negatives) for e in tuples],
            )
        if not all(isinstance(e, dict) and {"query", "positives", "negatives"} <= set(e) for e in table):
            raise VprError(
                f"{path} is no training split: its elements should hold query, positives and negatives, "
                "or be TrainingTuple objects"
            )
        positives = [np.sort(np.asarray(e["positives"], np.int64).reshape(-1)) for e in table]
        negatives = [np.asarray(e["negatives"], np.int64).reshape(-1) for e in table]
        for ids in (*positives, *negatives):
            _check_ids(ids, len(table), path)
        return cls(
            [str(e["query"]) for e in table],
            None,
            positives,
            [np.setdiff1d(np.arange(len(table)), ids) for ids in negatives],
        )


@dataclass(frozen=True)
class RunTable:
    """Submaps of one run."""

    paths: list[str]
    positions: np.ndarray  # (N, 2) northing, easting

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def stamps(self) -> np.ndarray:
        """Stamps (N,) of the submaps, as their files are named (microseconds for Oxford)."""
        return np.array([int(path.rsplit("/", 1)[-1].removesuffix(".bin")) for path in self.paths], np.int64)


@dataclass(frozen=True)
class EvaluationSplit:
    """Databases and queries of the test runs, and for every ordered pair of runs the true matches."""

    databases: list[RunTable]
    queries: list[RunTable]
    positives: dict[tuple[int, int], list[np.ndarray]]  # (database run, query run) -> per query, rows of the database

    @classmethod
    def build(
        cls,
        runs: Sequence[RunTable],
        squares: Sequence[tuple[float, float]] = OXFORD_SQUARES,
        radius_m: float = TRUE_MATCH_M,
    ) -> "EvaluationSplit":
        """Database: all submaps of a run; queries: those inside the squares (all without squares)."""
        queries = []
        for run in runs:
            selected = in_squares(run.positions, squares) if len(squares) else np.ones(len(run), bool)
            queries.append(RunTable([run.paths[i] for i in np.flatnonzero(selected).tolist()], run.positions[selected]))
        pairs = [(m, n) for m in range(len(runs)) for n in range(len(runs)) if m != n]
        return cls(
            list(runs),
            queries,
            {(m, n): rows_within(runs[m].positions, queries[n].positions, radius_m) for m, n in pairs},
        )

    @classmethod
    def read(cls, database: str | Path, query: str | Path) -> "EvaluationSplit":
        """The published pair of pickles, without executing them."""
        databases, queries = (_runs(read_pickle(path), path) for path in (database, query))
        if len(databases) != len(queries):
            raise VprError(f"{database} has {len(databases)} runs and {query} {len(queries)}; take both of one set")
        positives = {}
        for n, run in enumerate(queries):
            for m, of in enumerate(databases):
                if m == n:
                    continue
                found = [np.sort(np.asarray(element.get(m, []), np.int64).reshape(-1)) for element in run]
                for ids in found:
                    _check_ids(ids, len(of), query)
                positives[m, n] = found
        return cls([_table(run, database) for run in databases], [_table(run, query) for run in queries], positives)


def _by_number(value, path) -> list:
    """The values of {0: a, 1: b, ...} in order."""
    if not isinstance(value, dict) or not value or set(value) != set(range(len(value))):
        raise VprError(f"{path} is no split: a dictionary numbered from 0 is needed; take the file from its publisher")
    return [value[i] for i in range(len(value))]


def _runs(value, path) -> list[list[dict]]:
    if not isinstance(value, list) or not value:
        raise VprError(f"{path} is no evaluation split: a list of runs is needed; take the file from its publisher")
    return [_by_number(run, path) if run else [] for run in value]


def _table(run: list[dict], path) -> RunTable:
    try:
        at = np.array([[float(e["northing"]), float(e["easting"])] for e in run]).reshape(-1, 2)
        return RunTable([str(e["query"]) for e in run], at)
    except (KeyError, TypeError, ValueError):
        raise VprError(
            f"{path} is no evaluation split: its elements should hold query, northing and easting; take the "
            "file from its publisher"
        ) from None


def _check_ids(ids: np.ndarray, count: int, path) -> None:
    wrong = ids[(ids < 0) | (ids >= count)]
    if len(wrong):
        raise VprError(f"{path} names element {wrong[0]}, but there are {count}; take the file from its publisher")
