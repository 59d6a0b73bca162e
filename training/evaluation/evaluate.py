"""A model on drives of the same places in different conditions: AR@N, AR@1 %, and a table per pair of conditions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation import metrics
from vpr_ros.evaluation.protocols.reduction import Reduction, TrainingDescriptors, fit_reduction
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls, run_pairs
from vpr_ros.evaluation.ranking import HEADING_TOLERANCE_RAD, Measure
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.teachers import Teacher

CONDITION_HEADER = (
    "database condition",
    "query condition",
    "run pairs",
    "queries",
    "skipped",
    "AR@1",
    "AR@5",
    "AR@10",
    "AR@1%",
    "average precision",
    "recall at full precision",
)


@dataclass(frozen=True)
class ModelEvaluation:
    """Figures of one model on one sample set."""

    model: str
    data: str
    recalls: PairRecalls
    descriptors: str = ""  # what was compared: dimensions, and the reduction with what it was fitted on

    @property
    def statement(self) -> str:
        """What the figures mean, to be printed beside them."""
        return f"{self.recalls.statement()} {self.descriptors}".strip()

    def condition_table(self) -> tuple[list[str], list[list]]:
        """Header and one row per (database condition, query condition); the last row is of all pairs together."""
        groups = [(*names, group) for names, group in self.recalls.by_condition().items()]
        rows = []
        for database, query, group in [*groups, ("all", "all", self.recalls)]:
            curve = group.precision_recall()
            rows.append(
                [
                    database,
                    query,
                    len(group.pairs) - group.empty_pairs,
                    group.counted,
                    group.skipped,
                    group.ar(1),
                    group.ar(5),
                    group.ar(10),
                    group.ar1_percent,
                    metrics.average_precision(curve),
                    metrics.recall_at_precision(curve)[0],
                ]
            )
        return list(CONDITION_HEADER), rows


def evaluate_model(
    model: Any,
    samples: SampleSet,
    *,
    radius_m: float = 25.0,
    heading_rad: float | None = None,
    measure: Measure | None = None,
    queries: np.ndarray | None = None,
    reduction: Reduction | None = None,
    renormalise: bool = True,
    batch: int = 32,
    progress: Callable[[int], None] | None = None,
    name: str = "",
) -> ModelEvaluation:
    """Embed all samples and search every run (drive) of an area in every other one.

    model: see `embed`. `measure`: "euclidean" on the embeddings as they are (MinkLoc++), "cosine" (DistilVPR) or "l1";
    None takes the teacher's own, "euclidean" for networks;
    queries (N,) bool: which samples are queries. A `reduction` is applied first, its rows brought to unit length unless
    `renormalise` is False; it is refused if it was fitted on any of these samples. VprError as `embed` and `run_pairs`.
    """
    if reduction is not None:
        reduction.refuse(sample_keys(samples), f"the sample set {samples.name}")
    if heading_rad is not None and samples.headings_rad is None:
        raise VprError(f"the sample set {samples.name} knows no headings: leave the limit on them out.")
    found = embed(model, samples, batch, progress)
    described = f"Embeddings of {found.shape[1]} numbers."
    if reduction is not None:
        found = reduction.projection.apply(found, renormalise=renormalise)
        described = f"Embeddings: {reduction}{', unit length' if renormalise else ''}."
    recalls = run_pairs(
        found,
        np.asarray(samples.positions_m),
        np.asarray(samples.drives),
        np.asarray(samples.areas),
        radius_m=radius_m,
        heading_rad=heading_rad,
        conditions=np.asarray(samples.conditions),
        queries=queries,
        measure=measure or (model.measure if isinstance(model, Teacher) and reduction is None else "euclidean"),
        truth=samples.nearness.truth(radius_m, None if heading_rad is None else heading_rad + HEADING_TOLERANCE_RAD),
    )
    return ModelEvaluation(name or type(model).__name__, samples.name, recalls, described)


def fit_on_samples(
    model: Any,
    training: SampleSet,
    dim: int,
    whiten: float = 0.0,
    *,
    batch: int = 32,
    progress: Callable[[int], None] | None = None,
) -> Reduction:
    """PCA of a model's embeddings of training samples; it records their keys, so that testing on them is refused."""
    found = embed(model, training, batch, progress)
    return fit_reduction(TrainingDescriptors(training.name, found, sample_keys(training)), dim, whiten)


def sample_keys(samples: SampleSet) -> tuple[str, ...]:
    """One key per sample, the same in every set that holds it: area, drive and stamp."""
    columns = samples.areas.tolist(), samples.drives.tolist(), samples.stamps_ns.tolist()
    return tuple(f"{area}/{drive}/{stamp}" for area, drive, stamp in zip(*columns, strict=True))
