"""All keyframes of a map as aligned arrays, and the rows that they are stored in."""

import sqlite3
from dataclasses import dataclass, fields
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import make_transform, matrix_to_quaternion
from vpr_ros.place_map.descriptors import Reading, StoredDescriptors, missing
from vpr_ros.place_map.schema import POSE_COLUMNS

PoseRow: TypeAlias = tuple[float | None, ...]  # x y z qx qy qz qw, all None where there is no pose
_CHUNK = 8192


@dataclass(frozen=True)
class Keyframes:
    """N keyframes; row i of every array belongs to the same keyframe.

    Of a whole map they are sorted by (session, stamp). `PlaceMap.poses` reads them without descriptors, sorted by id.
    """

    ids: np.ndarray  # (N,) int64, permanent
    sessions: np.ndarray  # (N,) int64
    stamps_ns: np.ndarray  # (N,) int64, of the image
    T_map_base: np.ndarray  # (N, 4, 4) float64, NaN where the keyframe has no such pose
    T_odom_base: np.ndarray  # (N, 4, 4) float64, NaN likewise; drifts, and each session has its own origin
    # (N, dim) float16 unit rows; (N, 0) where they were not read; of a large map they are read as they are asked for
    descriptors: np.ndarray | StoredDescriptors

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_pose(self) -> np.ndarray:
        """(N,) bool: which keyframes have T_map_base."""
        return np.isfinite(self.T_map_base[:, 0, 0])

    def rows_of(self, ids: ArrayLike) -> np.ndarray:
        """Row of each keyframe id (M,), -1 for an id that is not there."""
        order = np.argsort(self.ids)
        wanted = np.asarray(ids, dtype=np.int64)
        if not len(order):
            return np.full(wanted.shape, -1, dtype=np.int64)
        position = np.minimum(np.searchsorted(self.ids, wanted, sorter=order), len(order) - 1)
        rows = order[position]
        return np.where(self.ids[rows] == wanted, rows, -1)

    def select(self, rows: np.ndarray) -> "Keyframes":
        """The keyframes of these rows or of this mask."""
        return Keyframes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


def pose_row(T: np.ndarray | None, name: str) -> PoseRow:
    """Seven numbers x y z qx qy qz qw (or seven None) of a 4x4 pose; FrameError when it is no rigid transform."""
    if T is None:
        return (None,) * 7
    pose = np.asarray(T, dtype=np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise FrameError(f"{name} is not a finite 4x4 pose: the frame is skipped")
    R = pose[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0:
        raise FrameError(f"{name} is not a rigid transform (its rotation is not orthonormal): the frame is skipped")
    return (*pose[:3, 3].tolist(), *matrix_to_quaternion(R).tolist())


def poses_from_rows(rows: np.ndarray) -> np.ndarray:
    """4x4 poses (N, 4, 4) of rows (N, 7) x y z qx qy qz qw; NaN rows give NaN poses. VprError for a zero quaternion."""
    T = np.full((len(rows), 4, 4), np.nan)
    known = np.isfinite(rows).all(axis=1)
    try:
        T[known] = make_transform(rows[known, :3], rows[known, 3:])
    except ValueError as error:
        raise VprError(f"a pose of the map is damaged ({error}): restore a copy or map the drive again") from error
    return T


def load_keyframes(db: sqlite3.Connection, dim: int, reading: Reading | None = None) -> Keyframes:
    """Read every keyframe; with `reading`, which gives the connection again, their descriptors when they are asked for.

    Raises VprError when a descriptor is missing or has another length.
    """
    # From the table alone: an index has values of its own, which no sum covers.
    source, order = "FROM keyframes k NOT INDEXED", "ORDER BY k.id"
    whole = np.array(db.execute(f"SELECT id, session, stamp_ns {source} {order}").fetchall(), dtype=np.int64)
    whole = whole.reshape(-1, 3)
    row_of = np.empty(len(whole), dtype=np.int64)  # in the order of sessions and stamps, of each in the order of ids
    row_of[np.lexsort((whole[:, 2], whole[:, 1]))] = np.arange(len(whole))
    poses = np.empty((len(whole), 14))
    cursor = db.execute(f"SELECT {', '.join(POSE_COLUMNS)} {source} {order}")
    for start in range(0, len(whole), _CHUNK):  # in chunks: the rows as Python objects take many times the memory
        poses[row_of[start : start + _CHUNK]] = np.array(cursor.fetchmany(_CHUNK), dtype=np.float64)
    in_order = np.argsort(row_of)
    if reading is not None:
        return _keyframes(whole[in_order], poses, StoredDescriptors(reading, whole[in_order, 0], dim))
    descriptors = np.empty((len(whole), dim), dtype=np.float16)
    cursor = db.execute(f"SELECT d.vector {source} LEFT JOIN descriptors d ON d.id = k.id {order}")
    for start in range(0, len(whole), _CHUNK):
        blobs = [blob for (blob,) in cursor.fetchmany(_CHUNK)]
        bad = next((i for i, blob in enumerate(blobs) if blob is None or len(blob) != 2 * dim), None)
        if bad is not None:
            raise missing(int(whole[start + bad, 0]), dim)
        descriptors[row_of[start : start + _CHUNK]] = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(-1, dim)
    return _keyframes(whole[in_order], poses, descriptors)


def load_poses(db: sqlite3.Connection, after: int) -> Keyframes:
    """Read the keyframes with an id above `after`, sorted by id, without their descriptors."""
    query = f"SELECT id, session, stamp_ns, {', '.join(POSE_COLUMNS)} FROM keyframes WHERE id > ? ORDER BY id"
    rows = db.execute(query, (after,)).fetchall()
    whole = np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3)
    poses = np.array([row[3:] for row in rows], dtype=np.float64).reshape(-1, 14)
    return _keyframes(whole, poses, np.empty((len(rows), 0), dtype=np.float16))


def _keyframes(whole: np.ndarray, poses: np.ndarray, descriptors: np.ndarray | StoredDescriptors) -> Keyframes:
    """Of rows (N, 3) id, session, stamp and rows (N, 14) in the order of POSE_COLUMNS."""
    return Keyframes(
        ids=whole[:, 0].copy(),
        sessions=whole[:, 1].copy(),
        stamps_ns=whole[:, 2].copy(),
        T_map_base=poses_from_rows(poses[:, 7:]),
        T_odom_base=poses_from_rows(poses[:, :7]),
        descriptors=descriptors,
    )
