"""Rigid transforms as 4x4 arrays, quaternions (x, y, z, w) as in ROS, angles, and geodetic coordinates to ENU.

Rotations are scipy's; every function takes one transform or a stack of them.
"""

from itertools import chain

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

WGS84_A_M = 6378137.0
WGS84_E2 = 6.69437999014e-3
FARTHEST_M = 1e8
"""Beyond any coordinate on Earth, UTM's and ECEF's too: a larger number is a mark or a fault."""


def quaternion_to_matrix(quaternion: ArrayLike) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) x, y, z, w, which need not have unit length.

    Raises ValueError for a zero or non-finite quaternion.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    norm = np.linalg.norm(q, axis=-1)
    if not (np.isfinite(norm) & (norm >= 1e-6)).all():
        raise ValueError(f"quaternion {q.tolist()} has no direction")
    if not q.size:
        return np.zeros((*q.shape[:-1], 3, 3))
    return Rotation.from_quat(q.reshape(-1, 4)).as_matrix().reshape(*q.shape[:-1], 3, 3)


def matrix_to_quaternion(R: np.ndarray) -> np.ndarray:
    """Quaternions (..., 4) x, y, z, w with w >= 0 of rotation matrices (..., 3, 3)."""
    R = np.asarray(R, dtype=np.float64)
    if not R.size:
        return np.zeros((*R.shape[:-2], 4))
    return Rotation.from_matrix(R.reshape(-1, 3, 3)).as_quat(canonical=True).reshape(*R.shape[:-2], 4)


def rotvec_to_matrix(rotvec: ArrayLike) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3): the axis, as long as the angle in radians."""
    vectors = np.asarray(rotvec, dtype=np.float64)
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape[:-1], 3, 3)


def matrix_to_rotvec(R: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3), at most pi long, of rotation matrices (..., 3, 3)."""
    R = np.asarray(R, dtype=np.float64)
    return Rotation.from_matrix(R.reshape(-1, 3, 3)).as_rotvec().reshape(*R.shape[:-2], 3)


def roll_pitch_yaw_to_matrix(roll, pitch, yaw) -> np.ndarray:
    """Rotation matrices (..., 3, 3) R = Rz(yaw) Ry(pitch) Rx(roll) of angles in radians, of shapes that broadcast."""
    angles = np.stack(np.broadcast_arrays(yaw, pitch, roll), axis=-1).astype(np.float64)
    if not angles.size:
        return np.zeros((*angles.shape[:-1], 3, 3))
    return Rotation.from_euler("ZYX", angles.reshape(-1, 3)).as_matrix().reshape(*angles.shape[:-1], 3, 3)


def rigid_transform(R: np.ndarray, translation: ArrayLike) -> np.ndarray:
    """Transforms (..., 4, 4) of rotation matrices (..., 3, 3) and translations (..., 3) in metres."""
    T = np.zeros((*R.shape[:-2], 4, 4))
    T[..., :3, :3] = R
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1.0
    return T


def make_transform(translation: ArrayLike, quaternion: ArrayLike = (0.0, 0.0, 0.0, 1.0)) -> np.ndarray:
    """Transforms (..., 4, 4) of translations (..., 3) in metres and quaternions (..., 4) x, y, z, w."""
    return rigid_transform(quaternion_to_matrix(quaternion), translation)


def planar_transform(x_m: float, y_m: float, yaw_rad: float, z_m: float = 0.0) -> np.ndarray:
    """4x4 transform of a pose in the plane; x forward, y left, z up (REP-103)."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0, x_m], [s, c, 0, y_m], [0, 0, 1, z_m], [0, 0, 0, 1.0]])


def invert(T: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms (..., 4, 4)."""
    R_inverse = np.swapaxes(T[..., :3, :3], -1, -2)
    return rigid_transform(R_inverse, -np.einsum("...ij,...j->...i", R_inverse, T[..., :3, 3]))


def yaw_of(T: np.ndarray) -> np.ndarray:
    """Heading about z in radians of transforms (..., 4, 4)."""
    return np.arctan2(T[..., 1, 0], T[..., 0, 0])


def turn_between(heading_a: ArrayLike, heading_b: ArrayLike) -> np.ndarray:
    """Size in [0, pi] of the turn from one heading to another, both in radians and of any shape that broadcasts."""
    return np.abs((np.subtract(np.asarray(heading_a), heading_b) + np.pi) % (2 * np.pi) - np.pi)


