"""Where houses stand: rows along the streets by district, never on a road or inside another house, and landmarks."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from vpr_ros.training.synthetic.kinds import kind_of
from vpr_ros.training.synthetic.world.city import OLD, PLANS, RURAL, SUBURB, URBAN, make_city
from vpr_ros.training.synthetic.world.ground import CELL_M, Ground, make_ground

LotKind = Literal["house", "church", "tower_block", "water_tower", "chimney", "mast", "silo"]


@dataclass(frozen=True)
class Lot:
    """One house: `front` is the middle of its front wall at the ground, `outward` points away from the street."""

    front: np.ndarray
    outward: np.ndarray
    width_m: float
    depth_m: float
    zone: int
    seed: int
    kind: LotKind = "house"

    @property
    def right(self) -> np.ndarray:
        """Unit vector to the right for a viewer who faces the house."""
        return np.array([self.outward[1], -self.outward[0]])

    def footprint(self, grow_m: float = 0.0) -> np.ndarray:
        """Corners (4, 2)."""
        w, g = self.width_m / 2 + grow_m, grow_m
        return np.array(
            [
                self.front + x * self.right + y * self.outward
                for x, y in ((-w, -g), (w, -g), (w, self.depth_m + g), (-w, self.depth_m + g))
            ]
        )


@dataclass(frozen=True)
class Lots:
    houses: tuple[Lot, ...]
    occupied: np.ndarray  # (R, C) uint8 on the ground raster, 1 under a house
    park_sides: frozenset[tuple[int, int]]  # (street, side) without houses, with trees and a fence


def _fits(lot: Lot, ground: Ground, occupied: np.ndarray, tolerance: float) -> bool:
    u, v = np.meshgrid(np.linspace(-0.5, 0.5, 7), np.linspace(0.02, 1, 6))
    xy = lot.front + u[..., None] * lot.width_m * lot.right + v[..., None] * lot.depth_m * lot.outward
    rows, columns = ground.cells(xy)
    clear = ground.fields[rows, columns, 0] - ground.pavement_m[rows, columns]
    return bool(clear.min() > -0.45 and occupied[rows, columns].mean() <= tolerance)


def _paint(lot: Lot, ground: Ground, occupied: np.ndarray) -> None:
    corners = np.rint((lot.footprint() - ground.origin_m) / CELL_M).astype(np.int32)
    cv2.fillPoly(occupied, [corners], 1)


def _landmarks(city, ground, occupied, rng, count: int) -> list[Lot]:
    kinds: list[LotKind] = ["church", "tower_block", "water_tower", "chimney", "mast", "tower_block", "church", "silo"]
    found = []
    for kind in [kinds[i] for i in rng.permutation(len(kinds))[:count]]:
        w, d = {"church": (12, 26), "tower_block": (18, 16), "silo": (10, 10)}.get(kind, (7, 7))
        for _ in range(60):
            xy = rng.uniform(-0.8, 0.8, 2) * city.extent_m
            angle = rng.uniform(0, 2 * np.pi)
            lot = Lot(xy, np.array([np.cos(angle), np.sin(angle)]), w, d, URBAN, int(rng.integers(1 << 30)), kind)
            if _fits(lot, ground, occupied, 0.0):
                _paint(lot, ground, occupied)
                found.append(lot)
                break
    return found


def _lot_size(zone: int, sparse: bool, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Width, setback, depth and the gap to the next house, in metres."""
    size = {  # all zones are drawn, so that a street's zone changes nothing elsewhere
        URBAN: (
            rng.uniform(7, 20),
            rng.uniform(0, 0.5),
            rng.uniform(9, 14),
            0 if rng.random() < 0.85 else rng.uniform(2, 7),
        ),
        OLD: (
            rng.uniform(5, 11),
            rng.uniform(0, 0.35),
            rng.uniform(8, 12),
            0 if rng.random() < 0.93 else rng.uniform(1, 3),
        ),
        SUBURB: (rng.uniform(8, 14), rng.uniform(3, 9), rng.uniform(8, 11), rng.uniform(2.5, 10)),
        RURAL: (rng.uniform(9, 18), rng.uniform(5, 20), rng.uniform(7, 11), rng.uniform(12, 75)),
    }[zone]
    return (*size[:3], rng.uniform(150, 500)) if sparse else size


@dataclass(frozen=True)
class HouseModel:
    """A house that its builder repeats along all streets."""

    size: tuple[float, float, float, float]  # width, setback, depth and the gap to the next house, in metres
    seed: int


def _builder(zone: int, rng: np.random.Generator) -> list[HouseModel]:
    """The row that one builder repeats: houses of two models, of the same size and in the same order everywhere."""
    size = _lot_size(zone, False, rng)
    pair = [HouseModel(size, int(rng.integers(1 << 30))) for _ in range(2)]
    return [pair[i] for i in rng.permutation([0, 0, 0, 1])]


@lru_cache(maxsize=3)
def make_lots(seed: int) -> Lots:
    """All houses of city `seed`."""
    city, ground = make_city(seed), make_ground(seed)
    rng = np.random.default_rng([seed, 31])
    occupied = np.zeros(ground.street.shape, np.uint8)
    sparse, repetitive = kind_of(seed) == "sparse", PLANS[kind_of(seed)].alike
    houses, parks = _landmarks(city, ground, occupied, rng, 2 if sparse else 1 if repetitive else 5), set()
    models = _builder(city.streets[0].zone, rng) if repetitive else None
    for street in city.streets:
        for side in (1, -1):
            if models is None and street.zone in (URBAN, SUBURB) and rng.random() < 0.10:
                parks.add((street.index, side))
                continue
            if sparse and rng.random() < 0.6:
                continue
            at, placed = rng.uniform(0, 150 if sparse else 5), 0
            while at < street.length_m - 4:
                zone = street.zone
                model = None if models is None else models[placed % len(models)]
                width, setback, depth, gap = model.size if model else _lot_size(zone, sparse, rng)
                middle = at + width / 2
                centre = np.array([np.interp(middle, street.along, street.points[:, k]) for k in range(2)])
                tangent = np.array([np.interp(middle, street.along, street.tangent[:, k]) for k in range(2)])
                tangent /= np.linalg.norm(tangent)
                outward = side * np.array([-tangent[1], tangent[0]])
                if zone == RURAL:
                    turn = rng.uniform(-0.4, 0.4)
                    outward = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ outward
                front = centre + outward * (street.half_width_m + street.pavement_m + setback)
                lot = Lot(front, outward, width, depth, zone, model.seed if model else int(rng.integers(1 << 30)))
                if _fits(lot, ground, occupied, 0.12 if zone in (URBAN, OLD) else 0.0):
                    _paint(lot, ground, occupied)
                    houses.append(lot)
                    placed += 1
                    at += width + gap
                else:
                    at += 2.5
    return Lots(tuple(houses), occupied, frozenset(parks))
