"""City layout by seed: districts, streets, style. Numbers only; geometry is built by the other modules.

Seeds within each kind of world (`kinds`): 0..999 train, 1000..1099 validation, 2000 and above test. The demo drives in
DEMO_CITY_SEED and leaves the map into DEMO_OFFMAP_SEED; both are test cities that nothing else may use.
"""

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from vpr_ros.training.synthetic.kinds import WorldKind, kind_of

WORLD_VERSION = "1.0"
DEMO_CITY_SEED, DEMO_OFFMAP_SEED = 2000, 2001

URBAN, OLD, SUBURB, RURAL = range(4)
ZONE_NAMES = ("urban", "old", "suburb", "rural")


@dataclass(frozen=True)
class Street:
    """One edge of the street graph; `points` (n, 2) run along the centre line every 2 m or so."""

    index: int
    a: int
    b: int
    points: np.ndarray
    along: np.ndarray  # (n,) metres from node a
    tangent: np.ndarray  # (n, 2) unit vectors
    half_width_m: float
    pavement_m: float
    parking_m: float  # width of the parking strip at each kerb
    zone: int
    surface: int  # 0 asphalt, 1 cobble, 2 gravel
    arcade: bool  # a roofed passage
    border: bool  # on the outer ring

    @property
    def length_m(self) -> float:
        return float(self.along[-1])


@dataclass(frozen=True)
class Plan:
    """What the street network of a kind of world is like."""

    crossings: int = 7  # along each side of the grid
    block_m: tuple[float, float] = (58.0, 118.0)  # between crossings
    straight: bool = False  # a grid of right angles
    point_m: float = 2.0  # between points of a centre line
    removed: float = 0.22  # share of inner links that are missing
    zones: tuple[int, ...] = ()  # one of them for the whole world; empty: by the distance from the centre
    half_width_m: tuple[float, float] | None = None  # None: as usual in the zone
    alike: bool = False  # streets differ in nothing but their course


PLANS: dict[WorldKind, Plan] = {
    "city": Plan(),
    "repetitive": Plan(zones=(URBAN, OLD, SUBURB), alike=True),
    "sparse": Plan(crossings=5, block_m=(130, 210), zones=(RURAL,)),
    "corridor": Plan(4, (8, 18), True, 0.25, 0.4, (SUBURB,), (1.0, 1.5)),
}


@dataclass(frozen=True)
class Style:
    """Properties of a whole city."""

    wall_colours: np.ndarray  # (k, 3)
    roof_colours: np.ndarray  # (k, 3)
    wall_materials: tuple[str, ...]
    window_styles: tuple[int, ...]
    floors_mean: float
    flat_roofs: float  # share of flat roofs among urban houses
    tree_density: float
    parked_density: float
    evergreen_share: float
    lamp_kind: int
    marking: int  # 0 white, 1 yellow centre, 2 none
    road_tone: float
    pavement_colour: np.ndarray
    hills: np.ndarray  # (5, 3) amplitude_rad, frequency, phase of the skyline
    wires: bool
    tree_height_m: float


@dataclass(frozen=True)
class City:
    seed: int
    style: Style
    nodes: np.ndarray  # (n, 2) metres
    streets: tuple[Street, ...]
    extent_m: float  # streets lie within +- extent
    neighbours: dict[int, list[tuple[int, int]]] = field(repr=False)  # node -> (node, street)


