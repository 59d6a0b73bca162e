"""Point clouds as they are kept in a map: voxel filtered, half precision, compressed."""

import zlib

import numpy as np

VOXEL_M = 0.2
_LIMIT_M = 512.0  # beyond this a half-precision coordinate may be off by more than a voxel
_AXIS_BITS = 21  # 2^20 voxels either way, three axes in one int64


def voxel_filter(cloud: np.ndarray, voxel_m: float = VOXEL_M) -> np.ndarray:
    """Mean point of every occupied voxel, (M, 3) float32, of a cloud (N, 3), less points not finite or far off."""
    points = np.asarray(cloud, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    points = points[(np.abs(points) < min(_LIMIT_M, voxel_m * 2 ** (_AXIS_BITS - 1) - voxel_m)).all(axis=1)]
    cell = np.floor(points / voxel_m).astype(np.int64) + 2 ** (_AXIS_BITS - 1)
    key = (cell[:, 0] << (2 * _AXIS_BITS)) | (cell[:, 1] << _AXIS_BITS) | cell[:, 2]
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    sums = np.stack([np.bincount(inverse, points[:, axis], minlength=len(count)) for axis in range(3)], axis=1)
    return (sums / count[:, None]).astype(np.float32).reshape(-1, 3)


def encode_cloud(cloud: np.ndarray) -> bytes | None:
    """Bytes for a cloud (N, 3) in metres, None when no point of it is usable."""
    points = voxel_filter(cloud)
    return zlib.compress(points.astype("<f2").tobytes(), level=3) if len(points) else None


def decode_cloud(data: bytes) -> np.ndarray:
    """Cloud (M, 3) float32 of `encode_cloud`, off by at most 1/32 m up to 128 m; ValueError for damaged bytes."""
    try:
        return np.frombuffer(zlib.decompress(data), dtype="<f2").reshape(-1, 3).astype(np.float32)
    except zlib.error as error:
        raise ValueError(str(error)) from error
