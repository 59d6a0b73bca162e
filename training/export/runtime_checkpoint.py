"""From trained weights to a runtime checkpoint: projection from training frames, calibration from validation cities."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.recognition.fitting import fit_calibration
from vpr_ros.recognition.labelling import LabelledSequence, label_by_pose
from vpr_ros.student import D2VPR, fit_projection, save_checkpoint
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training.export.projection_training import (
    ProjectionTraining,
    pair_rows,
    place_batches,
    train_projection,
)

CHECKPOINT = "student.safetensors"  # what a run ends with, in its folder
SAMPLES_PER_DIM = 8  # of the projection's fit, where there are so many
LEAST_PER_DIM = 4  # fewer never
PLACE_RADIUS_M = 10.0
DESCRIBED_AT_ONCE = 64
PROJECTIONS = ("fitted", "trained")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Finished:
    """What came out: the projection that was written, and validation Recall@1 by condition of every one that was made.

    `recalls` has "full" (no projection), "fitted" and, if asked for, "trained"; empty without validation frames.
    """

    fingerprint: str
    dim: int
    frames: int  # that the projection has seen
    projection: str
    recalls: dict[str, dict[str, float]] = field(default_factory=dict)
    calibrated: bool = False


def finish_student(
    student: D2VPR,
    training: SampleSet,
    validation: SampleSet | None,
    out: str | Path,
    provenance: dict,
    *,
    dim: int,
    whiten: float,
    seed: int = 0,
    projection: str = "fitted",
    shrink: bool = True,
    warn: Callable[[str], None] = log.warning,
) -> Finished:
    """Fit what a robot needs beside the weights and write the checkpoint `out`.

    The projection sees training frames only, drawn evenly; the calibration sees validation drives only, each followed
    by a drive of another city, which is off the map. Without validation frames, with too few for a calibration, or with
    a set that has no drives to follow (numbered places, no headings), the checkpoint carries none. `projection`
    "trained" goes on from the fitted one with pairs of training frames. Where the frames are fewer than 4 per
    dimension, `shrink` lowers `dim`, so that a long training is not lost; without it this is a VprError. Warnings for
    the user go to `warn`.
    """
    if projection not in PROJECTIONS:
        raise VprError(f"the projection is '{projection}': choose {' or '.join(PROJECTIONS)}.")
    dim = possible_dim(dim, len(training), shrink, warn)
    rng = np.random.default_rng(seed)
    if projection == "trained":
        rows = pair_rows(training, SAMPLES_PER_DIM * dim)
        raw = embed(student, training.select(rows), DESCRIBED_AT_ONCE)
        some = rng.choice(len(rows), min(len(rows), SAMPLES_PER_DIM * dim), replace=False)
        samples = raw[np.sort(some)]
    else:
        rows = np.sort(rng.choice(len(training), min(len(training), SAMPLES_PER_DIM * dim), replace=False))
        samples = raw = embed(student, training.select(rows), DESCRIBED_AT_ONCE)
    found = {"fitted": fit_projection(samples, min(dim, samples.shape[1]), whiten=whiten)}
    if projection == "trained":
        config = ProjectionTraining(seed=seed)
        found["trained"] = train_projection(found["fitted"], raw, *place_batches(training.select(rows), config), config)
    chosen, recalls, calibration = found[projection], {}, None
    if validation is not None and validation.places is None and validation.headings_rad is not None:
        seen = embed(student, validation, DESCRIBED_AT_ONCE)
        recalls = {"full": recall_by_condition(seen, validation)}
        recalls |= {name: recall_by_condition(one.apply(seen), validation) for name, one in found.items()}
        calibration = _calibration(chosen.apply(seen), validation, warn)
    provenance = provenance | {
        "projection": {"kind": projection, "dim": chosen.dim, "whiten": whiten, "samples": len(samples)},
        "validation": recalls.get(projection, {}),
    }
    fingerprint = save_checkpoint(out, student, chosen, calibration, provenance, half=True)
    return Finished(fingerprint, chosen.dim, len(raw), projection, recalls, calibration is not None)


def possible_dim(dim: int, frames: int, shrink: bool, warn: Callable[[str], None]) -> int:
    """`dim`, or what `frames` allow where `shrink`: directions from few samples do not carry over to other images."""
    most = frames // LEAST_PER_DIM
    if dim <= most:
        return dim
    said = f"{frames} training frames are too few for {dim} dimensions, {LEAST_PER_DIM} frames for each"
    if not shrink or most < 2:
        raise VprError(f"{said}: " + (f"ask for {most} or fewer, or add frames." if most > 1 else "add frames."))
    warn(f"{said}: the descriptors get {most}.")
    return most


def _calibration(descriptors: np.ndarray, samples: SampleSet, warn: Callable[[str], None]) -> dict | None:
    try:
        return fit_calibration(labelled_drives(descriptors, samples), PLACE_RADIUS_M, source="checkpoint").to_dict()
    except VprError as error:
        warn(
            f"no calibration in this checkpoint, the validation drives are not enough ({error}); fit one to the map "
            "with 'vpr_ros calibrate'."
        )
        return None


def _keyframes(descriptors: np.ndarray, samples: SampleSet, rows: np.ndarray) -> Keyframes:
    """Frames of one drive as the map; its poses are its odometry."""
    poses = _poses(samples, rows)
    return Keyframes(
        ids=np.arange(1, len(rows) + 1),
        sessions=np.ones(len(rows), dtype=np.int64),
        stamps_ns=samples.stamps_ns[rows],
        T_map_base=poses,
        T_odom_base=poses,
        descriptors=descriptors[rows].astype(np.float16),
    )


def _poses(samples: SampleSet, rows: np.ndarray) -> np.ndarray:
    if samples.headings_rad is None:
        raise VprError(f"the drives of {samples.name} have no headings")
    planar = np.column_stack([samples.positions_m, samples.headings_rad])
    return np.array([planar_transform(*pose) for pose in planar[rows].tolist()])


def labelled_drives(descriptors: np.ndarray, samples: SampleSet) -> list[LabelledSequence]:
    """Each city's first drive as the map; every other one as queries that go on into the next city."""
    drives_of = {
        city: [np.flatnonzero(samples.drives == d) for d in sorted(set(samples.drives[samples.areas == city]))]
        for city in np.unique(samples.areas)
    }
    cities = list(drives_of)
    sequences = []
    for position, city in enumerate(cities):
        mapped, *queries = drives_of[city]
        keyframes = _keyframes(descriptors, samples, mapped)
        elsewhere = drives_of[cities[(position + 1) % len(cities)]] if len(cities) > 1 else []
        for number, on_map in enumerate(queries):
            if len(on_map) < 2:
                continue  # no time between frames to go on with
            off_map = elsewhere[(number + 1) % len(elsewhere)] if elsewhere else np.empty(0, dtype=np.int64)
            T_on, T_off = _poses(samples, on_map), _poses(samples, off_map)
            truth = label_by_pose(keyframes, T_on, PLACE_RADIUS_M, max_heading_deg=60)
            T_odom = T_on
            if len(off_map):
                # The odometry goes on without a jump into the other city.
                T_off = T_on[-1] @ np.linalg.inv(T_off[0]) @ T_off
                T_odom = np.concatenate([T_on, T_off])
            rows = np.concatenate([on_map, off_map])
            step_ns = int(np.median(np.diff(samples.stamps_ns[on_map])))
            stamps = samples.stamps_ns[on_map[0]] + step_ns * np.arange(len(rows))
            sequences.append(
                LabelledSequence(
                    keyframes,
                    descriptors[rows].astype(np.float16),
                    stamps,
                    T_odom,
                    [*truth, *[np.empty(0, dtype=np.int64)] * len(off_map)],
                )
            )
    return sequences
