"""Houses and landmarks as triangles: façades with bays, roofs, cornices, balconies, awnings, chimneys."""

import numpy as np

from .city import OLD, RURAL, SUBURB, URBAN, Style
from .lots import Lot
from .mesh import FACADE, LAMP, SIGN, Mesh


class _Frame:
    """Local house coordinates: x to the viewer's right along the front, y into the house, z up."""

    def __init__(self, lot: Lot):
        self.lot = lot
        self.yaw = float(np.arctan2(lot.right[1], lot.right[0]))

    def __call__(self, points) -> np.ndarray:
        p = np.asarray(points, np.float64)
        xy = self.lot.front + p[..., :1] * self.lot.right + p[..., 1:2] * self.lot.outward
        return np.concatenate([xy, p[..., 2:3]], axis=-1)


def _walls(mesh: Mesh, at: _Frame, x0, x1, y0, y1, z0, z1, bay_m, ground, side_ground, **look):
    """Four façades of a box; the front has ground floor kind `ground`."""
    w, d = x1 - x0, y1 - y0
    loops = (((x0, y0), (x1, y0), w), ((x1, y0), (x1, y1), d), ((x1, y1), (x0, y1), w), ((x0, y1), (x0, y0), d))
    for face, ((ax, ay), (bx, by), length) in enumerate(loops):
        bay = length / max(1, round(length / bay_m))
        quad = at([[ax, ay, z0], [bx, by, z0], [bx, by, z1], [ax, ay, z1]])
        uv = [[0, z0], [length, z0], [length, z1], [0, z1]]
        mesh.quads(quad[None], [uv], kind=FACADE, bay_m=bay, ground=ground if face == 0 else side_ground[face - 1], **look)


def _gable_roof(mesh, at, x0, x1, y0, y1, z, rise, along_x, over, tint, material, wall_tint, wall_material):
    """A pitched roof with its ridge along x (parallel to the street) or along y."""
    if along_x:
        m = (y0 + y1) / 2
        slope = rise / (m - y0)
        zl = z - over * slope
        mesh.quads(at([[[x0 - over, y0 - over, zl], [x1 + over, y0 - over, zl], [x1 + over, m, z + rise], [x0 - over, m, z + rise]],
                       [[x1 + over, y1 + over, zl], [x0 - over, y1 + over, zl], [x0 - over, m, z + rise], [x1 + over, m, z + rise]]]),
                   tint=tint, material=material)
        ends = [[[x0, y0, z], [x0, y1, z], [x0, m, z + rise]], [[x1, y0, z], [x1, y1, z], [x1, m, z + rise]]]
    else:
        m = (x0 + x1) / 2
        slope = rise / (m - x0)
        zl = z - over * slope
        mesh.quads(at([[[x0 - over, y1 + over, zl], [x0 - over, y0 - over, zl], [m, y0 - over, z + rise], [m, y1 + over, z + rise]],
                       [[x1 + over, y0 - over, zl], [x1 + over, y1 + over, zl], [m, y1 + over, z + rise], [m, y0 - over, z + rise]]]),
                   tint=tint, material=material)
        ends = [[[x0, y0, z], [x1, y0, z], [m, y0, z + rise]], [[x0, y1, z], [x1, y1, z], [m, y1, z + rise]]]
    run = (y1 - y0) if along_x else (x1 - x0)
    mesh.triangles(at(ends), [[[0, 0], [run, 0], [run / 2, rise]]] * 2, tint=wall_tint, material=wall_material)


def _hip_roof(mesh, at, x0, x1, y0, y1, z, rise, over, tint, material):
    inset = min(x1 - x0, y1 - y0) / 2 * .9
    a, b, c, d = x0 - over, x1 + over, y0 - over, y1 + over
    m = (y0 + y1) / 2
    r0, r1 = [x0 + inset, m, z + rise], [x1 - inset, m, z + rise]
    low = z - .2
    mesh.quads(at([[[a, c, low], [b, c, low], r1, r0], [[b, d, low], [a, d, low], r0, r1]]), tint=tint, material=material)
    mesh.quads(at([[[b, c, low], [b, d, low], r1, r1], [[a, d, low], [a, c, low], r0, r0]]), tint=tint * .95, material=material)


