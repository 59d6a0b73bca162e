"""Drives whose true places are known: what calibration is fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import turn_between, yaw_of


@dataclass(frozen=True)
class LabelledSequence:
    """One drive of queries against one map.

    `keyframes` as for Recogniser; `truth[q]` holds the rows of `keyframes` within the place radius of query q, empty
    where the query is off the map. `one_drive`: the queries are the keyframes themselves, inserted as the drive goes
    (self-matches).
    """

    keyframes: Any
    descriptors: np.ndarray  # (M, dim)
    stamps_ns: np.ndarray  # (M,) int64, rising
    T_odom_base: np.ndarray | None  # (M, 4, 4), NaN rows where unknown
    truth: Sequence[np.ndarray]
    one_drive: bool = False

    def __post_init__(self):
        n = len(self.descriptors)
        odometry = n if self.T_odom_base is None else len(self.T_odom_base)
        if not (len(self.stamps_ns) == len(self.truth) == odometry == n):
            raise VprError(f"a labelled drive needs as many stamps, poses and truth sets as its {n} descriptors")


def label_by_pose(
    keyframes: Any, T_map_query: np.ndarray, radius_m: float, max_heading_deg: float | None = None
) -> list[np.ndarray]:
    """Rows of the keyframes within `radius_m` of each query pose (M, 4, 4) of the same frame; NaN poses are
    VprErrors."""
    if not np.isfinite(T_map_query).all():
        raise VprError("some queries have no true pose: leave them out of the labelled drive")
    known = np.flatnonzero(np.isfinite(keyframes.T_map_base).all(axis=(1, 2)))
    positions, yaws = keyframes.T_map_base[known, :3, 3], yaw_of(keyframes.T_map_base[known])
    truth = []
    for T in T_map_query:
        near = np.linalg.norm(positions - T[:3, 3], axis=1) <= radius_m
        if max_heading_deg is not None:
            turn = turn_between(yaws, yaw_of(T))
            near &= turn <= np.radians(max_heading_deg)
        truth.append(known[near])
    return truth


def label_by_frames(true_rows: np.ndarray, tolerance: int, n_keyframes: int) -> list[np.ndarray]:
    """Rows within `tolerance` frames of the true row (M,) of each query; a negative true row means off the map."""
    return [
        np.arange(max(0, row - tolerance), min(n_keyframes, row + tolerance + 1))
        if row >= 0
        else np.empty(0, dtype=np.int64)
        for row in np.asarray(true_rows, dtype=np.int64).tolist()
    ]


def hide_stretch(sequence: LabelledSequence, first: int, last: int) -> LabelledSequence:
    """The same drive against a map that lacks every true keyframe of the queries first..last-1: an off-map stretch."""
    n = len(sequence.keyframes.ids)
    hidden = np.zeros(n, dtype=bool)
    for rows in sequence.truth[first:last]:
        hidden[rows] = True
    kept = np.flatnonzero(~hidden)
    new_row = np.cumsum(~hidden) - 1
    return replace(
        sequence,
        keyframes=select_rows(sequence.keyframes, kept),
        truth=[new_row[rows[~hidden[rows]]] for rows in sequence.truth],
    )


def self_matches(keyframes: Any, radius: float, min_gap_s: float = 30.0) -> LabelledSequence:
    """The longest session of a map matched against its own past.

    True are earlier keyframes within `radius` (map poses, else odometry poses, whose drift then blurs the labels)
    taken at least `min_gap_s` before. Raises VprError for sessions without poses.
    """
    sessions, counts = np.unique(keyframes.sessions, return_counts=True)
    if not len(sessions):
        raise VprError("the map has no keyframes to calibrate on: map a drive first")
    drive = select_rows(keyframes, np.flatnonzero(keyframes.sessions == sessions[np.argmax(counts)]))
    poses = drive.T_map_base if np.isfinite(drive.T_map_base).all() else drive.T_odom_base
    if not np.isfinite(poses).all():
        raise VprError("self-matches need poses or odometry on every keyframe: calibrate on a labelled drive instead")
    truth = []
    for row in range(len(drive.ids)):
        old = drive.stamps_ns[row] - drive.stamps_ns[:row] >= min_gap_s * 1e9
        near = np.linalg.norm(poses[:row, :3, 3] - poses[row, :3, 3], axis=1) <= radius
        truth.append(np.flatnonzero(old & near))
    odometry = drive.T_odom_base if np.isfinite(drive.T_odom_base).any() else None
    return LabelledSequence(drive, drive.descriptors, drive.stamps_ns, odometry, truth, one_drive=True)


@dataclass(frozen=True)
class _Rows:
    ids: np.ndarray
    sessions: np.ndarray
    stamps_ns: np.ndarray
    T_map_base: np.ndarray
    T_odom_base: np.ndarray
    descriptors: np.ndarray


def select_rows(keyframes: Any, rows: np.ndarray) -> Any:
    """Keyframe arrays reduced to some rows."""
    return _Rows(**{name: np.asarray(getattr(keyframes, name))[rows] for name in _Rows.__dataclass_fields__})
