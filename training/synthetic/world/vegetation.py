"""Trees with trunks, forking branches and irregular crowns; hedges. Broad-leaved trees are bare in winter."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vpr_ros.training.synthetic.conditions import Season
from vpr_ros.training.synthetic.kinds import kind_of
from vpr_ros.training.synthetic.world.city import OLD, PLANS, RURAL, SUBURB, URBAN, make_city, street_rng
from vpr_ros.training.synthetic.world.ground import make_ground
from vpr_ros.training.synthetic.world.lots import make_lots
from vpr_ros.training.synthetic.world.mesh import EVERGREEN, LEAF, Mesh, tube_quads


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
    angle = np.array([0, 2.1, 4.2])[None] + rng.uniform(-0.5, 0.5, (n, 3))
    radius = size[:, None] * rng.uniform(0.7, 1.3, (n, 3))
    return centres[:, None] + radius[..., None] * (
        np.cos(angle)[..., None] * a[:, None] + np.sin(angle)[..., None] * b[:, None]
    )


def _tubes(starts, ends, r0, r1, sides):
    corners, _ = tube_quads(np.array(starts), np.array(ends), np.array(r0), np.array(r1), sides)
    return corners[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3, 3)


def _broadleaf(rng) -> Template:
    spread, lift, clear = rng.uniform(0.22, 0.42), rng.uniform(0.25, 0.6), rng.uniform(0.22, 0.34)
    lean = rng.uniform(-0.05, 0.05, 2)
    top = np.array([lean[0], lean[1], rng.uniform(0.62, 0.8)])
    wood = [
        _tubes(
            [[0, 0, 0], [lean[0] * 0.5, lean[1] * 0.5, clear]],
            [[lean[0] * 0.5, lean[1] * 0.5, clear], top],
            [0.026, 0.019],
            [0.019, 0.006],
            6,
        )
    ]
    tips, starts, ends, r0 = [], [], [], []
    limbs = int(rng.integers(6, 10))
    azimuth = rng.uniform(0, 6.28) + np.arange(limbs) * 2.4 + rng.uniform(-0.3, 0.3, limbs)
    for k in range(limbs):
        f = clear + (top[2] - clear) * (k / limbs) ** 0.8
        base = np.array([lean[0] * f, lean[1] * f, f])
        reach = spread * rng.uniform(0.7, 1.15) * (1 - 0.45 * k / limbs)
        end = base + [reach * np.cos(azimuth[k]), reach * np.sin(azimuth[k]), reach * lift + rng.uniform(0.05, 0.16)]
        starts.append(base)
        ends.append(end)
        r0.append(0.011)
        for _ in range(4):
            t = rng.uniform(0.35, 1)
            fork = base + t * (end - base)
            tip = fork + rng.normal(0, 0.075, 3) + [0, 0, 0.06]
            starts.append(fork)
            ends.append(tip)
            r0.append(0.005)
            tips.append(tip)
            for _ in range(3):
                starts.append(fork + rng.uniform(0.3, 1) * (tip - fork))
                ends.append(tip + rng.normal(0, 0.05, 3) + [0, 0, 0.03])
                r0.append(0.0026)
    tips.append(top + [0, 0, 0.08])
    r0 = np.array(r0)
    wood.append(_tubes(starts, ends, r0, r0 * 0.45, 3))
    tips = np.array(tips)
    centre = tips.mean(0)
    picks = tips[rng.integers(len(tips), size=520)]
    leaf_at = picks + rng.normal(0, 0.044, (520, 3))
    leaf_at[:, 2] = np.maximum(leaf_at[:, 2], clear + 0.02)
    out = np.linalg.norm((leaf_at - centre) / [spread, spread, 0.35], axis=1)
    shade = np.clip(0.42 + 0.38 * out + 0.55 * (leaf_at[:, 2] - centre[2]) / 0.35, 0.3, 1.25)
    return Template(np.concatenate(wood), _leaves(leaf_at, rng.uniform(0.021, 0.041, 520), rng), shade)


def _conifer(rng) -> Template:
    n = 360
    width, skirt = rng.uniform(0.13, 0.21), rng.uniform(0.06, 0.16)
    h = skirt + (1 - skirt) * rng.beta(1, 1.5, n)
    tier = 0.75 + 0.25 * np.cos(h * 2 * np.pi * rng.uniform(7, 11))
    r = width * (1 - (h - skirt) / (1 - skirt)) * tier * np.sqrt(rng.uniform(0.35, 1, n)) + 0.004
    a = rng.uniform(0, 6.28, n)
    centres = np.column_stack([r * np.cos(a), r * np.sin(a), h - 0.25 * r])
    shade = np.clip(0.45 + 0.7 * r / (width * (1.05 - h) + 0.02) * 0.8, 0.35, 1.15)
    wood = _tubes([[0, 0, 0]], [[0, 0, 0.95]], [0.018], [0.004], 5)
    return Template(wood, _leaves(centres, rng.uniform(0.028, 0.052, n) * (1.25 - h * 0.7), rng, 0.5), shade)


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
    alike, sparse = PLANS[kind_of(city_seed)].alike, kind_of(city_seed) == "sparse"
    spots, heights, style = [], [], city.style
    for street in city.streets:
        if alike:
            _row_of_trees(street, style.tree_height_m, street_rng(city_seed, street, 43), spots, heights)
            continue
        for side in (1, -1):
            park = (street.index, side) in lots.park_sides
            edge = street.half_width_m + street.pavement_m
            if street.zone == URBAN and street.pavement_m > 2.6 and (rng.random() < 0.35 * style.tree_density or park):
                s = np.arange(8, street.length_m - 8, rng.uniform(8, 16))
                away = np.full(len(s), street.half_width_m + 0.9)
                size = rng.uniform(0.6, 0.9)
            else:
                per_m = {URBAN: 0.0, OLD: 0.0, SUBURB: 0.07, RURAL: 0.085}[street.zone] * style.tree_density + (
                    0.16 if park else 0
                )
                count = rng.poisson(per_m * street.length_m)
                s = rng.uniform(6, max(7, street.length_m - 6), count)
                away = edge + (rng.uniform(1.6, 7, count) if street.zone == SUBURB else 2.6 + rng.exponential(9, count))
                size = rng.uniform(0.55, 1.2)
            at = np.column_stack([np.interp(s, street.along, street.points[:, k]) for k in range(2)])
            normal = np.column_stack(
                [np.interp(s, street.along, -street.tangent[:, 1]), np.interp(s, street.along, street.tangent[:, 0])]
            )
            spots.append(at + side * normal * away[:, None])
            heights.append(style.tree_height_m * size * rng.uniform(0.75, 1.3, len(s)))
    inner = rng.uniform(-1, 1, (40 if sparse else 420, 2)) * (city.extent_m + 20)
    belt = rng.uniform(-1, 1, (90 if sparse else 2600, 2)) * (city.extent_m + 80)
    outside = ground.edge_distance(belt)
    belt = belt[(np.abs(belt).max(1) > city.extent_m * 0.55) & (outside > 22) & (outside < 75)]
    rows, columns = ground.cells(belt)
    border = np.array([s.border for s in city.streets])[ground.street[rows, columns]]
    belt = belt[border][:700]
    far = inner[ground.edge_distance(inner) > 9]
    for group in (far, belt):
        spots.append(group)
        heights.append(style.tree_height_m * rng.uniform(0.6, 1.4, len(group)))
    xy, height = np.concatenate(spots), np.concatenate(heights)
    rows, columns = ground.cells(xy)
    near = np.zeros(len(xy), bool)
    for dr in (-3, 0, 3):
        for dc in (-3, 0, 3):
            near |= (
                lots.occupied[np.clip(rows + dr, 0, None) % len(lots.occupied), (columns + dc) % len(lots.occupied)] > 0
            )
    keep = ~near & (ground.edge_distance(xy) > 0.7)
    xy, height = xy[keep], height[keep]
    evergreen, seeds = rng.random(len(xy)) < style.evergreen_share, rng.integers(1 << 30, size=len(xy))
    if alike:
        evergreen[:], seeds = bool(evergreen[0]), seeds[0] + seeds % 2
    return Trees(xy, height, evergreen, seeds)


def _row_of_trees(street, height_m: float, rng, spots: list, heights: list) -> None:
    """Trees of one size at equal distances along both sides of a street."""
    s = np.arange(6.0, street.length_m - 6, rng.uniform(9, 16))
    away = street.half_width_m + (street.pavement_m + 1.6 if street.zone == SUBURB else 0.9)
    if street.pavement_m < 1.2:
        return
    at = np.column_stack([np.interp(s, street.along, street.points[:, k]) for k in range(2)])
    normal = np.column_stack(
        [np.interp(s, street.along, -street.tangent[:, 1]), np.interp(s, street.along, street.tangent[:, 0])]
    )
    for side in (1, -1):
        spots.append(at + side * normal * away)
        heights.append(np.full(len(s), 0.75 * height_m))


SUMMER = np.array([[0.13, 0.22, 0.06], [0.17, 0.25, 0.08], [0.10, 0.19, 0.05], [0.20, 0.26, 0.09], [0.13, 0.20, 0.09]])
AUTUMN = np.array([[0.45, 0.22, 0.05], [0.50, 0.33, 0.07], [0.38, 0.13, 0.05], [0.33, 0.28, 0.08], [0.22, 0.24, 0.08]])


def add_trees(mesh: Mesh, city_seed: int, trees: Trees, chosen: np.ndarray, season: Season, clearance) -> None:
    """Add the trees `chosen` (indices); `clearance(xy)` is metres outside the road; no branch overhangs it low."""
    broad, conifers = templates()
    groups: dict[tuple[bool, int], list[int]] = {}
    for i in chosen:
        kinds = conifers if trees.evergreen[i] else broad
        groups.setdefault((bool(trees.evergreen[i]), int(trees.seed[i] % len(kinds))), []).append(int(i))
    for (evergreen, kind), members in sorted(groups.items()):
        template = (conifers if evergreen else broad)[kind]
        index = np.array(members)
        rng = [np.random.default_rng([int(trees.seed[i]), 5]) for i in index]
        yaw, wide, tone = (np.array([r.uniform(*span) for r in rng]) for span in ((0, 6.28), (0.8, 1.25), (0.75, 1.3)))
        c, s = np.cos(yaw), np.sin(yaw)
        turn = np.zeros((len(index), 3, 3))
        turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1], turn[:, 2, 2] = (
            c * wide,
            -s * wide,
            s * wide,
            c * wide,
            1,
        )
        turn *= trees.height_m[index][:, None, None]
        base = np.column_stack([trees.xy[index], np.zeros(len(index))])

        def place(triangles, turn=turn, base=base):
            return np.einsum("nij,mkj->nmki", turn, triangles) + base[:, None, None]

        uv = np.array([[0, 0], [0.5, 0], [0.25, 0.5]], np.float32)
        wood = place(template.wood).reshape(-1, 3, 3)
        bark = np.repeat(np.array([[0.16, 0.13, 0.10]]) * tone[:, None], len(template.wood), axis=0)
        mesh.triangles(wood, np.broadcast_to(uv, (len(wood), 3, 2)), tint=bark, material="bark")
        if season == "winter" and not evergreen:
            continue
        leaf = place(template.leaf).reshape(-1, 3, 3)
        palette = AUTUMN if season == "autumn" else SUMMER
        colour = np.array([[0.055, 0.105, 0.055]]) if evergreen else palette[[r.integers(5) for r in rng]]
        tint = (
            np.broadcast_to(colour * tone[:, None], (len(index), 3))[:, None] * template.shade[None, :, None]
        ).reshape(-1, 3)
        middle = leaf.mean(1)
        keep = (middle[:, 2] > 3.3) | (clearance(middle[:, :2]) > 0.4)
        if season == "autumn" and not evergreen:
            keep &= np.random.default_rng([city_seed, kind, 9]).random(len(leaf)) < 0.75
        uv = uv + np.random.default_rng([kind, 3]).uniform(0, 1, (len(template.leaf), 1, 2))
        uv = np.broadcast_to(uv[None], (len(index), *uv.shape)).reshape(-1, 3, 2)
        mesh.triangles(
            leaf[keep],
            uv[keep],
            tint=tint[keep],
            material="needle" if evergreen else "leaf",
            kind=EVERGREEN if evergreen else LEAF,
        )


def add_hedge(mesh: Mesh, line: np.ndarray, height_m: float, seed: int, season: Season) -> None:
    """A clipped hedge along a polyline (n, 2) with a ragged skin; evergreen for half of the seeds."""
    rng = np.random.default_rng([seed, 6])
    evergreen = seed % 2 == 0
    tint = (
        np.array([0.07, 0.12, 0.05])
        if evergreen
        else {
            "summer": np.array([0.12, 0.20, 0.06]),
            "autumn": np.array([0.30, 0.20, 0.06]),
            "winter": np.array([0.17, 0.13, 0.10]),
        }[season]
    )
    step = np.diff(line, axis=0)
    length = np.linalg.norm(step, axis=1)
    middle = np.column_stack([(line[:-1] + line[1:]) / 2, np.full(len(step), height_m * 0.46)])
    half = np.column_stack([length / 2 + 0.05, np.full(len(step), 0.28), np.full(len(step), height_m * 0.46)])
    kind = EVERGREEN if evergreen else LEAF
    mesh.boxes(middle, half, np.arctan2(step[:, 1], step[:, 0]), tint=tint * 0.8, material="leaf", kind=kind)
    n = int(length.sum() * 7)
    t = rng.uniform(0, len(line) - 1, n)
    xy = np.column_stack([np.interp(t, np.arange(len(line)), line[:, k]) for k in range(2)]) + rng.uniform(
        -0.3, 0.3, (n, 2)
    )
    centres = np.column_stack([xy, height_m * rng.uniform(0.25, 1.02, n)])
    mesh.triangles(
        _leaves(centres, rng.uniform(0.1, 0.24, n), rng),
        tint=tint * rng.uniform(0.7, 1.3, (n, 1)),
        material="leaf",
        kind=kind,
    )
