"""From trained weights to a runtime checkpoint: projection from training frames, calibration from validation cities."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from vpr_ros.calibration import LabelledSequence, fit_calibration, label_by_pose
from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.place_map.keyframes import Keyframes
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

ProjectionKind = Literal["fitted", "trained", "kept"]
CHECKPOINT = "student.safetensors"  # name of the result in a run's folder
SAMPLES_PER_DIM = 8  # that the projection is fitted on; all samples of a smaller set
LEAST_SAMPLES_PER_DIM = 4  # fewer are refused
PLACE_RADIUS_M = 10.0
MAP_CITIES = 4  # of a map that is calibrated on: a larger one has more that looks alike
OFF_MAP_CITIES = 3  # that a drive goes on through
CITY_SPACING_M = 1e5  # in that map
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


def _keyframes(descriptors: np.ndarray, samples: SampleSet, drives: Sequence[np.ndarray]) -> Keyframes:
    """Frames of drives through different cities as the sessions of one map; their true poses serve as odometry."""
    rows = np.concatenate(drives)
    poses = np.concatenate([_apart(number) @ _poses(samples, drive) for number, drive in enumerate(drives)])
    return Keyframes(
        ids=np.arange(1, len(rows) + 1),
        sessions=np.repeat(np.arange(1, len(drives) + 1), [len(drive) for drive in drives]),
        stamps_ns=samples.stamps_ns[rows],
        T_map_base=poses,
        T_odom_base=poses,
        descriptors=descriptors[rows].astype(np.float16),
    )


def _apart(number: int) -> np.ndarray:
    """Where the city of this number lies in the map: none touches another."""
    return planar_transform(number * CITY_SPACING_M, 0.0, 0.0)


def _poses(samples: SampleSet, rows: np.ndarray) -> np.ndarray:
    if samples.headings_rad is None:
        raise VprError(f"the drives of {samples.name} have no headings")
    planar = np.column_stack([samples.positions_m, samples.headings_rad])
    return np.array([planar_transform(*pose) for pose in planar[rows].tolist()])


def labelled_drives(
    descriptors: np.ndarray, samples: SampleSet, parts: tuple[int, ...] | None = None
) -> list[LabelledSequence]:
    """Every drive of a city but its first one as queries, against a map of the first drives of it and the next cities.

    The map has up to MAP_CITIES of them, at most half of all. A robot that leaves its map stays away for long, and the
    longer it does, the likelier it meets a street that looks like a mapped one for a while: each sequence goes on
    through up to OFF_MAP_CITIES cities that are not in the map, odometry running on, every second one before its street
    ends. `parts` are the lengths of the descriptors' parts (None: one part).
    """
    drives_of = {
        city: [np.flatnonzero(samples.drives == d) for d in sorted(set(samples.drives[samples.areas == city]))]
        for city in np.unique(samples.areas)
    }
    cities = list(drives_of)
    mapped = min(MAP_CITIES, max(1, len(cities) // 2))
    sequences = []
    for position in range(len(cities)):
        ordered = [cities[(position + i) % len(cities)] for i in range(len(cities))]
        keyframes = _keyframes(descriptors, samples, [drives_of[city][0] for city in ordered[:mapped]])
        following = ordered[mapped : mapped + OFF_MAP_CITIES]
        for number, on_map in enumerate(drives_of[ordered[0]][1:]):
            if number % 2:
                on_map = on_map[: 2 * len(on_map) // 3]  # this robot turns off where the map goes on
            if len(on_map) < 2:
                continue  # no interval between frames to continue with
            T_odom = _poses(samples, on_map)
            truth = label_by_pose(keyframes, T_odom, PLACE_RADIUS_M, max_heading_deg=60)
            step_ns = int(np.median(np.diff(samples.stamps_ns[on_map])))
            step_m = float(np.median(np.linalg.norm(np.diff(T_odom[:, :3, 3], axis=0), axis=1)))
            # Between two cities lies a stretch without images as long as a place reaches: odometry that stood still
            # while the view changed altogether would teach that a robot off the map is mostly believed to be on it.
            unseen = math.ceil(PLACE_RADIUS_M / max(step_m, 0.1))
            T_gap = planar_transform(unseen * step_m, 0.0, 0.0)
            rows, steps = on_map, np.arange(len(on_map))
            for other in following:
                away = drives_of[other][(number + 1) % len(drives_of[other])]
                T_away = _poses(samples, away)
                T_odom = np.concatenate([T_odom, T_odom[-1] @ T_gap @ np.linalg.inv(T_away[0]) @ T_away])
                rows = np.concatenate([rows, away])
                steps = np.concatenate([steps, steps[-1] + unseen + np.arange(len(away))])
            stamps = samples.stamps_ns[on_map[0]] + step_ns * steps
            sequences.append(
                LabelledSequence(
                    keyframes,
                    descriptors[rows].astype(np.float16),
                    stamps,
                    T_odom,
                    [*truth, *[np.empty(0, dtype=np.int64)] * (len(rows) - len(on_map))],
                    parts=parts,
                )
            )
    return sequences
