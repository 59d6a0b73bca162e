"""Houses and landmarks as triangles: façades with bays, roofs, cornices, balconies, awnings, chimneys."""

import numpy as np

from vpr_ros.training.synthetic.world.city import OLD, RURAL, SUBURB, URBAN, Style
from vpr_ros.training.synthetic.world.house_parts import HouseFrame, flat_roof, gable_roof, hip_roof, walls
from vpr_ros.training.synthetic.world.landmarks import add_landmark
from vpr_ros.training.synthetic.world.lots import Lot
from vpr_ros.training.synthetic.world.mesh import FACADE, SIGN, Mesh


def _details(mesh, at, lot, rng, floor_m, floors, bay_m, shop, wall, trim):
    """Parts that project from a front: plinth, string courses, downpipes, balconies, awnings, signs, a bay window."""
    w, top = lot.width_m, floors * floor_m
    mesh.boxes(at([0, -0.06, 0.3]), [w / 2, 0.09, 0.3], at.yaw, tint=wall * 0.6, material="stone")
    if rng.random() < 0.55:
        levels = np.arange(1, floors) if rng.random() < 0.5 else np.array([1.0])
        mesh.boxes(
            at(np.column_stack([0 * levels, 0 * levels - 0.05, levels * floor_m])),
            [w / 2, 0.12, 0.11],
            at.yaw,
            tint=trim,
        )
    for x in [-w / 2 + 0.15] if rng.random() < 0.6 else []:
        mesh.boxes(at([x, -0.1, top / 2]), [0.06, 0.08, top / 2], at.yaw, tint=(0.2, 0.2, 0.2))
    bays = max(1, round(w / bay_m))
    columns = (np.arange(bays) + 0.5) / bays * w - w / 2
    if floors >= 3 and rng.random() < 0.45:
        used = columns[rng.random(bays) < rng.choice([0.35, 0.6, 1.0])]
        x, j = (a.ravel() for a in np.meshgrid(used, np.arange(1, floors)))
        if len(x):
            half = 0.46 * w / bays
            zero = np.zeros_like(x)
            mesh.boxes(
                at(np.column_stack([x, zero - 0.5, j * floor_m + 0.1])),
                [half, 0.5, 0.09],
                at.yaw,
                True,
                tint=(0.5, 0.49, 0.47),
            )
            solid = rng.random() < 0.5
            rail = (
                dict(tint=rng.uniform(0.15, 0.75, 3) * 0.6 + 0.1, material="panels")
                if solid
                else dict(tint=(0.07, 0.07, 0.08))
            )
            for z, hz in ((0.65, 0.42),) if solid else ((1.05, 0.04), (0.7, 0.02), (0.4, 0.02)):
                mesh.boxes(at(np.column_stack([x, zero - 0.97, j * floor_m + z])), [half, 0.03, hz], at.yaw, **rail)
                for s in (-1, 1):
                    mesh.boxes(
                        at(np.column_stack([x + s * half, zero - 0.5, j * floor_m + z])),
                        [0.03, 0.48, hz],
                        at.yaw,
                        **rail,
                    )
    if shop:
        for x in columns[rng.random(bays) < 0.35]:
            h, d, z = 0.45 * w / bays, rng.uniform(0.9, 1.5), floor_m * 0.74
            colour = rng.choice([[0.6, 0.12, 0.1], [0.1, 0.25, 0.5], [0.1, 0.4, 0.2], [0.7, 0.6, 0.3], [0.5, 0.5, 0.5]])
            mesh.quads(
                at([[[x - h, -d, z - 0.55], [x + h, -d, z - 0.55], [x + h, 0, z + 0.1], [x - h, 0, z + 0.1]]]),
                tint=colour,
                material="awning",
            )
        for x in columns[rng.random(bays) < 0.3]:
            z = floor_m * 1.15
            mesh.boxes(at([x, -0.7, z]), [0.05, 0.5, 0.35], at.yaw, tint=(0.1, 0.1, 0.1))
            for s in (-0.07, 0.07):
                quad = [
                    [x + s, -1.2, z - 0.35],
                    [x + s, -0.2, z - 0.35],
                    [x + s, -0.2, z + 0.35],
                    [x + s, -1.2, z + 0.35],
                ]
                quad = quad if s > 0 else [quad[1], quad[0], quad[3], quad[2]]
                mesh.quads(
                    at([quad]), [[[0, 0], [1, 0], [1, 1], [0, 1]]], kind=SIGN, upper=int(lot.seed % 16), night=0.6
                )
    elif floors >= 2 and rng.random() < 0.22:
        x, h = rng.choice(columns), 0.55 * w / bays
        mesh.boxes(
            at([x, -0.45, (floor_m * (floors + 1)) / 2]),
            [h, 0.5, floor_m * (floors - 1) / 2],
            at.yaw,
            True,
            tint=wall * 0.95,
            material="plaster",
            kind=FACADE,
            upper=int(lot.seed % 12),
            floor_m=floor_m,
            bay_m=2 * h,
            floors=99,
            seed=lot.seed,
        )