def _flat_roof(mesh, at, x0, x1, y0, y1, z, rng, wall):
    mesh.quads(at([[[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]]), tint=(.28, .27, .26), material="gravel")
    t, h = .25, rng.uniform(.3, 1.0)
    for cx, cy, hx, hy in (((x0 + x1) / 2, y0 + t / 2 - .12, (x1 - x0) / 2, t / 2), ((x0 + x1) / 2, y1, (x1 - x0) / 2, t / 2),
                           (x0 + t / 2, (y0 + y1) / 2, t / 2, (y1 - y0) / 2), (x1 - t / 2, (y0 + y1) / 2, t / 2, (y1 - y0) / 2)):
        mesh.boxes(at([cx, cy, z + h / 2 - .1]), [hx, hy, h / 2 + .1], at.yaw, tint=wall * .85, material="concrete")
    for _ in range(rng.integers(0, 4)):
        size = rng.uniform(.5, 2.2, 3)
        p = [rng.uniform(x0 + 2.3, x1 - 2.3), rng.uniform(y0 + 2, y1 - 2), z + size[2] / 2]
        mesh.boxes(at(p), size / 2, at.yaw, tint=rng.uniform(.25, .6) * np.ones(3), material="metal")


def _details(mesh, at, lot, rng, floor_m, floors, bay_m, shop, wall, trim):
    """What sticks out of a front: plinth, string courses, downpipes, balconies, awnings, hanging signs, a bay window."""
    w, top = lot.width_m, floors * floor_m
    mesh.boxes(at([0, -.06, .3]), [w / 2, .09, .3], at.yaw, tint=wall * .6, material="stone")
    if rng.random() < .55:
        levels = np.arange(1, floors) if rng.random() < .5 else np.array([1.0])
        mesh.boxes(at(np.column_stack([0 * levels, 0 * levels - .05, levels * floor_m])), [w / 2, .12, .11], at.yaw, tint=trim)
    for x in ([-w / 2 + .15] if rng.random() < .6 else []):
        mesh.boxes(at([x, -.1, top / 2]), [.06, .08, top / 2], at.yaw, tint=(.2, .2, .2))
    bays = max(1, round(w / bay_m))
    columns = (np.arange(bays) + .5) / bays * w - w / 2
    if floors >= 3 and rng.random() < .45:
        used = columns[rng.random(bays) < rng.choice([.35, .6, 1.0])]
        x, j = (a.ravel() for a in np.meshgrid(used, np.arange(1, floors)))
        if len(x):
            half = .46 * w / bays
            zero = np.zeros_like(x)
            mesh.boxes(at(np.column_stack([x, zero - .5, j * floor_m + .1])), [half, .5, .09], at.yaw, True, tint=(.5, .49, .47))
            solid = rng.random() < .5
            rail = dict(tint=rng.uniform(.15, .75, 3) * .6 + .1, material="panels") if solid else dict(tint=(.07, .07, .08))
            for z, hz in (((.65, .42),) if solid else ((1.05, .04), (.7, .02), (.4, .02))):
                mesh.boxes(at(np.column_stack([x, zero - .97, j * floor_m + z])), [half, .03, hz], at.yaw, **rail)
                for s in (-1, 1):
                    mesh.boxes(at(np.column_stack([x + s * half, zero - .5, j * floor_m + z])), [.03, .48, hz], at.yaw, **rail)
    if shop:
        for x in columns[rng.random(bays) < .35]:
            h, d, z = .45 * w / bays, rng.uniform(.9, 1.5), floor_m * .74
            colour = rng.choice([[.6, .12, .1], [.1, .25, .5], [.1, .4, .2], [.7, .6, .3], [.5, .5, .5]])
            mesh.quads(at([[[x - h, -d, z - .55], [x + h, -d, z - .55], [x + h, 0, z + .1], [x - h, 0, z + .1]]]), tint=colour,
                       material="awning")
        for x in columns[rng.random(bays) < .3]:
            z = floor_m * 1.15
            mesh.boxes(at([x, -.7, z]), [.05, .5, .35], at.yaw, tint=(.1, .1, .1))
            for s in (-.07, .07):
                quad = [[x + s, -1.2, z - .35], [x + s, -.2, z - .35], [x + s, -.2, z + .35], [x + s, -1.2, z + .35]]
                quad = quad if s > 0 else [quad[1], quad[0], quad[3], quad[2]]
                mesh.quads(at([quad]), [[[0, 0], [1, 0], [1, 1], [0, 1]]], kind=SIGN, upper=int(lot.seed % 16), night=.6)
    elif floors >= 2 and rng.random() < .22:
        x, h = rng.choice(columns), .55 * w / bays
        mesh.boxes(at([x, -.45, (floor_m * (floors + 1)) / 2]), [h, .5, floor_m * (floors - 1) / 2], at.yaw, True, tint=wall * .95,
                   material="plaster", kind=FACADE, upper=int(lot.seed % 12), floor_m=floor_m, bay_m=2 * h, floors=99, seed=lot.seed)


def add_house(mesh: Mesh, lot: Lot, style: Style) -> None:
    """One ordinary house of its district's kind."""
    rng = np.random.default_rng(lot.seed)
    at = _Frame(lot)
    w, d = lot.width_m, lot.depth_m
    wall = np.clip(style.wall_colours[rng.integers(7)] + rng.uniform(-.07, .07, 3), .08, .9)
    material = style.wall_materials[rng.integers(4)]
    if material == "brick":
        wall = np.array([.50, .24, .17]) * rng.uniform(.7, 1.25) + rng.uniform(0, .08)
    roof = style.roof_colours[rng.integers(3)] * rng.uniform(.8, 1.2)
    roof_material = ("roof_tile", "shingle", "metal")[rng.choice(3, p=[.6, .3, .1])]
    barn = lot.zone == RURAL and rng.random() < .4
    floors = {URBAN: max(2, round(rng.normal(style.floors_mean, 1.1))), OLD: int(rng.integers(2, 5)),
              SUBURB: int(rng.choice([1, 2, 2, 2])), RURAL: int(rng.choice([1, 2]))}[lot.zone]
    floor_m = rng.uniform(2.7, 3.5)
    bay_m = rng.uniform(2.2, 4.0)
    shop = lot.zone in (URBAN, OLD) and rng.random() < .5
    ground = 1 if shop else int(rng.choice([0, 0, 0, 2, 3, 4]))
    if barn:
        wall, material, floors, ground = np.array([.33, .22, .15]) * rng.uniform(.7, 1.5), "planks", 1, 2
        floor_m = rng.uniform(3.4, 4.6)
    top = floors * floor_m + (rng.uniform(.2, .9) if lot.zone == URBAN else .15)
    upper = 12 if barn else style.window_styles[rng.integers(7)]
    sides = [int(g) for g in rng.choice([0, 4, 5], 3, p=[.35, .15, .5])]
    if lot.zone in (SUBURB, RURAL):
        sides = [0, 0, 0]
    trim = np.clip(wall * rng.choice([.7, 1.25]) + .05, .1, .9)
    look = dict(tint=wall, material=material, upper=upper, floor_m=floor_m, floors=floors, seed=lot.seed % 1000003)
    _walls(mesh, at, -w / 2, w / 2, 0, d, 0, top, bay_m, ground, sides, **look)
    box = (-w / 2, w / 2, 0, d, top)
    flat = rng.random() < (style.flat_roofs if lot.zone == URBAN else .08 if lot.zone == SUBURB else .0)
    rise = d / 2 * rng.uniform(.55, 1.15)
    if flat:
        _flat_roof(mesh, at, *box, rng, wall)
    elif rng.random() < .2 and w > d + 1:
        _hip_roof(mesh, at, *box, rise, .5, roof, roof_material)
    else:
        along_x = rng.random() < .68 or w > 1.3 * d
        rise = rise if along_x else w / 2 * rng.uniform(.7, 1.3)
        over = .1 if lot.zone in (URBAN, OLD) and along_x else rng.uniform(.25, .6)
        _gable_roof(mesh, at, *box, rise, along_x, over, roof, roof_material, wall, material)
        if along_x and rng.random() < .4:
            for x in np.linspace(-w / 2, w / 2, rng.integers(3, 6))[1:-1]:
                mesh.boxes(at([x, d * .26, top + rise * .42]), [.7, d * .18, .75], at.yaw, tint=wall, material=material, kind=FACADE,
                           upper=int(upper) % 12, floor_m=1.5, bay_m=1.4, floors=99, seed=lot.seed)
    if not flat and not barn:
        for _ in range(rng.integers(1, 4)):
            x = rng.uniform(-w / 2 + .5, w / 2 - .5)
            mesh.boxes(at([x, d * rng.uniform(.35, .65), top + rise * .95]), [.35, .3, rise * .4], at.yaw, tint=(.42, .22, .16), material="brick")
    if not barn:
        _details(mesh, at, lot, rng, floor_m, floors, bay_m, shop, wall, trim)
        if lot.zone == URBAN:
            mesh.boxes(at([0, -.15, floors * floor_m + .05]), [w / 2, .3, .14], at.yaw, True, tint=trim)
    if lot.zone in (SUBURB, RURAL) and not barn and rng.random() < .5:  # porch or garage wing
        s = rng.choice([-1, 1])
        mesh.boxes(at([s * (w / 2 - 1.6), -.9, 1.25]), [1.5, .9, 1.25], at.yaw, tint=wall * .9, material=material)
        mesh.quads(at([[[s * (w / 2 - 1.6) - 1.7, -2.1, 2.4], [s * (w / 2 - 1.6) + 1.7, -2.1, 2.4], [s * (w / 2 - 1.6) + 1.7, .1, 3.2],
                        [s * (w / 2 - 1.6) - 1.7, .1, 3.2]]]), tint=roof, material=roof_material)


def add_landmark(mesh: Mesh, lot: Lot, style: Style) -> None:
    """A building that is seen from afar: church, tower block, water tower, chimney, mast or silo."""
    rng = np.random.default_rng(lot.seed)
    at = _Frame(lot)
    w, d = lot.width_m, lot.depth_m
    wall = style.wall_colours[rng.integers(7)]
    roof = style.roof_colours[rng.integers(3)]
    look = dict(tint=wall, seed=lot.seed % 1000003)
    if lot.kind == "church":
        h, tower = rng.uniform(8, 11), rng.uniform(18, 26)
        _walls(mesh, at, -w / 2, w / 2, 6, d, 0, h, 5, 4, [4, 4, 4], material="stone", upper=6, floor_m=h, floors=1, **look)
        _gable_roof(mesh, at, -w / 2, w / 2, 6, d, h, 6, False, .4, roof, "shingle", wall, "stone")
        _walls(mesh, at, -3, 3, 0, 6, 0, tower, 6, 3, [4, 4, 4], material="stone", upper=6, floor_m=tower / 3, floors=3, **look)
        apex, spire = [0, 3, tower + rng.uniform(6, 14)], []
        for a, b in (((-3, 0), (3, 0)), ((3, 0), (3, 6)), ((3, 6), (-3, 6)), ((-3, 6), (-3, 0))):
            spire.append([[*a, tower], [*b, tower], apex])
        mesh.triangles(at(spire), tint=roof, material="shingle")
    elif lot.kind == "tower_block":
        floors = int(rng.integers(9, 18))
        _walls(mesh, at, -w / 2, w / 2, 0, d, 0, floors * 2.9 + 1, 3, 1, [0, 0, 0], material="panels", upper=int(rng.choice([4, 8, 1])),
               floor_m=2.9, floors=floors, **look)
        _flat_roof(mesh, at, -w / 2, w / 2, 0, d, floors * 2.9 + 1, rng, wall)
    elif lot.kind in ("water_tower", "silo"):
        h = rng.uniform(18, 28) if lot.kind == "water_tower" else rng.uniform(12, 18)
        r = 1.4 if lot.kind == "water_tower" else 4.5
        base = at([0, 3, 0])
        mesh.tubes(base, base + [0, 0, h], r, r, 10, tint=wall, material="concrete")
        mesh.tubes(base + [0, 0, h], base + [0, 0, h + 5], 4.6, 4.6, 12, tint=wall * .9, material="metal")
        mesh.tubes(base + [0, 0, h + 5], base + [0, 0, h + 7.5], 4.8, .1, 12, tint=roof, material="metal")
        mesh.tubes(base + [0, 0, h - 2], base + [0, 0, h], r, 4.6, 12, tint=wall * .8, material="concrete")
    else:
        h = rng.uniform(28, 45)
        base = at([0, 3, 0])
        r = 1.6 if lot.kind == "chimney" else .45
        for k in range(6):
            red = (.55, .16, .12) if (k % 2 == 0 and lot.kind == "mast") or k == 5 else (.5, .3, .24)
            red = (.8, .8, .78) if lot.kind == "mast" and k % 2 else red
            mesh.tubes(base + [0, 0, h * k / 6], base + [0, 0, h * (k + 1) / 6], r * (1 - .08 * k), r * (1 - .08 * (k + 1)), 8, tint=red)
        mesh.boxes(base + [0, 0, h], [.4, .4, .3], 0., kind=LAMP, tint=(1., .15, .1), night=.5)


def add_lot(mesh: Mesh, lot: Lot, style: Style) -> None:
    """Add whatever stands on a lot."""
    (add_house if lot.kind == "house" else add_landmark)(mesh, lot, style)


