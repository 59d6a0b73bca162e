"""One atlas of small procedural texture tiles with mip levels: materials (repeating) and façade bays (overlays)."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vpr_ros.training.synthetic.world.bays import BayCanvas, draw_overlays
from vpr_ros.training.synthetic.world.photo_tiles import photo_tiles

TILE_PX = 64
LEVELS = 5  # 64, 32, 16, 8 and 4 texels
COLUMNS = 16
UNIT = 160.0  # a stored value of 160 multiplies the tint by 1

# name -> metres covered by one repetition of the tile
MATERIALS = {
    "plain": 4.0,
    "plaster": 5.0,
    "brick": 2.0,
    "stone": 3.0,
    "siding": 2.4,
    "planks": 2.0,
    "concrete": 6.0,
    "roof_tile": 2.5,
    "shingle": 3.0,
    "metal": 2.0,
    "asphalt": 5.0,
    "cobble": 2.0,
    "slabs": 2.0,
    "grass": 4.0,
    "gravel": 3.0,
    "field": 6.0,
    "leaf": 1.6,
    "needle": 1.4,
    "bark": 1.0,
    "awning": 1.6,
    "rough": 3.0,
    "panels": 4.0,
}
MATERIAL_ID = {name: i for i, name in enumerate(MATERIALS)}
MATERIAL_SIZE_M = np.array(list(MATERIALS.values()), np.float32)


def periodic_noise(size: int, falloff: float, rng: np.random.Generator) -> np.ndarray:
    """Tileable noise (size, size) with a 1/f^falloff spectrum, zero mean, unit standard deviation."""
    f = np.fft.fftfreq(size)
    radius = np.hypot(f[:, None], f[None, :])
    radius[0, 0] = 1.0
    spectrum = np.fft.fft2(rng.standard_normal((size, size))) / radius**falloff
    spectrum[0, 0] = 0.0
    field = np.fft.ifft2(spectrum).real
    return (field / field.std()).astype(np.float32)


def _courses(rows: int, per_row: int, rng, joint: float, spread: float, stagger: float = 0.5) -> np.ndarray:
    """Running bond (bricks, slabs, roof tiles) as a brightness map (2 TILE_PX, 2 TILE_PX)."""
    size = 2 * TILE_PX
    v, u = np.mgrid[0:size, 0:size] / size
    row = np.floor(v * rows)
    column = np.floor(u * per_row + stagger * (row % 2)) % per_row
    tone = 1 + spread * rng.standard_normal((rows, per_row))
    out = tone[row.astype(int), column.astype(int)]
    fu, fv = (u * per_row + stagger * (row % 2)) % 1, (v * rows) % 1
    width_u, width_v = 0.5 * joint * per_row / rows, 0.5 * joint
    seam = (fu < width_u) | (fu > 1 - width_u) | (fv < width_v) | (fv > 1 - width_v)
    return np.where(seam, 1.28, out)


def _material(name: str, rng: np.random.Generator) -> np.ndarray:
    """Tint multiplier (2 TILE_PX, 2 TILE_PX, 3) of one material."""
    size = 2 * TILE_PX
    v, u = np.mgrid[0:size, 0:size] / size
    soft, fine = periodic_noise(size, 1.5, rng), periodic_noise(size, 0.3, rng)
    base = {
        "plain": lambda: 1 + 0.02 * soft,
        "plaster": lambda: 1 + 0.045 * soft + 0.04 * fine,
        "brick": lambda: _courses(24, 8, rng, 0.28, 0.16) + 0.05 * soft,
        "stone": lambda: np.minimum(_courses(8, 5, rng, 0.10, 0.15), 1.15) + 0.09 * soft + 0.05 * fine,
        "siding": lambda: 0.72 + 0.38 * np.minimum(1, ((v * 12) % 1) * 3) + 0.03 * soft,
        "planks": lambda: 0.70 + 0.36 * np.minimum(1, ((u * 12) % 1) * 4) + 0.07 * soft,
        "concrete": lambda: np.where(((u * 2) % 1 < 0.02) | ((v * 2) % 1 < 0.02), 0.7, 1) + 0.09 * soft + 0.03 * fine,
        "roof_tile": lambda: 0.62 + 0.5 * ((v * 10) % 1) * (0.75 + 0.25 * np.sin(u * 2 * np.pi * 10)) + 0.08 * soft,
        "shingle": lambda: 2 - _courses(12, 8, rng, 0.2, 0.14) + 0.06 * soft,
        "metal": lambda: 0.92 + 0.16 * np.sin(u * 2 * np.pi * 10) + 0.05 * soft,
        "asphalt": lambda: 1 + 0.05 * soft + 0.12 * fine,
        "cobble": lambda: 2 - _courses(14, 12, rng, 0.3, 0.18) + 0.08 * soft,
        "slabs": lambda: 2.1 - np.maximum(_courses(4, 4, rng, 0.07, 0.07, 0.0), 0.8) + 0.06 * soft + 0.04 * fine - 0.1,
        "grass": lambda: 1 + 0.18 * soft + 0.22 * fine,
        "gravel": lambda: 1 + 0.10 * soft + 0.25 * fine,
        "field": lambda: 1 + 0.20 * np.sin(u * 2 * np.pi * 8 + soft) + 0.12 * fine,
        "leaf": lambda: 0.95 + 0.34 * periodic_noise(size, 0.8, rng) + 0.12 * fine,
        "needle": lambda: 0.9 + 0.30 * periodic_noise(size, 0.6, rng) + 0.16 * fine,
        "bark": lambda: 0.95 + 0.22 * periodic_noise(size, 1.0, rng) * (0.6 + 0.4 * np.sin(u * 2 * np.pi * 9)),
        "awning": lambda: np.where((u * 4) % 1 < 0.5, 1.5, 0.75),
        "rough": lambda: 1 + 0.10 * soft + 0.08 * fine,
        "panels": lambda: np.where(((u * 4) % 1 < 0.03) | ((v * 8) % 1 < 0.04), 0.6, 1.0) + 0.04 * soft,
    }[name]()
    colour = np.repeat(np.asarray(base, np.float32)[..., None], 3, axis=2)
    drift = periodic_noise(size, 1.8, rng)[..., None] * np.array([0.03, 0.0, -0.03], np.float32)
    return np.clip(colour + drift, 0.05, 255 / UNIT)


@dataclass(frozen=True)
class Atlas:
    """`colour` (R, C, 4) uint8: RGB premultiplied by alpha, alpha; `aux` (R, C, 2) uint8: light mask, glass mask."""

    colour: np.ndarray
    aux: np.ndarray
    overlay: dict[str, np.ndarray]  # group name -> tile indices
    photos: np.ndarray  # tile indices of surfaces cut from photographs; none in a painted city

    def coordinates(self, tile, fu, fv, level) -> tuple[np.ndarray, np.ndarray]:
        """Atlas pixel coordinates of fractions (fu to the right, fv up, in [0, 1)) inside tiles at mip levels."""
        size = (TILE_PX >> level).astype(np.float32)
        start = _LEVEL_START[level]
        x = start + (tile % COLUMNS) * size + np.clip(fu * size - 0.5, 0, size - 1)
        y = (tile // COLUMNS) * size + np.clip((1 - fv) * size - 0.5, 0, size - 1)
        return x.astype(np.float32), y.astype(np.float32)


_LEVEL_START = np.cumsum([0] + [COLUMNS * (TILE_PX >> i) for i in range(LEVELS - 1)]).astype(np.float32)


@lru_cache(maxsize=2)
def atlas(surfaces: str = "", seed: int = 0) -> Atlas:
    """The atlas of this world version; the same in every process.

    With a folder of photographs, `surfaces`, it also has tiles cut from them, another choice for every `seed`.
    """
    rng = np.random.default_rng(20240117)
    tiles = []
    for name in MATERIALS:
        canvas = BayCanvas(2 * TILE_PX)
        canvas.rgb[:] = _material(name, rng) * UNIT
        canvas.alpha[:] = 1.0
        tiles.append(canvas)
    overlay = {}
    for group, canvases in draw_overlays(2 * TILE_PX, rng).items():
        overlay[group] = np.arange(len(tiles), len(tiles) + len(canvases))
        tiles.extend(canvases)
    painted = len(tiles)
    for colour in photo_tiles(surfaces, 2 * TILE_PX, seed) if surfaces else ():
        canvas = BayCanvas(2 * TILE_PX)
        canvas.rgb[:] = np.clip(colour * UNIT, 0, 255)
        canvas.alpha[:] = 1.0
        tiles.append(canvas)
    rows = -(-len(tiles) // COLUMNS)
    width = int(_LEVEL_START[-1]) + COLUMNS * (TILE_PX >> (LEVELS - 1))
    out = np.zeros((rows * TILE_PX, width, 6), np.float32)
    for i, tile in enumerate(tiles):
        full = np.dstack([tile.rgb * tile.alpha[..., None], 255 * tile.alpha, 255 * tile.light, 255 * tile.glass])
        for level in range(LEVELS):
            size = TILE_PX >> level
            small = np.dstack(
                [
                    cv2.resize(np.ascontiguousarray(full[..., k]), (size, size), interpolation=cv2.INTER_AREA)
                    for k in range(6)
                ]
            )
            x0 = int(_LEVEL_START[level]) + (i % COLUMNS) * size
            y0 = (i // COLUMNS) * size
            out[y0 : y0 + size, x0 : x0 + size] = small
    packed = np.clip(out, 0, 255).astype(np.uint8)
    colour, aux = (np.ascontiguousarray(part) for part in (packed[..., :4], packed[..., 4:]))
    return Atlas(colour, aux, overlay, np.arange(painted, len(tiles)))


@lru_cache(maxsize=1)
def noise_map() -> np.ndarray:
    """Tileable (512, 512, 2) float32: coarse and fine noise around 0, for dirt, snow cover, puddles and clouds."""
    rng = np.random.default_rng(77)
    return np.ascontiguousarray(np.dstack([periodic_noise(512, 1.6, rng), periodic_noise(512, 0.9, rng)]))
