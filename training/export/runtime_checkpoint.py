"""From trained weights to a runtime checkpoint: projection from training frames, calibration from validation cities."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vpr_ros.calibration import fit_calibration
from vpr_ros.calibration.comparisons import Pictures
from vpr_ros.calibration.fitting import fit_local
from vpr_ros.errors import VprError
from vpr_ros.local_features import LocalExtractor, LocalFeatures
from vpr_ros.recognition.calibration import Calibration, LocalWeighing
from vpr_ros.student import D2VPR, AnyProjection, Checkpoint, save_checkpoint
from vpr_ros.student.parts import ReductionConfig, lengths_of
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import Queries
from vpr_ros.training.export.candidates import BATCH, fit_candidates
from vpr_ros.training.export.validation_drives import PLACE_RADIUS_M, labelled_drives

ProjectionKind = Literal["best", "fitted", "trained", "kept"]
CHECKPOINT = "student.safetensors"  # name of the result in a run's folder
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ExportedStudent:
    """The checkpoint that was written, and validation Recall@1 by condition with every projection that was made.

    `projection` is the kind of the one it has. `recalls` has the keys "full" (no projection), "fitted" and, for a
    trained projection, "trained", or "kept" for the checkpoint's own; it is empty without validation queries.
    """

    fingerprint: str
    dim: int
    frames: int  # that the projection was fitted or trained on
    projection: str
    recalls: dict[str, dict[str, float]] = field(default_factory=dict)
    calibrated: bool = False

    @property
    def sentence(self) -> str:
        """Which projection it has and, where there was a choice, what each recognises."""
        named = {"kept": "the student's own", "fitted": "one fitted on training frames", "trained": "a trained one"}
        sentence = f"the projection is {named[self.projection]}, {self.dim} numbers per descriptor"
        others = [kind for kind in ("kept", "fitted") if kind in self.recalls and kind != self.projection]
        if not others:
            return sentence
        recalls = {kind: f"{self.recalls[kind]['all']:.3f}" for kind in (self.projection, *others)}
        compared = ", ".join(f"{named[kind]} {recalls[kind]}" for kind in others)
        return f"{sentence}: it recognises {recalls[self.projection]} of the validation queries, {compared}"


@dataclass(frozen=True)
class Measured:
    """Validation frames as a student describes them, and which queries (Q,) each projection answers right."""

    descriptors: np.ndarray  # (N, D), raw
    queries: Queries
    right: Mapping[str, np.ndarray]

    @property
    def recalls(self) -> dict[str, dict[str, float]]:
        """By projection and condition; empty where there is no query."""
        return {kind: self.queries.recalls(right) for kind, right in self.right.items()} if len(self.queries) else {}


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
    projection: ProjectionKind = "best",
    own: AnyProjection | None = None,
    shrink: bool = True,
    parts: ReductionConfig | None = None,
    warn: Callable[[str], None] = log.warning,
    accept: Callable[[np.ndarray], dict] | None = None,
) -> ExportedStudent:
    """Fit the projection and the calibration of a student and write the checkpoint `out`.

    The projection is fitted on uniformly sampled training frames only, the calibration on validation drives only
    (`labelled_drives`). The checkpoint has no calibration without validation frames, with too few of them, or with a
    set without sequences (numbered places, no headings). `projection` "best" keeps the student's `own` one, of the
    checkpoint that it started from, unless the fitted one recognises more validation queries; without any it takes the
    fitted one, and without `own` as well. "trained" trains the fitted one on pairs of training frames, for a student of
    one part. `parts` says how the parts of a student, or its single regions, are reduced; its `dim` and `whiten` are
    those of the arguments. With fewer than 4 frames per dimension the own one stays; without it `shrink` lowers `dim`,
    so that the result of a long training is kept, and without `shrink` this is a VprError. `warn` gets the warnings for
    the user. `accept` gets which validation queries (Q,), where there are some, the result answers right, before it is
    written; it returns what the provenance says of them, or raises.
    """
    if projection not in get_args(ProjectionKind):
        raise VprError(f"the projection is '{projection}': choose {' or '.join(get_args(ProjectionKind))}.")
    if projection == "kept":
        raise VprError("a projection is kept where a checkpoint that has one is calibrated, not where one is fitted.")
    reduction = replace(parts or ReductionConfig(), dim=dim, whiten=whiten)
    if projection == "trained" and reduction.parts(student.config):
        raise VprError("a projection is trained for students of one part alone: leave it fitted.")
    own = own if projection == "best" else None
    fitted = fit_candidates(
        student, training, reduction, trained=projection == "trained", own=own, seed=seed, shrink=shrink, warn=warn
    )
    candidates = fitted.projections if own is None else {"kept": own, **fitted.projections}
    measured = measure(student, validation, candidates)
    kind = _best(candidates, measured) if projection == "best" else projection
    described: dict = {"kind": kind, "dim": candidates[kind].dim}
    if kind != "kept":
        described |= {"whiten": whiten, "samples": fitted.fitted_on}
    if reduction.parts(student.config):
        described["parts"] = str(candidates[kind])
    provenance = provenance | {"projection": described}
    if accept is not None and measured is not None and len(measured.queries):
        provenance |= accept(measured.right[kind])
    frames = 0 if kind == "kept" else fitted.frames
    return _write(student, candidates[kind], kind, validation, measured, out, provenance, frames, warn)


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
    measured = measure(checkpoint.model, validation, {"kept": checkpoint.projection})
    return _write(checkpoint.model, checkpoint.projection, "kept", validation, measured, out, provenance, 0, warn)


def weigh_local_features(
    checkpoint: Checkpoint, validation: SampleSet, out: str | Path, extractor: LocalExtractor
) -> LocalWeighing:
    """Write a checkpoint again as it is, its calibration now also saying how local features are weighed.

    That is fitted on validation drives (`labelled_drives`), whose pictures `extractor` describes. VprError where the
    checkpoint has no calibration or projection, and where the drives are not enough.
    """
    if checkpoint.projection is None or checkpoint.calibration_json is None:
        raise VprError("local features are weighed beside a calibration: fit that first, without local features.")
    base = Calibration.from_dict(checkpoint.calibration_json)
    descriptors = checkpoint.projection.apply(embed(checkpoint.model, validation, BATCH))
    pictures = Pictures(extractor.kind, lambda row: _local_features(extractor, validation, row))
    parts = lengths_of(checkpoint.model.config, checkpoint.projection)
    local = fit_local(labelled_drives(descriptors, validation, parts, pictures), base)
    calibration = replace(base, local=local).to_dict()
    provenance = dict(checkpoint.metadata.get("provenance") or {}) | {"local_features": validation.name}
    save_checkpoint(out, checkpoint.model, checkpoint.projection, calibration, provenance, half=True)
    return local


def _local_features(extractor: LocalExtractor, samples: SampleSet, row: int) -> LocalFeatures | None:
    image = samples.read(row, ("image",)).image
    return None if image is None else extractor.extract([image])[0]


def measure(student: D2VPR, validation: SampleSet | None, projections: Mapping[str, AnyProjection]) -> Measured | None:
    """The validation frames by the network alone, "full", and by each projection; None without them."""
    if validation is None:
        return None
    descriptors, queries = embed(student, validation, BATCH), Queries(validation)
    right = {"full": queries.right(descriptors)}
    right |= {kind: queries.right(one.apply(descriptors)) for kind, one in projections.items()}
    return Measured(descriptors, queries, right)


def _best(candidates: Mapping[str, AnyProjection], measured: Measured | None) -> str:
    """The kind of the projection to take; a tie goes to the one that is there already."""
    if "kept" not in candidates or "fitted" not in candidates:
        return next(iter(candidates))
    if measured is None or not len(measured.queries):
        return "fitted"
    return "fitted" if measured.right["fitted"].sum() > measured.right["kept"].sum() else "kept"


def _write(
    student: D2VPR,
    chosen: AnyProjection,
    kind: str,
    validation: SampleSet | None,
    measured: Measured | None,
    out: str | Path,
    provenance: dict,
    frames: int,
    warn: Callable[[str], None],
) -> ExportedStudent:
    """The checkpoint with this projection, calibrated where validation drives allow it."""
    recalls, calibration = {} if measured is None else measured.recalls, None
    if validation is not None and measured is not None and validation.places is None:
        if validation.headings_rad is not None:
            descriptors = chosen.apply(measured.descriptors)
            calibration = _calibration(descriptors, lengths_of(student.config, chosen), validation, warn)
    provenance = provenance | {"validation": recalls.get(kind, {})}
    fingerprint = save_checkpoint(out, student, chosen, calibration, provenance, half=True)
    return ExportedStudent(fingerprint, chosen.dim, frames, kind, recalls, calibration is not None)


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