def add_house(mesh: Mesh, lot: Lot, style: Style) -> None:
    """One ordinary house of its district's kind."""
    rng = np.random.default_rng(lot.seed)
    at = HouseFrame(lot)
    w, d = lot.width_m, lot.depth_m
    wall = np.clip(style.wall_colours[rng.integers(7)] + rng.uniform(-0.07, 0.07, 3), 0.08, 0.9)
    material = style.wall_materials[rng.integers(4)]
    if material == "brick":
        wall = np.array([0.50, 0.24, 0.17]) * rng.uniform(0.7, 1.25) + rng.uniform(0, 0.08)
    roof = style.roof_colours[rng.integers(3)] * rng.uniform(0.8, 1.2)
    roof_material = ("roof_tile", "shingle", "metal")[rng.choice(3, p=[0.6, 0.3, 0.1])]
    barn = lot.zone == RURAL and rng.random() < 0.4
    floors = {
        URBAN: max(2, round(rng.normal(style.floors_mean, 1.1))),
        OLD: int(rng.integers(2, 5)),
        SUBURB: int(rng.choice([1, 2, 2, 2])),
        RURAL: int(rng.choice([1, 2])),
    }[lot.zone]
    floor_m = rng.uniform(2.7, 3.5)
    bay_m = rng.uniform(2.2, 4.0)
    shop = lot.zone in (URBAN, OLD) and rng.random() < 0.5
    ground = 1 if shop else int(rng.choice([0, 0, 0, 2, 3, 4]))
    if barn:
        wall, material, floors, ground = np.array([0.33, 0.22, 0.15]) * rng.uniform(0.7, 1.5), "planks", 1, 2
        floor_m = rng.uniform(3.4, 4.6)
    top = floors * floor_m + (rng.uniform(0.2, 0.9) if lot.zone == URBAN else 0.15)
    upper = 12 if barn else style.window_styles[rng.integers(7)]
    sides = [int(g) for g in rng.choice([0, 4, 5], 3, p=[0.35, 0.15, 0.5])]
    if lot.zone in (SUBURB, RURAL):
        sides = [0, 0, 0]
    trim = np.clip(wall * rng.choice([0.7, 1.25]) + 0.05, 0.1, 0.9)
    look = dict(tint=wall, material=material, upper=upper, floor_m=floor_m, floors=floors, seed=lot.seed % 1000003)
    walls(mesh, at, -w / 2, w / 2, 0, d, 0, top, bay_m, ground, sides, **look)
    box = (-w / 2, w / 2, 0, d, top)
    flat = rng.random() < (style.flat_roofs if lot.zone == URBAN else 0.08 if lot.zone == SUBURB else 0.0)
    rise = d / 2 * rng.uniform(0.55, 1.15)
    if flat:
        flat_roof(mesh, at, *box, rng, wall)
    elif rng.random() < 0.2 and w > d + 1:
        hip_roof(mesh, at, *box, rise, 0.5, roof, roof_material)
    else:
        along_x = rng.random() < 0.68 or w > 1.3 * d
        rise = rise if along_x else w / 2 * rng.uniform(0.7, 1.3)
        over = 0.1 if lot.zone in (URBAN, OLD) and along_x else rng.uniform(0.25, 0.6)
        gable_roof(mesh, at, *box, rise, along_x, over, roof, roof_material, wall, material)
        if along_x and rng.random() < 0.4:
            for x in np.linspace(-w / 2, w / 2, rng.integers(3, 6))[1:-1]:
                mesh.boxes(
                    at([x, d * 0.26, top + rise * 0.42]),
                    [0.7, d * 0.18, 0.75],
                    at.yaw,
                    tint=wall,
                    material=material,
                    kind=FACADE,
                    upper=int(upper) % 12,
                    floor_m=1.5,
                    bay_m=1.4,
                    floors=99,
                    seed=lot.seed,
                )
    if not flat and not barn:
        for _ in range(rng.integers(1, 4)):
            x = rng.uniform(-w / 2 + 0.5, w / 2 - 0.5)
            mesh.boxes(
                at([x, d * rng.uniform(0.35, 0.65), top + rise * 0.95]),
                [0.35, 0.3, rise * 0.4],
                at.yaw,
                tint=(0.42, 0.22, 0.16),
                material="brick",
            )
    if not barn:
        _details(mesh, at, lot, rng, floor_m, floors, bay_m, shop, wall, trim)
        if lot.zone == URBAN:
            mesh.boxes(at([0, -0.15, floors * floor_m + 0.05]), [w / 2, 0.3, 0.14], at.yaw, True, tint=trim)
    if lot.zone in (SUBURB, RURAL) and not barn and rng.random() < 0.5:  # porch or garage wing
        s = rng.choice([-1, 1])
        mesh.boxes(at([s * (w / 2 - 1.6), -0.9, 1.25]), [1.5, 0.9, 1.25], at.yaw, tint=wall * 0.9, material=material)
        mesh.quads(
            at(
                [
                    [
                        [s * (w / 2 - 1.6) - 1.7, -2.1, 2.4],
                        [s * (w / 2 - 1.6) + 1.7, -2.1, 2.4],
                        [s * (w / 2 - 1.6) + 1.7, 0.1, 3.2],
                        [s * (w / 2 - 1.6) - 1.7, 0.1, 3.2],
                    ]
                ]
            ),
            tint=roof,
            material=roof_material,
        )


def add_lot(mesh: Mesh, lot: Lot, style: Style) -> None:
    """Add the house or landmark of a lot."""
    (add_house if lot.kind == "house" else add_landmark)(mesh, lot, style)