def rotation_angle(R_a: np.ndarray, R_b: np.ndarray) -> np.ndarray:
    """Angle in [0, pi] of the rotation from one orientation (..., 3, 3) to another; the trace is 1 + 2 cos."""
    return np.arccos(np.clip((np.sum(R_a * R_b, axis=(-2, -1)) - 1) / 2, -1.0, 1.0))


def interpolate(T_a: np.ndarray, T_b: np.ndarray, fraction) -> np.ndarray:
    """Poses between T_a and T_b (..., 4, 4) at fractions (...): linear in translation, spherical-linear in rotation."""
    f = np.asarray(fraction, dtype=np.float64)
    shape = np.broadcast_shapes(f.shape, T_a.shape[:-2], T_b.shape[:-2])
    T = np.array(np.broadcast_to(T_a, (*shape, 4, 4)), dtype=np.float64)
    T[..., :3, 3] += f[..., None] * (T_b[..., :3, 3] - T_a[..., :3, 3])
    if T.size:
        relative = np.swapaxes(T[..., :3, :3], -1, -2) @ T_b[..., :3, :3]
        turn = Rotation.from_matrix(relative.reshape(-1, 3, 3)).as_rotvec().reshape(*shape, 3)
        part = Rotation.from_rotvec((turn * f[..., None]).reshape(-1, 3)).as_matrix()
        T[..., :3, :3] = T[..., :3, :3] @ part.reshape(*shape, 3, 3)
    return T


def rows_within(points: ArrayLike, queries: ArrayLike, radius: float) -> list[np.ndarray]:
    """For each query (M, D) the ascending rows of the points (N, D) at most `radius` away from it.

    Points and queries with a NaN or an infinity are far from everything.
    """
    points, queries = np.asarray(points, dtype=np.float64), np.asarray(queries, dtype=np.float64)
    usable = np.flatnonzero(np.isfinite(points).all(axis=1))
    finite = np.isfinite(queries).all(axis=1)
    near: list[list[int]] = [[] for _ in range(len(queries))]
    if len(usable) and finite.any():
        # The tree compares squares, which round differently at the border: it searches a slightly larger radius, and
        # the distances themselves decide.
        tree = KDTree(points[usable])
        found = tree.query_ball_point(queries[finite], radius * (1 + 1e-9) + 1e-6, return_sorted=True)
        for query, rows in zip(np.flatnonzero(finite), found, strict=True):
            near[query] = rows
    counts = [len(rows) for rows in near]
    rows = usable[np.fromiter(chain.from_iterable(near), np.int64, sum(counts))]
    inside = np.linalg.norm(points[rows] - np.repeat(queries, counts, axis=0), axis=1) <= radius
    query_of_row = np.repeat(np.arange(len(queries)), counts)[inside]
    return np.split(rows[inside], np.searchsorted(query_of_row, np.arange(1, len(queries)))) if len(queries) else []


def pairs_within(points: ArrayLike, radius: float, most: int) -> np.ndarray | None:
    """Rows (P, 2) of points (N, D), all finite, that are at most `radius` apart, each pair once; None: above `most`."""
    tree = KDTree(np.asarray(points, dtype=np.float64))
    if (int(tree.count_neighbors(tree, radius)) - tree.n) // 2 > most:
        return None
    return np.asarray(tree.query_pairs(radius, output_type="ndarray"), dtype=np.int64)


def geodetic_to_ecef(latitude_deg, longitude_deg, altitude_m) -> np.ndarray:
    """Earth-centred coordinates (..., 3) in metres of WGS-84 positions (...)."""
    lat, lon = np.radians(latitude_deg), np.radians(longitude_deg)
    n = WGS84_A_M / np.sqrt(1 - WGS84_E2 * np.sin(lat) ** 2)
    return np.stack(
        [
            (n + altitude_m) * np.cos(lat) * np.cos(lon),
            (n + altitude_m) * np.cos(lat) * np.sin(lon),
            (n * (1 - WGS84_E2) + altitude_m) * np.sin(lat),
        ],
        axis=-1,
    )


def geodetic_to_enu(latitude_deg, longitude_deg, altitude_m, datum) -> np.ndarray:
    """East, north, up (..., 3) in metres of WGS-84 positions (...) from `datum` (latitude, longitude, altitude)."""
    lat, lon = np.radians(datum[0]), np.radians(datum[1])
    delta = geodetic_to_ecef(latitude_deg, longitude_deg, altitude_m) - geodetic_to_ecef(*datum)
    R = np.array(
        [
            [-np.sin(lon), np.cos(lon), 0],
            [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)],
        ]
    )
    return delta @ R.T
