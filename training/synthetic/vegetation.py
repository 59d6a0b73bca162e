"""Trees with trunks, forking branches and irregular crowns; hedges. Broad-leaved trees are bare in winter."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .city import OLD, RURAL, SUBURB, URBAN, make_city
from .ground import make_ground
from .lots import make_lots
from .mesh import EVERGREEN, LEAF, Mesh, tube_quads


@dataclass(frozen=True)
class Template:
    """A tree of height 1: `wood` (m, 3, 3), `leaf` (k, 3, 3) triangles and `shade` (k,) brightness of each leaf."""

    wood: np.ndarray
    leaf: np.ndarray
    shade: np.ndarray


def _leaves(centres, size, rng, flat=0.0):
    """One ragged triangle per centre (n, 3) with sizes (n,)."""
    n = len(centres)
    a = rng.standard_normal((n, 3))
    a[:, 2] *= 1 - flat
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(a, rng.standard_normal((n, 3)))
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    angle = np.array([0, 2.1, 4.2])[None] + rng.uniform(-.5, .5, (n, 3))
    radius = size[:, None] * rng.uniform(.7, 1.3, (n, 3))
    return centres[:, None] + radius[..., None] * (np.cos(angle)[..., None] * a[:, None] + np.sin(angle)[..., None] * b[:, None])


def _tubes(starts, ends, r0, r1, sides):
    corners, _ = tube_quads(np.array(starts), np.array(ends), np.array(r0), np.array(r1), sides)
    return corners[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3)


def _broadleaf(rng) -> Template:
    spread, lift, clear = rng.uniform(.22, .42), rng.uniform(.25, .6), rng.uniform(.22, .34)
    lean = rng.uniform(-.05, .05, 2)
    top = np.array([lean[0], lean[1], rng.uniform(.62, .8)])
    wood = [_tubes([[0, 0, 0], [lean[0] * .5, lean[1] * .5, clear]], [[lean[0] * .5, lean[1] * .5, clear], top], [.026, .019], [.019, .006], 6)]
    tips, starts, ends, r0 = [], [], [], []
    limbs = int(rng.integers(6, 10))
    azimuth = rng.uniform(0, 6.28) + np.arange(limbs) * 2.4 + rng.uniform(-.3, .3, limbs)
    for k in range(limbs):
        f = clear + (top[2] - clear) * (k / limbs) ** .8
        base = np.array([lean[0] * f, lean[1] * f, f])
        reach = spread * rng.uniform(.7, 1.15) * (1 - .45 * k / limbs)
        end = base + [reach * np.cos(azimuth[k]), reach * np.sin(azimuth[k]), reach * lift + rng.uniform(.05, .16)]
        starts.append(base)
        ends.append(end)
        r0.append(.011)
        for _ in range(4):
            t = rng.uniform(.35, 1)
            fork = base + t * (end - base)
            tip = fork + rng.normal(0, .075, 3) + [0, 0, .06]
            starts.append(fork)
            ends.append(tip)
            r0.append(.005)
            tips.append(tip)
            for _ in range(3):
                starts.append(fork + rng.uniform(.3, 1) * (tip - fork))
                ends.append(tip + rng.normal(0, .05, 3) + [0, 0, .03])
                r0.append(.0026)
    tips.append(top + [0, 0, .08])
    r0 = np.array(r0)
    wood.append(_tubes(starts, ends, r0, r0 * .45, 3))
    tips = np.array(tips)
    centre = tips.mean(0)
    picks = tips[rng.integers(len(tips), size=520)]
    leaf_at = picks + rng.normal(0, .044, (520, 3))
    leaf_at[:, 2] = np.maximum(leaf_at[:, 2], clear + .02)
    out = np.linalg.norm((leaf_at - centre) / [spread, spread, .35], axis=1)
    shade = np.clip(.42 + .38 * out + .55 * (leaf_at[:, 2] - centre[2]) / .35, .3, 1.25)
    return Template(np.concatenate(wood), _leaves(leaf_at, rng.uniform(.021, .041, 520), rng), shade)


def _conifer(rng) -> Template:
    n = 360
    width, skirt = rng.uniform(.13, .21), rng.uniform(.06, .16)
    h = skirt + (1 - skirt) * rng.beta(1, 1.5, n)
    tier = .75 + .25 * np.cos(h * 2 * np.pi * rng.uniform(7, 11))
    r = width * (1 - (h - skirt) / (1 - skirt)) * tier * np.sqrt(rng.uniform(.35, 1, n)) + .004
    a = rng.uniform(0, 6.28, n)
    centres = np.column_stack([r * np.cos(a), r * np.sin(a), h - .25 * r])
    shade = np.clip(.45 + .7 * r / (width * (1.05 - h) + .02) * .8, .35, 1.15)
    wood = _tubes([[0, 0, 0]], [[0, 0, .95]], [.018], [.004], 5)
    return Template(wood, _leaves(centres, rng.uniform(.028, .052, n) * (1.25 - h * .7), rng, .5), shade)


@lru_cache(maxsize=1)
def templates() -> tuple[tuple[Template, ...], tuple[Template, ...]]:
    """(broad-leaved, evergreen) trees; the same in every city, varied by size, stretch and turn."""
    rng = np.random.default_rng(515)
    return tuple(_broadleaf(rng) for _ in range(14)), tuple(_conifer(rng) for _ in range(7))


@dataclass(frozen=True)
class Trees:
    xy: np.ndarray  # (n, 2)
    height_m: np.ndarray  # (n,)
    evergreen: np.ndarray  # (n,) bool
    seed: np.ndarray  # (n,) int


@lru_cache(maxsize=3)
def make_trees(city_seed: int) -> Trees:
    """Where the trees of a city stand: avenues, gardens, parks, fields, courtyards, and the belt outside the ring."""
    city, ground, lots = make_city(city_seed), make_ground(city_seed), make_lots(city_seed)
    rng = np.random.default_rng([city_seed, 41])
    spots, heights, style = [], [], city.style
    for street in city.streets:
        for side in (1, -1):
            park = (street.index, side) in lots.park_sides
            edge = street.half_width_m + street.pavement_m
            if street.zone == URBAN and street.pavement_m > 2.6 and (rng.random() < .35 * style.tree_density or park):
                s = np.arange(8, street.length_m - 8, rng.uniform(8, 16))
                away = np.full(len(s), street.half_width_m + .9)
                size = rng.uniform(.6, .9)
            else:
                per_m = {URBAN: .0, OLD: .0, SUBURB: .07, RURAL: .085}[street.zone] * style.tree_density + (.16 if park else 0)
                count = rng.poisson(per_m * street.length_m)
                s = rng.uniform(6, max(7, street.length_m - 6), count)
                away = edge + (rng.uniform(1.6, 7, count) if street.zone == SUBURB else 2.6 + rng.exponential(9, count))
                size = rng.uniform(.55, 1.2)
            at = np.column_stack([np.interp(s, street.along, street.points[:, k]) for k in range(2)])
            normal = np.column_stack([np.interp(s, street.along, -street.tangent[:, 1]), np.interp(s, street.along, street.tangent[:, 0])])
            spots.append(at + side * normal * away[:, None])
            heights.append(style.tree_height_m * size * rng.uniform(.75, 1.3, len(s)))
    inner = rng.uniform(-1, 1, (420, 2)) * (city.extent_m + 20)
    belt = rng.uniform(-1, 1, (2600, 2)) * (city.extent_m + 80)
    outside = ground.edge_distance(belt)
    belt = belt[(np.abs(belt).max(1) > city.extent_m * .55) & (outside > 22) & (outside < 75)]
    rows, columns = ground.cells(belt)
    border = np.array([s.border for s in city.streets])[ground.street[rows, columns]]
    belt = belt[border][:700]
    far = inner[ground.edge_distance(inner) > 9]
    for group in (far, belt):
        spots.append(group)
        heights.append(style.tree_height_m * rng.uniform(.6, 1.4, len(group)))
    xy, height = np.concatenate(spots), np.concatenate(heights)
    rows, columns = ground.cells(xy)
    near = np.zeros(len(xy), bool)
    for dr in (-3, 0, 3):
        for dc in (-3, 0, 3):
            near |= lots.occupied[np.clip(rows + dr, 0, None) % len(lots.occupied), (columns + dc) % len(lots.occupied)] > 0
    keep = ~near & (ground.edge_distance(xy) > .7)
    xy, height = xy[keep], height[keep]
    return Trees(xy, height, rng.random(len(xy)) < style.evergreen_share, rng.integers(1 << 30, size=len(xy)))


SUMMER = np.array([[.13, .22, .06], [.17, .25, .08], [.10, .19, .05], [.20, .26, .09], [.13, .20, .09]])
AUTUMN = np.array([[.45, .22, .05], [.50, .33, .07], [.38, .13, .05], [.33, .28, .08], [.22, .24, .08]])


def add_trees(mesh: Mesh, city_seed: int, trees: Trees, chosen: np.ndarray, season: str, clearance) -> None:
    """Add the trees `chosen` (indices); `clearance(xy)` is metres outside the road, which branches never overhang low."""
    broad, conifers = templates()
    groups: dict[tuple[bool, int], list[int]] = {}
    for i in chosen:
        kinds = conifers if trees.evergreen[i] else broad
        groups.setdefault((bool(trees.evergreen[i]), int(trees.seed[i] % len(kinds))), []).append(int(i))
    for (evergreen, kind), members in sorted(groups.items()):
        template = (conifers if evergreen else broad)[kind]
        index = np.array(members)
        rng = [np.random.default_rng([int(trees.seed[i]), 5]) for i in index]
        yaw, wide, tone = (np.array([r.uniform(*span) for r in rng]) for span in ((0, 6.28), (.8, 1.25), (.75, 1.3)))
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.zeros((len(index), 3, 3))
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1], turn[:, 2, 2] = c * wide, -s * wide, s * wide, c * wide, 1
        turn *= trees.height_m[index][:, None, None]
        base = np.column_stack([trees.xy[index], np.zeros(len(index))])

        def place(triangles, turn=turn, base=base):
            return np.einsum("nij,mkj->nmki", turn, triangles) + base[:, None, None]

        uv = np.array([[0, 0], [.5, 0], [.25, .5]], np.float32)
        wood = place(template.wood).reshape(-1, 3, 3)
        bark = np.repeat(np.array([[.16, .13, .10]]) * tone[:, None], len(template.wood), axis=0)
        mesh.triangles(wood, np.broadcast_to(uv, (len(wood), 3, 2)), tint=bark, material="bark")
        if season == "winter" and not evergreen:
            continue
        leaf = place(template.leaf).reshape(-1, 3, 3)
        palette = AUTUMN if season == "autumn" else SUMMER
        colour = np.array([[.055, .105, .055]]) if evergreen else palette[[r.integers(5) for r in rng]]
        tint = (np.broadcast_to(colour * tone[:, None], (len(index), 3))[:, None] * template.shade[None, :, None]).reshape(-1, 3)
        middle = leaf.mean(1)
        keep = (middle[:, 2] > 3.3) | (clearance(middle[:, :2]) > .4)
        if season == "autumn" and not evergreen:
            keep &= np.random.default_rng([city_seed, kind, 9]).random(len(leaf)) < .75
        uv = uv + np.random.default_rng([kind, 3]).uniform(0, 1, (len(template.leaf), 1, 2))
        uv = np.broadcast_to(uv[None], (len(index), *uv.shape)).reshape(-1, 3, 2)
        mesh.triangles(leaf[keep], uv[keep], tint=tint[keep], material="needle" if evergreen else "leaf",
                       kind=EVERGREEN if evergreen else LEAF)


def add_hedge(mesh: Mesh, line: np.ndarray, height_m: float, seed: int, season: str) -> None:
    """A clipped hedge along a polyline (n, 2) with a ragged skin; evergreen for half of the seeds."""
    rng = np.random.default_rng([seed, 6])
    evergreen = seed % 2 == 0
    tint = np.array([.07, .12, .05]) if evergreen else {"summer": np.array([.12, .20, .06]), "autumn": np.array([.30, .20, .06]),
                                                        "winter": np.array([.17, .13, .10])}[season]
    step = np.diff(line, axis=0)
    length = np.linalg.norm(step, axis=1)
    middle = np.column_stack([(line[:-1] + line[1:]) / 2, np.full(len(step), height_m * .46)])
    half = np.column_stack([length / 2 + .05, np.full(len(step), .28), np.full(len(step), height_m * .46)])
    kind = EVERGREEN if evergreen else LEAF
    mesh.boxes(middle, half, np.arctan2(step[:, 1], step[:, 0]), tint=tint * .8, material="leaf", kind=kind)
    n = int(length.sum() * 7)
    t = rng.uniform(0, len(line) - 1, n)
    xy = np.column_stack([np.interp(t, np.arange(len(line)), line[:, k]) for k in range(2)]) + rng.uniform(-.3, .3, (n, 2))
    centres = np.column_stack([xy, height_m * rng.uniform(.25, 1.02, n)])
    mesh.triangles(_leaves(centres, rng.uniform(.1, .24, n), rng), tint=tint * rng.uniform(.7, 1.3, (n, 1)), material="leaf", kind=kind)
