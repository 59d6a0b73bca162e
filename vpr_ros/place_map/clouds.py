"""Point clouds as they are kept in a map: voxel filtered, half precision, compressed."""

import zlib

import numpy as np

from vpr_ros.sensors.clouds import cell_means

VOXEL_M = 0.2
_LIMIT_M = 512.0  # beyond this a half-precision coordinate may be off by more than a voxel
_AXIS_VOXELS = 2**20  # either way along an axis: the voxels of three axes have numbers in one int64


def voxel_filter(cloud: np.ndarray, voxel_m: float = VOXEL_M) -> np.ndarray:
    """Mean point of every occupied voxel, (M, 3) float32, of a cloud (N, 3), less points not finite or far off."""
    points = np.asarray(cloud, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    points = points[(np.abs(points) < min(_LIMIT_M, voxel_m * _AXIS_VOXELS - voxel_m)).all(axis=1)]
    return cell_means(points, voxel_m).astype(np.float32)


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
