"""From trained weights to a runtime checkpoint: projection from training frames, calibration from validation cities."""

from pathlib import Path

import numpy as np

from vpr_ros.geometry import planar_transform
from vpr_ros.recognition.fitting import fit_calibration
from vpr_ros.recognition.labelling import LabelledSequence, label_by_pose
from vpr_ros.student import D2VPR, Projection, fit_projection, save_checkpoint

from ..data.training_set import FrameTable
from ..retrieval import describe_frames, recall_by_condition

SAMPLES_PER_DIM = 8  # of the projection's fit
PLACE_RADIUS_M = 10.0


def finish_student(
    student: D2VPR,
    training: FrameTable,
    validation: FrameTable | None,
    out: str | Path,
    provenance: dict,
    *,
    dim: int,
    whiten: float,
    seed: int = 0,
) -> dict:
    """Fit what a robot needs beside the weights and write the checkpoint `out`; returns validation recalls by
    condition.

    The projection sees training frames only, drawn evenly; the calibration sees validation drives only, each followed
    by a drive of another city, which is off the map. Without validation frames the checkpoint carries no calibration.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(training), min(len(training), SAMPLES_PER_DIM * dim), replace=False))
    samples, _ = describe_frames(student, training.select(rows))
    projection = fit_projection(samples, min(dim, samples.shape[1], len(samples) // 4), whiten=whiten)
    recalls, calibration = {}, None
    if validation is not None:
        raw, _ = describe_frames(student, validation)
        descriptors = projection.apply(raw)
        recalls = recall_by_condition(descriptors, validation)
        fitted = fit_calibration(labelled_drives(descriptors, validation), PLACE_RADIUS_M, source="checkpoint")
        calibration = fitted.to_dict()
    provenance = provenance | {
        "projection": {"dim": projection.dim, "whiten": whiten, "samples": len(samples)},
        "validation": recalls,
    }
    save_checkpoint(
        out, student, Projection(projection.mean, projection.matrix, whiten), calibration, provenance, half=True
    )
    return recalls


class _Keyframes:
    """A mapped drive as the recogniser takes it."""

    def __init__(self, descriptors: np.ndarray, table: FrameTable, rows: np.ndarray):
        self.ids = np.arange(1, len(rows) + 1)
        self.sessions = np.ones(len(rows), dtype=np.int64)
        self.stamps_ns = table.stamps_ns[rows]
        self.T_map_base = _poses(table, rows)
        self.T_odom_base = self.T_map_base
        self.descriptors = descriptors[rows].astype(np.float16)


def _poses(table: FrameTable, rows: np.ndarray) -> np.ndarray:
    planar = np.column_stack([table.positions_m, table.headings_rad])
    return np.array([planar_transform(*pose) for pose in planar[rows].tolist()])


def labelled_drives(descriptors: np.ndarray, table: FrameTable) -> list[LabelledSequence]:
    """Each city's first drive as the map; every other one as queries that go on into the next city."""
    drives_of = {
        city: [np.flatnonzero(table.drives == d) for d in sorted(set(table.drives[table.cities == city]))]
        for city in np.unique(table.cities)
    }
    cities = list(drives_of)
    sequences = []
    for position, city in enumerate(cities):
        mapped, *queries = drives_of[city]
        keyframes = _Keyframes(descriptors, table, mapped)
        elsewhere = drives_of[cities[(position + 1) % len(cities)]] if len(cities) > 1 else []
        for number, on_map in enumerate(queries):
            off_map = elsewhere[(number + 1) % len(elsewhere)] if elsewhere else np.empty(0, dtype=np.int64)
            T_on, T_off = _poses(table, on_map), _poses(table, off_map)
            truth = label_by_pose(keyframes, T_on, PLACE_RADIUS_M, max_heading_deg=60)
            T_odom = T_on
            if len(off_map):
                # The odometry goes on without a jump into the other city.
                T_off = T_on[-1] @ np.linalg.inv(T_off[0]) @ T_off
                T_odom = np.concatenate([T_on, T_off])
            rows = np.concatenate([on_map, off_map])
            step_ns = int(np.median(np.diff(table.stamps_ns[on_map])))
            stamps = table.stamps_ns[on_map[0]] + step_ns * np.arange(len(rows))
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
