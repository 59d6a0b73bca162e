"""Rigid transforms as 4x4 arrays, quaternions (x, y, z, w) as in ROS, and geodetic coordinates to ENU."""

import numpy as np

WGS84_A_M = 6378137.0
WGS84_E2 = 6.69437999014e-3


def quaternion_to_matrix(quaternion) -> np.ndarray:
    """Rotation matrix (3, 3) of a quaternion (x, y, z, w), which need not have unit length.

    Raises ValueError for a zero or non-finite quaternion.
    """
    q = np.asarray(quaternion, dtype=np.float64)
    norm = np.linalg.norm(q)
    if not np.isfinite(norm) or norm < 1e-6:
        raise ValueError(f"quaternion {q.tolist()} has no direction")
    x, y, z, w = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def matrix_to_quaternion(R: np.ndarray) -> np.ndarray:
    """Quaternion (x, y, z, w) with w >= 0 of a rotation matrix (3, 3), stable for every angle."""
    m = np.asarray(R, dtype=np.float64)
    # The four candidates of 4q_i^2; dividing by the largest never divides by a small number.
    squares = np.array(
        [
            1 + m[0, 0] - m[1, 1] - m[2, 2],
            1 - m[0, 0] + m[1, 1] - m[2, 2],
            1 - m[0, 0] - m[1, 1] + m[2, 2],
            1 + m[0, 0] + m[1, 1] + m[2, 2],
        ]
    )
    i = int(np.argmax(squares))
    rows = [
        [squares[0], m[0, 1] + m[1, 0], m[0, 2] + m[2, 0], m[2, 1] - m[1, 2]],
        [m[0, 1] + m[1, 0], squares[1], m[1, 2] + m[2, 1], m[0, 2] - m[2, 0]],
        [m[0, 2] + m[2, 0], m[1, 2] + m[2, 1], squares[2], m[1, 0] - m[0, 1]],
        [m[2, 1] - m[1, 2], m[0, 2] - m[2, 0], m[1, 0] - m[0, 1], squares[3]],
    ]
    q = np.array(rows[i]) / (2 * np.sqrt(squares[i]))
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


def make_transform(translation, quaternion=(0.0, 0.0, 0.0, 1.0)) -> np.ndarray:
    """4x4 transform of a translation (3,) in metres and a quaternion (x, y, z, w)."""
    T = np.eye(4)
    T[:3, :3] = quaternion_to_matrix(quaternion)
    T[:3, 3] = translation
    return T


def planar_transform(x_m: float, y_m: float, yaw_rad: float, z_m: float = 0.0) -> np.ndarray:
    """4x4 transform of a pose in the plane; x forward, y left, z up (REP-103)."""
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[c, -s, 0, x_m], [s, c, 0, y_m], [0, 0, 1, z_m], [0, 0, 0, 1.0]])


def invert(T: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms (..., 4, 4)."""
    R_t = np.swapaxes(T[..., :3, :3], -1, -2)
    out = np.zeros_like(T, dtype=np.float64)
    out[..., :3, :3] = R_t
    out[..., :3, 3] = -np.einsum("...ij,...j->...i", R_t, T[..., :3, 3])
    out[..., 3, 3] = 1.0
    return out


def yaw_of(T: np.ndarray) -> np.ndarray:
    """Heading about z in radians of transforms (..., 4, 4)."""
    return np.arctan2(T[..., 1, 0], T[..., 0, 0])


def interpolate(T_a: np.ndarray, T_b: np.ndarray, fraction: float) -> np.ndarray:
    """Pose between two 4x4 poses: linear in translation, spherical-linear in rotation."""
    qa, qb = matrix_to_quaternion(T_a[:3, :3]), matrix_to_quaternion(T_b[:3, :3])
    dot = float(qa @ qb)
    if dot < 0:
        qb, dot = -qb, -dot
    if dot > 0.9995:
        q = qa + fraction * (qb - qa)
    else:
        angle = np.arccos(min(dot, 1.0))
        q = (np.sin((1 - fraction) * angle) * qa + np.sin(fraction * angle) * qb) / np.sin(angle)
    return make_transform(T_a[:3, 3] + fraction * (T_b[:3, 3] - T_a[:3, 3]), q)


def geodetic_to_ecef(latitude_deg: float, longitude_deg: float, altitude_m: float) -> np.ndarray:
    """WGS-84 position as earth-centred coordinates (3,) in metres."""
    lat, lon = np.radians(latitude_deg), np.radians(longitude_deg)
    n = WGS84_A_M / np.sqrt(1 - WGS84_E2 * np.sin(lat) ** 2)
    return np.array(
        [
            (n + altitude_m) * np.cos(lat) * np.cos(lon),
            (n + altitude_m) * np.cos(lat) * np.sin(lon),
            (n * (1 - WGS84_E2) + altitude_m) * np.sin(lat),
        ]
    )


def geodetic_to_enu(latitude_deg, longitude_deg, altitude_m, datum) -> np.ndarray:
    """East, north, up (3,) in metres of a WGS-84 position, seen from `datum` (latitude, longitude, altitude)."""
    lat, lon = np.radians(datum[0]), np.radians(datum[1])
    delta = geodetic_to_ecef(latitude_deg, longitude_deg, altitude_m) - geodetic_to_ecef(*datum)
    R = np.array(
        [
            [-np.sin(lon), np.cos(lon), 0],
            [-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)],
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)],
        ]
    )
    return R @ delta
