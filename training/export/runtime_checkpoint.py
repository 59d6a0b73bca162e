"""From trained weights to a runtime checkpoint: projection from training frames, calibration from validation cities."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vpr_ros.calibration import fit_calibration
from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, AnyProjection, Checkpoint, Projection, StudentConfig, save_checkpoint
from vpr_ros.student.parts import ReductionConfig, fit_reduction, lengths_of
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training.export.projection_training import (
    ProjectionTraining,
    place_batches,
    projection_rows,
    train_projection,
)
from vpr_ros.training.export.validation_drives import PLACE_RADIUS_M, labelled_drives

ProjectionKind = Literal["fitted", "trained", "kept"]
CHECKPOINT = "student.safetensors"  # name of the result in a run's folder
SAMPLES_PER_DIM = 8  # that the projection is fitted on; all samples of a smaller set
LEAST_SAMPLES_PER_DIM = 4  # fewer are refused
BATCH = 64  # images that are described together
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedStudent:
    """The checkpoint that was written, and validation Recall@1 by condition with every projection that was made.

    `recalls` has the keys "full" (no projection), "fitted" and, for a trained projection, "trained", or "kept" for the
    checkpoint's own; it is empty without validation frames.
    """

    fingerprint: str
    dim: int
    frames: int  # that the projection was fitted or trained on
    projection: ProjectionKind
    recalls: dict[str, dict[str, float]] = field(default_factory=dict)
    calibrated: bool = False


def export_student(
    student: D2VPR,
    training: SampleSet,
    validation: SampleSet | None,
    out: str | Path,
    provenance: dict,
    *,
    dim: int,
    whiten: float,
    seed: int = 0,
    projection: ProjectionKind = "fitted",
    shrink: bool = True,
    parts: ReductionConfig | None = None,
    warn: Callable[[str], None] = log.warning,
) -> ExportedStudent:
    """Fit the projection and the calibration of a student and write the checkpoint `out`.

    The projection is fitted on uniformly sampled training frames only, the calibration on validation drives only
    (`labelled_drives`). The checkpoint has no calibration without validation
    frames, with too few of them, or with a set without sequences (numbered places, no headings). `projection`
    "trained" trains the fitted one on pairs of training frames, for a student of one part. `parts` says how the parts
    of a student, or its single regions, are reduced; its `dim` and `whiten` are those of the arguments. With fewer than
    4 frames per dimension, `shrink` lowers `dim`, so that the result of a long training is kept; without `shrink` this
    is a VprError. `warn` gets the warnings for the user.
    """
    if projection not in get_args(ProjectionKind):
        raise VprError(f"the projection is '{projection}': choose {' or '.join(get_args(ProjectionKind))}.")
    reduction = replace(parts or ReductionConfig(), dim=limit_dim(dim, len(training), shrink, warn), whiten=whiten)
    dim = reduction.dim
    if projection == "kept":
        raise VprError("a projection is kept where a checkpoint that has one is calibrated, not where one is fitted.")
    if projection == "trained" and reduction.parts(student.config):
        raise VprError("a projection is trained for students of one part alone: leave it fitted.")
    rng = np.random.default_rng(seed)
    if projection == "trained":
        rows = projection_rows(training, SAMPLES_PER_DIM * dim)
        raw = embed(student, training.select(rows), BATCH)
        chosen_rows = rng.choice(len(rows), min(len(rows), SAMPLES_PER_DIM * dim), replace=False)
        fitting = raw[np.sort(chosen_rows)]
    else:
        rows = np.sort(rng.choice(len(training), min(len(training), SAMPLES_PER_DIM * dim), replace=False))
        fitting = raw = embed(student, training.select(rows), BATCH)
    projections: dict[str, AnyProjection] = {"fitted": _fit(fitting, student.config, reduction)}
    if isinstance(projections["fitted"], Projection) and projection == "trained":
        config = ProjectionTraining(seed=seed)
        batches, masks = place_batches(training.select(rows), config)
        projections["trained"] = train_projection(projections["fitted"], raw, batches, masks, config)
    described: dict = {"kind": projection, "dim": projections[projection].dim, "whiten": whiten}
    described["samples"] = len(fitting)
    if reduction.parts(student.config):
        described["parts"] = str(projections[projection])
    provenance = provenance | {"projection": described}
    return _write(student, projections, projection, validation, out, provenance, len(raw), warn)


def calibrate_student(
    checkpoint: Checkpoint,
    validation: SampleSet,
    out: str | Path,
    warn: Callable[[str], None] = log.warning,
) -> ExportedStudent:
    """Write a checkpoint again, with its projection as it is and a calibration on validation drives.

    Where its matrices were stored in half precision the fingerprint stays. VprError where it has no projection.
    """
    if checkpoint.projection is None:
        raise VprError("the checkpoint has no projection to keep: have one fitted on training frames.")
    provenance = dict(checkpoint.metadata.get("provenance") or {})
    return _write(checkpoint.model, {"kept": checkpoint.projection}, "kept", validation, out, provenance, 0, warn)


def _write(
    student: D2VPR,
    projections: dict[str, AnyProjection],
    projection: ProjectionKind,
    validation: SampleSet | None,
    out: str | Path,
    provenance: dict,
    frames: int,
    warn: Callable[[str], None],
) -> ExportedStudent:
    """The checkpoint with the projection of this kind, calibrated where validation drives allow it."""
    chosen, recalls, calibration = projections[projection], {}, None
    if validation is not None and validation.places is None and validation.headings_rad is not None:
        descriptors = embed(student, validation, BATCH)
        recalls = {"full": recall_by_condition(descriptors, validation)}
        recalls |= {name: recall_by_condition(one.apply(descriptors), validation) for name, one in projections.items()}
        calibration = _calibration(chosen.apply(descriptors), lengths_of(student.config, chosen), validation, warn)
    provenance = provenance | {"validation": recalls.get(projection, {})}
    fingerprint = save_checkpoint(out, student, chosen, calibration, provenance, half=True)
    return ExportedStudent(fingerprint, chosen.dim, frames, projection, recalls, calibration is not None)


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
    problem = f"{frames} training frames are too few for {dim} dimensions, {LEAST_SAMPLES_PER_DIM} frames for each"
    if not shrink or most < 2:
        raise VprError(f"{problem}: " + (f"ask for {most} or fewer, or add frames." if most > 1 else "add frames."))
    warn(f"{problem}: the descriptors get {most}.")
    return most


def _calibration(
    descriptors: np.ndarray, parts: tuple[int, ...], samples: SampleSet, warn: Callable[[str], None]
) -> dict | None:
    try:
        drives = labelled_drives(descriptors, samples, parts)
        return fit_calibration(drives, PLACE_RADIUS_M, source="checkpoint").to_dict()
    except VprError as error:
        warn(
            f"no calibration in this checkpoint, the validation drives are not enough ({error}); fit one to the map "
            "with 'vpr_ros calibrate'."
        )
        return None
