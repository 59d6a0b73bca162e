"""Buildings that are visible from far away and distinguish the districts."""

import numpy as np

from vpr_ros.training.synthetic.world.city import Style
from vpr_ros.training.synthetic.world.house_parts import HouseFrame, flat_roof, gable_roof, walls
from vpr_ros.training.synthetic.world.lots import Lot
from vpr_ros.training.synthetic.world.mesh import LAMP, Mesh


def add_landmark(mesh: Mesh, lot: Lot, style: Style) -> None:
    """A building that is visible from far away: church, tower block, water tower, chimney, mast or silo."""
    rng = np.random.default_rng(lot.seed)
    at = HouseFrame(lot)
    w, d = lot.width_m, lot.depth_m
    wall = style.wall_colours[rng.integers(7)]
    roof = style.roof_colours[rng.integers(3)]
    look = dict(tint=wall, seed=lot.seed % 1000003)
    if lot.kind == "church":
        h, tower = rng.uniform(8, 11), rng.uniform(18, 26)
        walls(
            mesh, at, -w / 2, w / 2, 6, d, 0, h, 5, 4, [4, 4, 4], material="stone", upper=6, floor_m=h, floors=1, **look
        )
        gable_roof(mesh, at, -w / 2, w / 2, 6, d, h, 6, False, 0.4, roof, "shingle", wall, "stone")
        walls(
            mesh,
            at,
            -3,
            3,
            0,
            6,
            0,
            tower,
            6,
            3,
            [4, 4, 4],
            material="stone",
            upper=6,
            floor_m=tower / 3,
            floors=3,
            **look,
        )
        apex, spire = [0, 3, tower + rng.uniform(6, 14)], []
        for a, b in (((-3, 0), (3, 0)), ((3, 0), (3, 6)), ((3, 6), (-3, 6)), ((-3, 6), (-3, 0))):
            spire.append([[*a, tower], [*b, tower], apex])
        mesh.triangles(at(spire), tint=roof, material="shingle")
    elif lot.kind == "tower_block":
        floors = int(rng.integers(9, 18))
        walls(
            mesh,
            at,
            -w / 2,
            w / 2,
            0,
            d,
            0,
            floors * 2.9 + 1,
            3,
            1,
            [0, 0, 0],
            material="panels",
            upper=int(rng.choice([4, 8, 1])),
            floor_m=2.9,
            floors=floors,
            **look,
        )
        flat_roof(mesh, at, -w / 2, w / 2, 0, d, floors * 2.9 + 1, rng, wall)
    elif lot.kind in ("water_tower", "silo"):
        h = rng.uniform(18, 28) if lot.kind == "water_tower" else rng.uniform(12, 18)
        r = 1.4 if lot.kind == "water_tower" else 4.5
        base = at([0, 3, 0])
        mesh.tubes(base, base + [0, 0, h], r, r, 10, tint=wall, material="concrete")
        mesh.tubes(base + [0, 0, h], base + [0, 0, h + 5], 4.6, 4.6, 12, tint=wall * 0.9, material="metal")
        mesh.tubes(base + [0, 0, h + 5], base + [0, 0, h + 7.5], 4.8, 0.1, 12, tint=roof, material="metal")
        mesh.tubes(base + [0, 0, h - 2], base + [0, 0, h], r, 4.6, 12, tint=wall * 0.8, material="concrete")
    else:
        h = rng.uniform(28, 45)
        base = at([0, 3, 0])
        r = 1.6 if lot.kind == "chimney" else 0.45
        for k in range(6):
            red = (0.55, 0.16, 0.12) if (k % 2 == 0 and lot.kind == "mast") or k == 5 else (0.5, 0.3, 0.24)
            red = (0.8, 0.8, 0.78) if lot.kind == "mast" and k % 2 else red
            mesh.tubes(
                base + [0, 0, h * k / 6],
                base + [0, 0, h * (k + 1) / 6],
                r * (1 - 0.08 * k),
                r * (1 - 0.08 * (k + 1)),
                8,
                tint=red,
            )
        mesh.boxes(base + [0, 0, h], [0.4, 0.4, 0.3], 0.0, kind=LAMP, tint=(1.0, 0.15, 0.1), night=0.5)
