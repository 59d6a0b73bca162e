"""A cloud as a polar grid of heights around the robot: names the same place without any training.

Scan Context's idea (Kim and Kim, IROS 2018): rings and sectors, in each cell the greatest height. A turned robot sees
the same grid shifted along its sectors, so that the best shift tells how alike two places are and how one is turned
against the other. Heights change little with light and season, and nothing here was learnt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError

PAIRS_AT_ONCE = 4096  # of grids that are compared: bounds the memory of a comparison


@dataclass(frozen=True)
class PolarGridConfig:
    """The grid. The defaults suit streets; within buildings a range of 10 to 20 m does."""

    rings: int = 20
    sectors: int = 60
    range_m: float = 50.0
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


def unit_columns(grids: np.ndarray) -> np.ndarray:
    """Grids (N, rings, sectors) with every sector of length 1, or 0 where nothing stands in it."""
    length = np.linalg.norm(grids, axis=1, keepdims=True)
    return np.divide(grids, length, out=np.zeros_like(grids), where=length > 0)


def compare(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grids (N, R, S) and (M, R, S) -> similarities (N, M) from 0 to 1, and how `b` is turned against `a` (N, M), rad.

    A similarity is the mean cosine of the sectors at the best shift, over the sectors that hold something in one of
    both: a robot that sees little is not alike to everything. The turn, counter-clockwise, in (-pi, pi], is the yaw of
    T_b_a: what stands at azimuth t in `a` stands at t + turn in `b`; its resolution is that of the sectors.
    """
    sectors = a.shape[2]
    spectra = [np.fft.rfft(unit_columns(grids), axis=2) for grids in (a, b)]
    filled = [(grids.max(axis=1) > 0).astype(np.float32) for grids in (a, b)]
    masks = [np.fft.rfft(each, axis=1) for each in filled]
    similarity = np.zeros((len(a), len(b)), np.float32)
    shift = np.zeros((len(a), len(b)), np.int64)
    at_once = max(1, PAIRS_AT_ONCE // max(len(b), 1))
    for start in range(0, len(a), at_once):
        part = slice(start, start + at_once)
        products = np.einsum("nrf,mrf->nmf", spectra[0][part].conj(), spectra[1], optimize=True)
        cosines = np.fft.irfft(products, sectors, axis=2)
        both = np.fft.irfft(masks[0][part].conj()[:, None] * masks[1][None], sectors, axis=2)
        either = filled[0][part].sum(1)[:, None, None] + filled[1].sum(1)[None, :, None] - both
        mean = cosines / np.maximum(either, 1.0)
        best = mean.argmax(axis=2)
        similarity[part] = np.take_along_axis(mean, best[..., None], axis=2)[..., 0]
        shift[part] = best
    turn = shift * (2 * np.pi / sectors)
    return np.clip(similarity, 0.0, 1.0), np.where(turn > np.pi, turn - 2 * np.pi, turn)


def likely_turns(a: np.ndarray, b: np.ndarray, count: int = 2) -> list[float]:
    """Yaws of T_b_a in (-pi, pi], rad, the likeliest first: at which shifts two grids (R, S) are most alike.

    There are at most `count`, at least four sectors apart.
    """
    sectors = a.shape[1]
    spectra = [np.fft.rfft(unit_columns(grid[None])[0], axis=1) for grid in (a, b)]
    cosines = np.fft.irfft((spectra[0].conj() * spectra[1]).sum(axis=0), sectors)
    chosen: list[int] = []
    for shift in np.argsort(-cosines, kind="stable").tolist():
        if len(chosen) < count and all(min((shift - c) % sectors, (c - shift) % sectors) > 3 for c in chosen):
            chosen.append(shift)
    turns = [shift * 2 * np.pi / sectors for shift in chosen]
    return [turn - 2 * np.pi if turn > np.pi else turn for turn in turns]
