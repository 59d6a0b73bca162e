"""Routes: a walk through the street graph and the smooth line of the right-hand lane along it."""

import heapq
from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.training.synthetic.kinds import kind_of, scale_of
from vpr_ros.training.synthetic.world.city import City, make_city


@dataclass(frozen=True)
class Route:
    """A lane line: `points` (n, 2) every metre, `heading` (n,) radians, in the city's frame (x east, y north)."""

    city_seed: int
    points: np.ndarray
    heading: np.ndarray

    @property
    def length_m(self) -> float:
        return float(len(self.points) - 1)

    def at(self, along_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions (k, 2) and headings (k,) at distances along the line, clipped to its ends."""
        grid = np.arange(len(self.points))
        xy = np.column_stack([np.interp(along_m, grid, self.points[:, k]) for k in range(2)])
        return xy, np.interp(along_m, grid, np.unwrap(self.heading))

    def reversed_lane(self) -> "Route":
        """The same streets driven the other way, on the other side of the road."""
        return Route(self.city_seed, self.points[::-1].copy(), self.heading[::-1] + np.pi)


def _walk(city: City, start: int, goal: int, used: dict[int, int], came_by: int) -> list[int]:
    """Streets of a shortest walk that avoids streets driven before and never turns back where it came from."""
    queue, best = [(0.0, start, came_by, ())], {}
    while queue:
        cost, node, last, path = heapq.heappop(queue)
        if node == goal and path:
            return list(path)
        if best.get((node, last), np.inf) <= cost:
            continue
        best[node, last] = cost
        for other, street in city.neighbours[node]:
            if street != last:
                step = city.streets[street].length_m * (1 + 6 * used.get(street, 0))
                heapq.heappush(queue, (cost + step, other, street, (*path, street)))  # type: ignore[arg-type]
    return []


def plan_route(city_seed: int, length_m: float, route_seed: int = 0, lap_m: float | None = None) -> Route:
    """A drive of `length_m` through several streets, looping round the city and through its middle.

    With `lap_m` it goes back to where it began after about so many metres, and round again. Raises VprError when the
    length of the route, or of a lap, is not positive or longer than the city's streets allow.
    """
    city = make_city(city_seed)
    total = sum(s.length_m for s in city.streets)
    shortest, once_m = 20 * scale_of(city_seed), length_m if lap_m is None else lap_m
    if not shortest <= once_m <= total:
        raise VprError(f"a route of {once_m:g} m does not fit city {city_seed}: ask for {shortest:g} to {total:.0f} m")
    rng = np.random.default_rng([city_seed, route_seed, 23])
    node, used, last, line = int(rng.integers(len(city.nodes))), {}, -1, []
    angle, direction, covered, start = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1]), 0.0, node
    while covered < once_m + 30 or (lap_m is not None and node != start):
        angle += direction * rng.uniform(0.8, 1.9)
        reach = city.extent_m * rng.uniform(0.15, 0.85)
        wanted = reach * np.array([np.cos(angle), np.sin(angle)])
        goal = int(np.argmin(np.linalg.norm(city.nodes - wanted, axis=1)))
        goal = start if covered >= once_m + 30 else goal
        if goal == node:
            continue
        for index in _walk(city, node, goal, used, last):
            street = city.streets[index]
            forward = street.a == node
            points = street.points if forward else street.points[::-1]
            normal = np.column_stack([street.tangent[:, 1], -street.tangent[:, 0]]) * (1 if forward else -1)
            normal = normal if forward else normal[::-1]
            lane = 0.44 * (street.half_width_m - street.parking_m)
            lane = 0.15 if street.half_width_m < 3 else lane  # a narrow street is driven in its middle
            line.append((points + lane * normal)[2:-2])
            node, last = (street.b if forward else street.a), index
            used[index] = used.get(index, 0) + 1
            covered += street.length_m
    raw = np.concatenate(line * (1 if lap_m is None else int(np.ceil((length_m + 30) / covered))))
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(raw, axis=0), axis=1))])
    # A corner is rounded over three metres in a street, and over half a metre between walls.
    grid = np.arange(0, along[-1], 0.06 if kind_of(city_seed) == "corridor" else 0.5)
    dense = np.column_stack([np.interp(grid, along, raw[:, k]) for k in range(2)])
    kernel = np.exp(-0.5 * (np.arange(-24, 25) / 7.0) ** 2)
    padded = np.pad(dense, ((24, 24), (0, 0)), mode="edge")
    smooth = np.column_stack([np.convolve(padded[:, k], kernel / kernel.sum(), "valid") for k in range(2)])[12:-12]
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(smooth, axis=0), axis=1))])
    grid = np.arange(0, length_m + 1)
    points = np.column_stack([np.interp(grid, along, smooth[:, k]) for k in range(2)])
    step = np.gradient(points, axis=0)
    return Route(city_seed, points, np.arctan2(step[:, 1], step[:, 0]))