def _style(rng: np.random.Generator) -> Style:
    palette = np.array(
        [
            [0.78, 0.70, 0.56],
            [0.72, 0.52, 0.38],
            [0.56, 0.30, 0.22],
            [0.80, 0.78, 0.72],
            [0.62, 0.60, 0.56],
            [0.82, 0.72, 0.46],
            [0.66, 0.74, 0.70],
            [0.74, 0.56, 0.52],
            [0.50, 0.42, 0.36],
            [0.70, 0.72, 0.78],
            [0.86, 0.84, 0.80],
            [0.58, 0.50, 0.30],
            [0.45, 0.48, 0.50],
            [0.76, 0.62, 0.60],
        ]
    )
    roofs = np.array(
        [
            [0.46, 0.20, 0.14],
            [0.34, 0.16, 0.13],
            [0.24, 0.24, 0.26],
            [0.30, 0.26, 0.22],
            [0.20, 0.22, 0.27],
            [0.40, 0.30, 0.2],
        ]
    )
    materials = np.array(["plaster", "brick", "stone", "siding", "concrete", "planks", "panels", "plaster"])
    return Style(
        wall_colours=np.clip(palette[rng.permutation(14)[:7]] + rng.uniform(-0.06, 0.06, (7, 3)), 0.08, 0.92),
        roof_colours=roofs[rng.permutation(6)[:3]],
        wall_materials=tuple(materials[rng.permutation(8)[:4]]),
        window_styles=tuple(int(i) for i in rng.permutation(12)[:7]),
        floors_mean=float(rng.uniform(2.6, 5.2)),
        flat_roofs=float(rng.uniform(0.1, 0.8)),
        tree_density=float(rng.uniform(0.35, 1.2)),
        parked_density=float(rng.uniform(0.15, 0.55)),
        evergreen_share=float(rng.uniform(0.12, 0.45)),
        lamp_kind=int(rng.integers(3)),
        marking=int(rng.choice(3, p=[0.55, 0.25, 0.2])),
        road_tone=float(rng.uniform(0.09, 0.20)),
        pavement_colour=np.array([0.36, 0.345, 0.32]) * rng.uniform(0.75, 1.25) + rng.uniform(-0.03, 0.03, 3),
        hills=np.column_stack([rng.uniform(0.004, 0.045, 5), rng.integers(1, 9, 5), rng.uniform(0, 6.28, 5)]),
        wires=bool(rng.random() < 0.65),
        tree_height_m=float(rng.uniform(6.5, 11)),
    )


def _centre_line(a, b, bend_m: float, point_m: float) -> np.ndarray:
    """A quadratic arc from a to b, resampled about every `point_m` metres."""
    chord = b - a
    middle = (a + b) / 2 + bend_m * np.array([-chord[1], chord[0]]) / np.linalg.norm(chord)
    t = np.linspace(0, 1, 60)[:, None]
    curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve, axis=0), axis=1))])
    at = np.linspace(0, along[-1], max(8, int(along[-1] / point_m)))
    return np.column_stack([np.interp(at, along, curve[:, 0]), np.interp(at, along, curve[:, 1])])


def make_street(index, a, b, points, zone, rng, arcade=False, border=False) -> Street:
    """A street of its zone's usual width along given points."""
    steps = np.diff(points, axis=0)
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(steps, axis=1))])
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    half, pavement, parking = {
        URBAN: (rng.uniform(4.6, 6.8), rng.uniform(2.2, 4.0), 2.1),
        OLD: (rng.uniform(2.1, 2.9), rng.uniform(0.5, 1.2), 0.0),
        SUBURB: (rng.uniform(3.6, 4.8), rng.uniform(1.3, 2.2), 1.9 if rng.random() < 0.6 else 0.0),
        RURAL: (rng.uniform(2.7, 3.4), 0.6, 0.0),
    }[zone]
    surface = {URBAN: 0, OLD: 1 if rng.random() < 0.7 else 0, SUBURB: 0, RURAL: 2 if rng.random() < 0.2 else 0}[zone]
    return Street(
        index,
        a,
        b,
        points,
        along,
        tangent,
        float(half),
        float(pavement),
        parking if half > 4 else 0.0,
        zone,
        surface,
        arcade,
        border,
    )


def street_rng(city_seed: int, street: Street, purpose: int) -> np.random.Generator:
    """What one street draws its things from; streets that are alike draw the same."""
    return np.random.default_rng([city_seed, 0 if PLANS[kind_of(city_seed)].alike else street.index, purpose])


