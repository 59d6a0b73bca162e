"""Ground truth: which keyframes show the place of a query, from poses, from pairs, or from file names.

There are three kinds of query. *On the map*: at least one keyframe shows its place. *Off the map*: it is known that
none does, so that every acceptance is wrong. *Without truth*: it is not known (no pose at that time, not listed); such
queries are left out of all figures.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.evaluation.ranking import HEADING_TOLERANCE_RAD
from vpr_ros.geometry import planar_transform, rows_within, turn_between, yaw_of


@dataclass(frozen=True)
class Truth:
    """`positives[q]`: sorted ids of the keyframes that show query q's place.

    `known` (Q,) is False where there is no ground truth. `query_xy` (Q, 2) and `keyframe_xy` (K, 2) are true positions
    in metres where the truth comes from poses (NaN where unknown), aligned with the queries and `keyframe_ids` (K,).
    """

    positives: tuple[np.ndarray, ...]
    known: np.ndarray
    keyframe_ids: np.ndarray
    rule: str  # one sentence for the report: when a match counts as right
    query_xy: np.ndarray | None = None
    keyframe_xy: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.positives)

    @property
    def on_map(self) -> np.ndarray:
        return self.known & np.array([len(p) > 0 for p in self.positives], dtype=bool)

    @property
    def off_map(self) -> np.ndarray:
        return self.known & ~self.on_map

    def select(self, rows: Sequence[int] | np.ndarray) -> "Truth":
        """The truth of some queries, in the order of `rows`."""
        rows = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            positives=tuple(self.positives[r] for r in rows),
            known=self.known[rows],
            query_xy=None if self.query_xy is None else self.query_xy[rows],
        )


def truth_from_poses(
    query_poses: np.ndarray,
    keyframe_ids: np.ndarray,
    keyframe_poses: np.ndarray,
    radius_m: float = 10.0,
    max_heading_deg: float | None = None,
) -> Truth:
    """Keyframes within `radius_m` (inclusive) of the query's true position and, with `max_heading_deg`, of similar
    heading.

    Poses (Q, 4, 4) and (K, 4, 4) are in one frame with z up; rows with NaN have no truth. Distance is in the plane,
    because satellite positions are less accurate in height.
    """
    query_poses, keyframe_poses = np.asarray(query_poses, float), np.asarray(keyframe_poses, float)
    ids = np.asarray(keyframe_ids, dtype=np.int64)
    if len(ids) != len(keyframe_poses):
        raise VprError(f"{len(ids)} keyframe ids but {len(keyframe_poses)} keyframe poses: pass one pose per keyframe")
    if not radius_m > 0:
        raise VprError(f"the radius must be positive, not {radius_m} m")
    query_xy, keyframe_xy = query_poses[:, :2, 3], keyframe_poses[:, :2, 3]
    positives = rows_within(keyframe_xy, query_xy, radius_m)
    if max_heading_deg is not None:
        limit = np.radians(max_heading_deg) + HEADING_TOLERANCE_RAD
        query_yaw, keyframe_yaw = yaw_of(query_poses), yaw_of(keyframe_poses)
        turns = [turn_between(query_yaw[q], keyframe_yaw[rows]) for q, rows in enumerate(positives)]
        positives = [rows[turn <= limit] for rows, turn in zip(positives, turns, strict=True)]
    heading = "" if max_heading_deg is None else f" and looks the same way within {max_heading_deg:g}°"
    return Truth(
        positives=tuple(np.sort(ids[rows]) for rows in positives),
        known=np.asarray(np.isfinite(query_xy).all(axis=1)),
        keyframe_ids=ids,
        rule=f"A match is right when its keyframe lies within {radius_m:g} m of the query's true position{heading}.",
        query_xy=query_xy,
        keyframe_xy=keyframe_xy,
    )


def truth_from_frames(
    query_numbers: np.ndarray, keyframe_ids: np.ndarray, keyframe_numbers: np.ndarray, tolerance: int
) -> Truth:
    """Two synchronous drives: right when the frame numbers differ by at most `tolerance`."""
    queries, numbers = np.asarray(query_numbers, np.int64), np.asarray(keyframe_numbers, np.int64)
    ids = np.asarray(keyframe_ids, dtype=np.int64)
    if tolerance < 0:
        raise VprError(f"the frame tolerance must be 0 or more, not {tolerance}")
    order = np.argsort(numbers, kind="stable")
    low = np.searchsorted(numbers[order], queries - tolerance, side="left")
    high = np.searchsorted(numbers[order], queries + tolerance, side="right")
    return Truth(
        positives=tuple(np.sort(ids[order[a:b]]) for a, b in zip(low, high, strict=True)),
        known=np.ones(len(queries), dtype=bool),
        keyframe_ids=ids,
        rule=f"A match is right when the frame numbers differ by at most {tolerance}.",
    )


def truth_from_names(query_names: Sequence[str], database_names: Sequence[str]) -> Truth:
    """Right when the file names agree (folders and extensions do not count); ids are rows of `database_names`."""
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(database_names):
        rows.setdefault(PurePath(name).stem, []).append(row)
    return Truth(
        positives=tuple(np.array(rows.get(PurePath(n).stem, []), dtype=np.int64) for n in query_names),
        known=np.ones(len(query_names), dtype=bool),
        keyframe_ids=np.arange(len(database_names), dtype=np.int64),
        rule="A match is right when the two files have the same name.",
    )


def truth_from_utm(
    query_names: Sequence[str],
    database_names: Sequence[str],
    radius_m: float = 25.0,
    max_heading_deg: float | None = None,
) -> Truth:
    """Names such as `@easting@northing@….jpg` (metres), as the public image sets use; right within `radius_m`.

    `max_heading_deg` also compares the headings, the tenth `@`-separated field (degrees from north).
    """

    def poses(names: Sequence[str]) -> np.ndarray:
        out = np.empty((len(names), 4, 4))
        for i, name in enumerate(names):
            fields = PurePath(name).name.split("@")
            try:
                easting, northing = float(fields[1]), float(fields[2])
            except (ValueError, IndexError) as error:
                raise VprError(f"{name} does not hold @easting@northing in its name; choose another --truth") from error
            heading = 0.0
            if max_heading_deg is not None:
                try:
                    heading = np.radians(float(fields[9]))
                except (ValueError, IndexError) as error:
                    raise VprError(f"{name} does not hold a heading in its 10th field; leave headings out") from error
            out[i] = planar_transform(easting, northing, heading)
        return out

    rows = np.arange(len(database_names))
    return truth_from_poses(poses(query_names), rows, poses(database_names), radius_m, max_heading_deg)


def frame_tolerance(spec: str) -> int | None:
    """K of `frames:K`, 0 or more; None for text of another kind. Raises VprError for another K."""
    kind, _, value = spec.partition(":")
    if kind != "frames":
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise VprError(f"--truth {spec!r} is not understood: K of frames:K is a whole number from 0 on, as in frames:2")
    return int(value)
