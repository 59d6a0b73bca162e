"""Drives whose true places are known: what calibration is fitted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vpr_ros.calibration.comparisons import Comparisons
from vpr_ros.errors import VprError
from vpr_ros.geometry import rows_within
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.statistics import DriveStatistics


@dataclass(frozen=True)
class LabelledSequence:
    """One drive of queries against one map.

    `truth[q]` holds the rows of `keyframes` within the place radius of query q, empty
    where the query is off the map. Queries that are not `known` (None: all are) have no truth and only move the filter.
    `one_drive`: the queries are the keyframes themselves, inserted as the drive goes (self-matches). `repeats`: the
    queries are those of the sequence before, against a map that lacks some of their places. `statistics` are those of
    the keyframes' sessions, as far as they are known (`PlaceMap.statistics`), `parts` the lengths of the descriptors'
    parts (None: one part).
    """

    keyframes: Keyframes
    descriptors: np.ndarray  # (M, dim)
    stamps_ns: np.ndarray  # (M,) int64, rising
    T_odom_base: np.ndarray | None  # (M, 4, 4), NaN rows where unknown
    truth: Sequence[np.ndarray]
    one_drive: bool = False
    statistics: Mapping[int, DriveStatistics] | None = None
    parts: tuple[int, ...] | None = None
    known: np.ndarray | None = None  # (M,) bool
    repeats: bool = False
    comparisons: Comparisons | None = None  # of local features; None: none were kept
    radius: float | None = None  # of its places (metres; frames without poses), where it is not that of the calibration

    def __post_init__(self):
        n = len(self.descriptors)
        odometry = n if self.T_odom_base is None else len(self.T_odom_base)
        known = n if self.known is None else len(self.known)
        if not (len(self.stamps_ns) == len(self.truth) == odometry == known == n):
            raise VprError(f"a labelled drive needs as many stamps, poses and truth sets as its {n} descriptors")

    def counts(self) -> tuple[int, int]:
        """Queries on and off the map, each counted once: of one that repeats only those off it."""
        known = np.ones(len(self.truth), dtype=bool) if self.known is None else self.known
        on = np.array([len(rows) > 0 for rows in self.truth], dtype=bool)
        return 0 if self.repeats else int((known & on).sum()), int((known & ~on).sum())


def hide_stretch(sequence: LabelledSequence, first: int, last: int, margin: int = 0) -> LabelledSequence:
    """The same drive against a map that lacks every true keyframe of the queries first..last-1: an off-map stretch.

    The true keyframes of `margin` queries before and after it are hidden too, so that nothing of it is in view, and
    these queries are not known.
    """
    n = len(sequence.truth)
    begin, end = max(0, first - margin), min(n, last + margin)
    hidden = np.zeros(len(sequence.keyframes), dtype=bool)
    for rows in sequence.truth[begin:end]:
        hidden[rows] = True
    kept = np.flatnonzero(~hidden)
    new_row = np.cumsum(~hidden) - 1
    known = np.ones(n, dtype=bool) if sequence.known is None else sequence.known.copy()
    known[begin:first] = known[last:end] = False
    return replace(
        sequence,
        keyframes=sequence.keyframes.select(kept),
        truth=[new_row[rows[~hidden[rows]]] for rows in sequence.truth],
        known=known,
        repeats=True,
        comparisons=None if sequence.comparisons is None else sequence.comparisons.select(keyframes=kept),
    )


def longest_session(keyframes: Keyframes) -> Keyframes:
    """Of a map; VprError where it has none."""
    sessions, counts = np.unique(keyframes.sessions, return_counts=True)
    if not len(sessions):
        raise VprError("the map has no keyframes to calibrate on: map a drive first")
    return keyframes.select(keyframes.sessions == sessions[np.argmax(counts)])


def path_of(keyframes: Keyframes) -> np.ndarray | None:
    """Poses (N, 4, 4) that tell how the keyframes lie to one another: the map's, else odometry's; None without both."""
    for poses in (keyframes.T_map_base, keyframes.T_odom_base):
        if np.isfinite(poses).all():
            return poses
    return None


def self_matches(
    keyframes: Keyframes, radius: float, min_gap_s: float = 30.0, parts: tuple[int, ...] | None = None
) -> LabelledSequence:
    """The longest session of a map matched against its own past.

    True are earlier keyframes within `radius` (map poses, else odometry poses, whose drift then blurs the labels)
    taken at least `min_gap_s` before. Raises VprError for sessions without poses: see `split_matches`.
    """
    drive = longest_session(keyframes)
    poses = path_of(drive)
    if poses is None:
        raise VprError("self-matches need poses or odometry on every keyframe: calibrate on a labelled drive instead")
    stamps, positions = drive.stamps_ns, poses[:, :3, 3]
    truth = [
        rows[(rows < row) & (stamps[row] - stamps[rows] >= min_gap_s * 1e9)]
        for row, rows in enumerate(rows_within(positions, positions, radius))
    ]
    odometry = drive.T_odom_base if np.isfinite(drive.T_odom_base).any() else None
    return LabelledSequence(
        drive, np.asarray(drive.descriptors), drive.stamps_ns, odometry, truth, one_drive=True, parts=parts
    )
