"""All keyframes of a map as aligned arrays, and the rows that they are stored in."""

import sqlite3
from dataclasses import dataclass, fields

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.place_map.schema import MAP_COLUMNS, POSE_COLUMNS

_CHUNK = 8192


@dataclass(frozen=True)
class Keyframes:
    """N keyframes sorted by (session, stamp); row i of every array belongs to the same keyframe."""

    ids: np.ndarray  # (N,) int64, permanent
    sessions: np.ndarray  # (N,) int64
    stamps_ns: np.ndarray  # (N,) int64, of the image
    T_map_base: np.ndarray  # (N, 4, 4) float64, NaN where the keyframe has no such pose
    T_odom_base: np.ndarray  # (N, 4, 4) float64, NaN likewise; drifts, and each session has its own origin
    descriptors: np.ndarray  # (N, dim) float16 unit rows

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_pose(self) -> np.ndarray:
        """(N,) bool: which keyframes have T_map_base."""
        return np.isfinite(self.T_map_base[:, 0, 0])

    def rows_of(self, ids) -> np.ndarray:
        """Row of each keyframe id (M,), -1 for an id that is not there."""
        order = np.argsort(self.ids)
        ids = np.asarray(ids, dtype=np.int64)
        if not len(order):
            return np.full(ids.shape, -1, dtype=np.int64)
        position = np.minimum(np.searchsorted(self.ids, ids, sorter=order), len(order) - 1)
        rows = order[position]
        return np.where(self.ids[rows] == ids, rows, -1)

    def select(self, rows) -> "Keyframes":
        """The keyframes of these rows or of this mask."""
        return Keyframes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True)
class KeyframePoses:
    """N keyframes sorted by id, without descriptors."""

    ids: np.ndarray  # (N,) int64
    sessions: np.ndarray  # (N,) int64
    stamps_ns: np.ndarray  # (N,) int64, of the image
    T_map_base: np.ndarray  # (N, 4, 4) float64, NaN where the keyframe has no such pose

    def __len__(self) -> int:
        return len(self.ids)


def pose_row(T: np.ndarray | None, name: str) -> tuple:
    """Seven numbers x y z qx qy qz qw (or seven None) of a 4x4 pose; FrameError when it is no rigid transform."""
    if T is None:
        return (None,) * 7
    T = np.asarray(T, dtype=np.float64)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise FrameError(f"{name} is not a finite 4x4 pose: the frame is skipped")
    R = T[:3, :3]
    if np.abs(R @ R.T - np.eye(3)).max() > 1e-3 or np.linalg.det(R) < 0:
        raise FrameError(f"{name} is not a rigid transform (its rotation is not orthonormal): the frame is skipped")
    return (*T[:3, 3].tolist(), *matrix_to_quaternion(R).tolist())


def poses_from_rows(rows: np.ndarray) -> np.ndarray:
    """4x4 poses (N, 4, 4) of rows (N, 7) x y z qx qy qz qw; NaN rows give NaN poses."""
    x, y, z, w = rows[:, 3:].T
    T = np.zeros((len(rows), 4, 4))
    T[:, 0, 0], T[:, 0, 1], T[:, 0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    T[:, 1, 0], T[:, 1, 1], T[:, 1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    T[:, 2, 0], T[:, 2, 1], T[:, 2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)
    T[:, :3, 3] = rows[:, :3]
    T[:, 3, 3] = 1.0
    T[~np.isfinite(rows).all(axis=1)] = np.nan
    return T


def load_keyframes(db: sqlite3.Connection, dim: int) -> Keyframes:
    """Read every keyframe. Raises VprError when a descriptor is missing or has another length."""
    order = "ORDER BY k.session, k.stamp_ns"
    whole = np.array(db.execute(f"SELECT id, session, stamp_ns FROM keyframes k {order}").fetchall(), dtype=np.int64)
    whole = whole.reshape(-1, 3)
    poses = np.empty((len(whole), 14))
    descriptors = np.empty((len(whole), dim), dtype=np.float16)
    cursor = db.execute(f"SELECT {', '.join(POSE_COLUMNS)} FROM keyframes k {order}")
    for start in range(0, len(whole), _CHUNK):  # in chunks: the rows as Python objects take many times the memory
        poses[start : start + _CHUNK] = np.array(cursor.fetchmany(_CHUNK), dtype=np.float64)
    cursor = db.execute(f"SELECT d.vector FROM keyframes k LEFT JOIN descriptors d ON d.id = k.id {order}")
    for start in range(0, len(whole), _CHUNK):
        blobs = [blob for (blob,) in cursor.fetchmany(_CHUNK)]
        bad = next((i for i, blob in enumerate(blobs) if blob is None or len(blob) != 2 * dim), None)
        if bad is not None:
            raise VprError(
                f"keyframe {whole[start + bad, 0]} of the map has no descriptor of {dim} numbers: "
                "rebuild them with `vpr_ros redescribe`"
            )
        descriptors[start : start + _CHUNK] = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(-1, dim)
    return Keyframes(
        ids=whole[:, 0].copy(),
        sessions=whole[:, 1].copy(),
        stamps_ns=whole[:, 2].copy(),
        T_map_base=poses_from_rows(poses[:, 7:]),
        T_odom_base=poses_from_rows(poses[:, :7]),
        descriptors=descriptors,
    )


def load_poses(db: sqlite3.Connection, after: int) -> KeyframePoses:
    """Read ids, sessions, stamps and map poses of the keyframes with an id above `after`."""
    query = f"SELECT id, session, stamp_ns, {', '.join(MAP_COLUMNS)} FROM keyframes WHERE id > ? ORDER BY id"
    rows = db.execute(query, (after,)).fetchall()
    whole = np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3)
    poses = np.array([row[3:] for row in rows], dtype=np.float64).reshape(-1, 7)
    return KeyframePoses(whole[:, 0].copy(), whole[:, 1].copy(), whole[:, 2].copy(), poses_from_rows(poses))
