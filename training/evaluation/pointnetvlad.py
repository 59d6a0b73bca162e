"""The PointNetVLAD benchmark's own test: databases, queries inside the squares, and the published index lists."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls, Run, recall_over_pairs
from vpr_ros.evaluation.ranking import Measure
from vpr_ros.training.data.datasets.pointnetvlad.samples import PointNetVLAD, list_runs, read_run
from vpr_ros.training.data.datasets.pointnetvlad.splits import (
    INHOUSE_RUNS,
    OXFORD_SQUARES,
    RESIDENTIAL_SQUARES,
    TRUE_MATCH_M,
    UNIVERSITY_SQUARES,
    EvaluationSplit,
    oxford_test_runs,
)
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.evaluate import ModelEvaluation

SQUARES = {
    "oxford": OXFORD_SQUARES,
    "university": UNIVERSITY_SQUARES,
    "residential": RESIDENTIAL_SQUARES,
    "business": (),  # a test area as a whole
}


def split_recalls(
    split: EvaluationSplit,
    databases: Sequence[np.ndarray],
    queries: Sequence[np.ndarray],
    *,
    measure: Measure = "euclidean",
    conditions: Sequence[str] | None = None,
) -> PairRecalls:
    """Recalls of embeddings (K_r, D) and (Q_r, D), one array per run of the split, by the split's index lists."""
    count = len(split.databases)
    if not count == len(databases) == len(queries):
        raise VprError(f"the split has {count} runs, but {len(databases)} databases and {len(queries)} query sets.")
    names = [f"{n:02d} {_run_name(table.paths)}".strip() for n, table in enumerate(split.databases)]
    runs = [
        Run(
            names[n],
            databases[n],
            queries[n],
            {names[m]: split.positives[m, n] for m in range(count) if m != n},
            condition=conditions[n] if conditions is not None else "",
        )
        for n in range(count)
    ]
    return recall_over_pairs(runs, measure=measure)


def evaluate_split(
    model: Any,
    root: str | Path,
    split: EvaluationSplit,
    images: str | Path | None = None,
    *,
    measure: Measure = "euclidean",
    batch: int = 32,
    progress: Callable[[int], None] | None = None,
    name: str = "",
) -> ModelEvaluation:
    """A model on the submaps below `root` (with the pictures below `images`), every submap embedded once.

    `progress` gets the number of submaps done. VprError as `PointNetVLAD` and `embed`.
    """
    paths = split_paths(split)
    positions = {p: xy for t in (*split.databases, *split.queries) for p, xy in zip(t.paths, t.positions, strict=True)}
    samples = PointNetVLAD(root, paths, np.array([positions[p] for p in paths]), images=images)
    found = embed(model, samples, batch, progress)
    row = {path: i for i, path in enumerate(paths)}
    databases, queries = ([found[[row[p] for p in t.paths]] for t in ts] for ts in (split.databases, split.queries))
    recalls = split_recalls(split, databases, queries, measure=measure)
    described = f"Embeddings of {found.shape[1]} numbers."
    return ModelEvaluation(name or type(model).__name__, samples.name, recalls, described)


def split_paths(split: EvaluationSplit) -> list[str]:
    """Every submap that the split names, once."""
    return sorted({path for table in (*split.databases, *split.queries) for path in table.paths})


def open_split(root: str | Path, name: str = "oxford") -> EvaluationSplit:
    """The test split "oxford", "university", "residential" or "business" of a benchmark folder.

    From `<name>_evaluation_database.pickle` and `<name>_evaluation_query.pickle` in `root`, never executed, or, where
    there are none, built from the runs' tables by the published rule. VprError where neither is possible.
    """
    if name not in SQUARES:
        raise VprError(f"'{name}' is no test split: choose one of {', '.join(SQUARES)}.")
    pickles = [Path(root) / f"{name}_evaluation_{what}.pickle" for what in ("database", "query")]
    present = [path.is_file() for path in pickles]
    if any(present):
        if not all(present):
            raise VprError(f"{pickles[present.index(False)]} is missing beside the other one; both belong together.")
        return EvaluationSplit.read(*pickles)
    area = "oxford" if name == "oxford" else "inhouse_datasets"
    folders = list_runs(root, area)
    if name == "oxford":
        chosen = oxford_test_runs(folders)
    else:
        if max(INHOUSE_RUNS[name]) >= len(folders):
            raise VprError(f"{Path(root) / area} has {len(folders)} runs, {name} needs all 15; unpack the set again.")
        chosen = [sorted(folders)[i] for i in INHOUSE_RUNS[name]]
    tables = [read_run(root, run, "test", area) for run in chosen]
    return EvaluationSplit.build(tables, SQUARES[name], TRUE_MATCH_M)


def _run_name(paths: Sequence[str]) -> str:
    parts = paths[0].split("/") if paths else []
    return parts[1] if len(parts) > 1 else ""
