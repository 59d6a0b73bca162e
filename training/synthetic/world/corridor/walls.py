"""Where the walls of a network of passages stand."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.training.synthetic.world.city import City

AXES = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])


@dataclass(frozen=True)
class Wall:
    """A straight piece of wall; the passage lies to the left of the way from `start` to `end`, (2,) metres."""

    start: np.ndarray
    end: np.ndarray
    outer: bool  # the open air is behind it

    @property
    def length_m(self) -> float:
        return float(np.linalg.norm(self.end - self.start))

    @property
    def along(self) -> np.ndarray:
        return (self.end - self.start) / self.length_m

    @property
    def inward(self) -> np.ndarray:
        """Unit vector into the passage."""
        return np.array([-self.along[1], self.along[0]])

    def at(self, along_m, inward_m, z) -> np.ndarray:
        """Points (..., 3) at distances along the wall and in front of it."""
        along_m, inward_m, z = np.broadcast_arrays(along_m, inward_m, z)
        xy = self.start + along_m[..., None] * self.along + inward_m[..., None] * self.inward
        return np.concatenate([xy, z[..., None]], axis=-1)


def crossing_half_m(city: City) -> float:
    """Half the side of the square room at every crossing: the widest passage fits."""
    return max(street.half_width_m for street in city.streets)


def make_walls(city: City) -> list[Wall]:
    """Both walls of every passage, and around every crossing what is left of its square."""
    half = crossing_half_m(city)
    low, high = city.nodes.min(0) - 0.5, city.nodes.max(0) + 0.5
    pieces = []
    for street in city.streets:
        a, b = city.nodes[street.a], city.nodes[street.b]
        d = (b - a) / np.linalg.norm(b - a)
        left = np.array([-d[1], d[0]]) * street.half_width_m
        pieces += [(b - half * d + left, a + half * d + left), (a + half * d - left, b - half * d - left)]
    for node, centre in enumerate(city.nodes):
        for u in AXES:
            v = np.array([-u[1], u[0]])
            gap = 0.0
            for other, index in city.neighbours[node]:
                if (city.nodes[other] - centre) @ u > 0.9 * np.linalg.norm(city.nodes[other] - centre):
                    gap = city.streets[index].half_width_m
            for s in ((-half, -gap), (gap, half)) if gap else ((-half, half),):
                pieces.append((centre + half * u + s[0] * v, centre + half * u + s[1] * v))
    walls = []
    for start, end in pieces:
        if np.linalg.norm(end - start) > 0.02:
            middle = (start + end) / 2
            walls.append(Wall(start, end, bool((middle < low).any() or (middle > high).any())))
    return walls
