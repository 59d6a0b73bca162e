"""A cloud as a polar grid of heights around the robot: names the same place without any training.

Scan Context's idea (Kim and Kim, IROS 2018): rings and sectors, in each cell the greatest height. A turned robot sees
the same grid shifted along its sectors, so that the best shift tells how alike two places are and how one is turned
against the other. Heights change little with light and season, and nothing here was learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from vpr_ros.errors import VprError

PAIRS_AT_ONCE = 4096  # of grids that are compared: bounds the memory of a comparison


@dataclass(frozen=True)
class PolarGridConfig:
    """The grid. The defaults suit streets and scanners that reach at least half as far; within buildings a range of 10
    to 20 m does, and where scanners of two ranges meet that of the shorter one.
    """

    rings: int = 20
    sectors: int = 60
    range_m: float = 70.0
    floor_m: float = 0.3  # above base_link's ground; what is lower is the ground, on which any two streets agree
    ceiling_m: float = 12.0  # crowns and façades above it differ by what a scanner's beams happen to reach

    def __post_init__(self) -> None:
        if min(self.rings, self.sectors) < 2 or not self.range_m > 0 or not self.ceiling_m > self.floor_m:
            raise VprError(
                f"no polar grid of {self.rings} rings, {self.sectors} sectors, {self.range_m:g} m and heights from "
                f"{self.floor_m:g} to {self.ceiling_m:g} m can be made: at least two of each and a positive range"
            )


def polar_grid(cloud: np.ndarray, config: PolarGridConfig | None = None) -> np.ndarray:
    """(N, 3) points in the base frame, metres, z up -> (rings, sectors) float32: greatest height above the floor.

    Sector 0 begins straight ahead, sectors go counter-clockwise. Cells without a point above the floor are 0; points
    that are not finite are left out.
    """
    config = config or PolarGridConfig()
    x, y, z = np.asarray(cloud, dtype=np.float32).reshape(-1, 3).T
    r = np.hypot(x, y)
    kept = np.isfinite(r) & np.isfinite(z) & (r < config.range_m) & (z > config.floor_m)
    ring = (r[kept] * (config.rings / config.range_m)).astype(np.int64)
    turn = np.arctan2(y[kept], x[kept]) / (2 * np.pi) % 1.0
    sector = np.minimum((turn * config.sectors).astype(np.int64), config.sectors - 1)
    grid = np.zeros((config.rings, config.sectors), np.float32)
    height = np.minimum(z[kept], config.ceiling_m) - config.floor_m
    np.maximum.at(grid, (np.minimum(ring, config.rings - 1), sector), height)
    return grid


def polar_grids(clouds: Sequence[np.ndarray], config: PolarGridConfig | None = None) -> np.ndarray:
    """The grids (N, rings, sectors) of N clouds."""
    config = config or PolarGridConfig()
    found = [polar_grid(cloud, config) for cloud in clouds]
    return np.stack(found) if found else np.zeros((0, config.rings, config.sectors), np.float32)


def unit_grids(grids: np.ndarray, blur_cells: float = 0.0) -> np.ndarray:
    """Grids (N, rings, sectors) -> what is compared, of length 1 each: roots of heights, less the mean of their ring.

    Roots, because a crown twice as high is not twice as telling. Less the mean, because every street has houses at the
    distance of its own: what tells one from another is where around the robot they stand. `blur_cells`: standard
    deviation of a Gaussian over sectors and rings, with which similarities fall more gradually with the distance. A
    grid that is the same all around becomes zeros.
    """
    found = np.sqrt(np.asarray(grids, dtype=np.float32))
    if blur_cells:
        found = gaussian_filter1d(found, blur_cells, axis=2, mode="wrap")
        found = gaussian_filter1d(found, blur_cells, axis=1, mode="constant")
    found = found - found.mean(axis=2, keepdims=True)
    length = np.linalg.norm(found, axis=(1, 2), keepdims=True)
    return np.divide(found, length, out=np.zeros_like(found), where=length > 1e-6)


def compare(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grids (N, R, S) and (M, R, S) -> similarities (N, M) from 0 to 1, and how `b` is turned against `a` (N, M), rad.

    A similarity is the product of both `unit_grids` at the best shift of their sectors. The turn, counter-clockwise, in
    (-pi, pi], is the yaw of T_b_a: what stands at azimuth t in `a` stands at t + turn in `b`; its resolution is that of
    the sectors.
    """
    return compare_unit(unit_grids(a), unit_grids(b))


def compare_unit(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`compare` of what `unit_grids` makes."""
    sectors = a.shape[2]
    # frequency first: one product of matrices for each
    before, after = (np.ascontiguousarray(np.fft.rfft(x, axis=2).transpose(2, 0, 1)) for x in (a, b))
    similarity = np.zeros((len(a), len(b)), np.float32)
    shift = np.zeros((len(a), len(b)), np.int64)
    at_once = max(1, PAIRS_AT_ONCE // max(len(b), 1))
    for start in range(0, len(a), at_once):
        part = slice(start, start + at_once)
        products = before[:, part].conj() @ after.transpose(0, 2, 1)
        alike = np.fft.irfft(products, sectors, axis=0)
        shift[part], similarity[part] = alike.argmax(axis=0), alike.max(axis=0)
    turn = shift * (2 * np.pi / sectors)
    return np.clip(similarity, 0.0, 1.0), np.where(turn > np.pi, turn - 2 * np.pi, turn)


def likely_turns(a: np.ndarray, b: np.ndarray, count: int = 2) -> list[float]:
    """Yaws of T_b_a in (-pi, pi], rad, the likeliest first: at which shifts two grids (R, S) are most alike.

    There are at most `count`, at least four sectors apart.
    """
    sectors = a.shape[1]
    spectra = [np.fft.rfft(unit_grids(grid[None])[0], axis=1) for grid in (a, b)]
    alike = np.fft.irfft((spectra[0].conj() * spectra[1]).sum(axis=0), sectors)
    chosen: list[int] = []
    for shift in np.argsort(-alike, kind="stable").tolist():
        if len(chosen) < count and all(min((shift - c) % sectors, (c - shift) % sectors) > 3 for c in chosen):
            chosen.append(shift)
    turns = [shift * 2 * np.pi / sectors for shift in chosen]
    return [turn - 2 * np.pi if turn > np.pi else turn for turn in turns]
