"""Projections that a checkpoint may get beside its own: one fitted on training frames, and that one trained further."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, AnyProjection, Projection, StudentConfig
from vpr_ros.student.parts import ReductionConfig, fit_reduction
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.export.projection_training import (
    ProjectionTraining,
    place_batches,
    projection_rows,
    train_projection,
)

SAMPLES_PER_DIM = 8  # that the projection is fitted on; all samples of a smaller set
LEAST_SAMPLES_PER_DIM = 4  # fewer are refused
BATCH = 64  # images that are described together


@dataclass(frozen=True)
class Fitted:
    """Projections by kind: "fitted", and "trained" where it was asked for."""

    projections: dict[str, AnyProjection]
    fitted_on: int = 0  # frames
    frames: int = 0  # that were described, for both


def fit_candidates(
    student: D2VPR,
    training: SampleSet,
    reduction: ReductionConfig,
    *,
    trained: bool,
    own: AnyProjection | None,
    seed: int,
    shrink: bool,
    warn: Callable[[str], None],
) -> Fitted:
    """The projections that training frames allow.

    With fewer than 4 frames per number there are none beside the checkpoint's `own`; without that one, `shrink` makes
    the numbers fewer, and it is a VprError otherwise.
    """
    if own is not None:
        most = max(reduction.dim, reduction.global_dim if reduction.parts(student.config) > 1 else 0)
        if len(training) < LEAST_SAMPLES_PER_DIM * most:
            warn(f"{_too_few(len(training), most)}: the projection stays as it is.")
            return Fitted({})
        try:
            return _fit_candidates(student, training, reduction, trained, seed)
        except VprError as error:
            warn(f"the projection stays as it is: {error}")
            return Fitted({})
    dim = limit_dim(reduction.dim, len(training), shrink, warn)
    return _fit_candidates(student, training, replace(reduction, dim=dim), trained, seed)


def _fit_candidates(
    student: D2VPR, training: SampleSet, reduction: ReductionConfig, trained: bool, seed: int
) -> Fitted:
    rng = np.random.default_rng(seed)
    if trained:
        rows = projection_rows(training, SAMPLES_PER_DIM * reduction.dim)
        raw = embed(student, training.select(rows), BATCH)
        chosen_rows = rng.choice(len(rows), min(len(rows), SAMPLES_PER_DIM * reduction.dim), replace=False)
        fitting = raw[np.sort(chosen_rows)]
    else:
        count = min(len(training), SAMPLES_PER_DIM * reduction.dim)
        rows = np.sort(rng.choice(len(training), count, replace=False))
        fitting = raw = embed(student, training.select(rows), BATCH)
    projections: dict[str, AnyProjection] = {"fitted": _fit(fitting, student.config, reduction)}
    if isinstance(projections["fitted"], Projection) and trained:
        config = ProjectionTraining(seed=seed)
        batches, masks = place_batches(training.select(rows), config)
        projections["trained"] = train_projection(projections["fitted"], raw, batches, masks, config)
    return Fitted(projections, len(fitting), len(raw))


def _fit(raw: np.ndarray, config: StudentConfig, reduction: ReductionConfig) -> AnyProjection:
    """The projection, to no more numbers than each part has."""
    local, *others = config.raw_parts if reduction.parts(config) else (config.descriptor_dim,)
    if reduction.cell_dim:
        local = local // config.dim * reduction.cell_dim
    most = min([reduction.global_dim, len(raw) // LEAST_SAMPLES_PER_DIM, *others])
    return fit_reduction(raw, config, replace(reduction, dim=min(reduction.dim, local), global_dim=most))


def limit_dim(dim: int, frames: int, shrink: bool, warn: Callable[[str], None]) -> int:
    """`dim`, lowered where `shrink` to what `frames` allow: principal axes of few samples do not generalise.

    VprError without `shrink`, and where the frames allow less than 2 dimensions.
    """
    most = frames // LEAST_SAMPLES_PER_DIM
    if dim <= most:
        return dim
    problem = _too_few(frames, dim)
    if not shrink or most < 2:
        raise VprError(f"{problem}: " + (f"ask for {most} or fewer, or add frames." if most > 1 else "add frames."))
    warn(f"{problem}: the descriptors get {most}.")
    return most


def _too_few(frames: int, dim: int) -> str:
    return f"{frames} training frames are too few for {dim} dimensions, {LEAST_SAMPLES_PER_DIM} frames for each"
