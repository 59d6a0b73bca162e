"""Bilinear reads of the atlas, the noise map and ground rasters at arbitrarily many points, through cv2.remap."""

import cv2
import numpy as np

from vpr_ros.training.synthetic.world.textures import LEVELS, Atlas, noise_map

_ROW = 256  # remap takes a picture of coordinates, so points are arranged in rows


def read_bilinear(source: np.ndarray, x: np.ndarray, y: np.ndarray, **border) -> np.ndarray:
    """Values (n,) or (n, C) of `source` (R, C[, channels]) at pixel coordinates x, y (n,)."""
    n = len(x)
    maps = np.zeros((2, -(-n // _ROW) * _ROW), np.float32)
    maps[0, :n], maps[1, :n] = x, y
    maps = maps.reshape(2, -1, _ROW)
    out = cv2.remap(source, maps[0], maps[1], cv2.INTER_LINEAR, **border)
    return out.reshape(-1, *source.shape[2:])[:n]


def mip_level(texel_m, footprint_m) -> np.ndarray:
    """Mip levels (n,) at which one texel is about as large as a pixel's footprint on the surface."""
    return np.clip(np.rint(np.log2(np.maximum(footprint_m / texel_m, 1.0))), 0, LEVELS - 1).astype(np.int32)


def read_atlas(book: Atlas, tile, fu, fv, level, aux: bool = False) -> np.ndarray:
    """Atlas values 0..255 as float32: colour and alpha (n, 4) or, with `aux`, light and glass masks (n, 2)."""
    x, y = book.coordinates(tile, fu, fv, level)
    return read_bilinear(book.aux if aux else book.colour, x, y).astype(np.float32)


def read_noise(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Two noise channels (n, 2) at texel coordinates (n,), wrapping around."""
    return read_bilinear(noise_map(), np.mod(u, 511), np.mod(v, 511))