@lru_cache(maxsize=4)
def make_city(seed: int) -> City:
    """The layout of city `seed`: a warped irregular grid of crossings, some links missing, its ring closed."""
    kind = kind_of(seed)
    plan = PLANS[kind]
    rng = np.random.default_rng([seed, 11])
    style = _style(rng)
    if kind == "sparse":
        style = replace(style, tree_density=0.12 * style.tree_density, wires=style.wires and seed % 2 == 0)
    count = plan.crossings
    lines = [np.cumsum(np.concatenate([[0], rng.uniform(*plan.block_m, count - 1)])) for _ in range(2)]
    gx, gy = np.meshgrid(lines[0] - lines[0].mean(), lines[1] - lines[1].mean(), indexing="ij")
    nodes = np.column_stack([gx.ravel(), gy.ravel()])
    curved = 0.0 if plan.straight else rng.uniform(0, 1)
    warp = 4 + 22 * curved
    phase = rng.uniform(0, 6.28, 4)
    warped = nodes + warp * np.column_stack(
        [
            np.sin(nodes[:, 1] / 95 + phase[0]) + 0.4 * np.sin(nodes[:, 0] / 50 + phase[1]),
            np.sin(nodes[:, 0] / 110 + phase[2]) + 0.4 * np.sin(nodes[:, 1] / 60 + phase[3]),
        ]
    )
    warped += rng.uniform(-4, 4, nodes.shape)
    turn = rng.uniform(0, np.pi)
    c, s = np.cos(turn), np.sin(turn)
    nodes = nodes if plan.straight else warped @ np.array([[c, s], [-s, c]])

    links = [
        (i * count + j, (i + di) * count + j + dj)
        for i in range(count)
        for j in range(count)
        for di, dj in ((1, 0), (0, 1))
        if i + di < count and j + dj < count
    ]
    degree = np.bincount(np.array(links).ravel(), minlength=count * count)

    def on_border(a, b):
        (ia, ja), (ib, jb) = divmod(a, count), divmod(b, count)
        return (ia == ib and ia in (0, count - 1)) or (ja == jb and ja in (0, count - 1))

    keep = []
    for k in rng.permutation(len(links)):
        a, b = links[k]
        if not on_border(a, b) and degree[a] > 3 and degree[b] > 3 and rng.random() < plan.removed:
            degree[a] -= 1
            degree[b] -= 1
        else:
            keep.append(k)

    middles = [16, 17, 23, 24, 25, 31, 32] if count == 7 else [len(nodes) // 2]
    centre = nodes[rng.choice(middles)]
    old_at = centre + rng.uniform(-90, 90, 2)
    reach = rng.uniform(120, 260), rng.uniform(250, 380)
    only = plan.zones[int(rng.integers(len(plan.zones)))] if plan.zones else None
    streets = []
    for k in sorted(keep):
        a, b = links[k]
        middle = (nodes[a] + nodes[b]) / 2
        r = np.linalg.norm(middle - centre) + rng.uniform(-35, 35)
        zone = URBAN if r < reach[0] else SUBURB if r < reach[1] else RURAL
        if np.linalg.norm(middle - old_at) < 75:
            zone = OLD
        zone = zone if only is None else only
        bend = 0.0 if plan.straight else rng.normal(0, 2 + 9 * curved)
        arcade = bool(zone == OLD and only is None and rng.random() < 0.3)
        line = _centre_line(nodes[a], nodes[b], bend, plan.point_m)
        widths = np.random.default_rng([seed, 13]) if plan.alike else rng
        street = make_street(len(streets), a, b, line, zone, widths, arcade, on_border(a, b))
        if plan.half_width_m:
            street = replace(street, half_width_m=float(rng.uniform(*plan.half_width_m)), pavement_m=0.0, parking_m=0.0)
        streets.append(street)
    neighbours: dict[int, list[tuple[int, int]]] = {i: [] for i in range(len(nodes))}
    for street in streets:
        neighbours[street.a].append((street.b, street.index))
        neighbours[street.b].append((street.a, street.index))
    return City(seed, style, nodes, tuple(streets), float(np.abs(nodes).max() + 20), neighbours)
