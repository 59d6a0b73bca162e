"""Walls with façades and roofs in a house's own coordinates."""

import numpy as np

from vpr_ros.training.synthetic.world.lots import Lot
from vpr_ros.training.synthetic.world.mesh import FACADE, Mesh


class HouseFrame:
    """Local house coordinates: x to the viewer's right along the front, y into the house, z up."""

    def __init__(self, lot: Lot):
        self.lot = lot
        self.yaw = float(np.arctan2(lot.right[1], lot.right[0]))

    def __call__(self, points) -> np.ndarray:
        p = np.asarray(points, np.float64)
        xy = self.lot.front + p[..., :1] * self.lot.right + p[..., 1:2] * self.lot.outward
        return np.concatenate([xy, p[..., 2:3]], axis=-1)


def walls(mesh: Mesh, at: HouseFrame, x0, x1, y0, y1, z0, z1, bay_m, ground, side_ground, **look):
    """Four façades of a box; the front has ground floor kind `ground`."""
    w, d = x1 - x0, y1 - y0
    loops = (((x0, y0), (x1, y0), w), ((x1, y0), (x1, y1), d), ((x1, y1), (x0, y1), w), ((x0, y1), (x0, y0), d))
    for face, ((ax, ay), (bx, by), length) in enumerate(loops):
        bay = length / max(1, round(length / bay_m))
        quad = at([[ax, ay, z0], [bx, by, z0], [bx, by, z1], [ax, ay, z1]])
        uv = [[0, z0], [length, z0], [length, z1], [0, z1]]
        mesh.quads(
            quad[None], [uv], kind=FACADE, bay_m=bay, ground=ground if face == 0 else side_ground[face - 1], **look
        )


def gable_roof(mesh, at, x0, x1, y0, y1, z, rise, along_x, over, tint, material, wall_tint, wall_material):
    """A pitched roof with its ridge along x (parallel to the street) or along y."""
    if along_x:
        m = (y0 + y1) / 2
        slope = rise / (m - y0)
        zl = z - over * slope
        mesh.quads(
            at(
                [
                    [
                        [x0 - over, y0 - over, zl],
                        [x1 + over, y0 - over, zl],
                        [x1 + over, m, z + rise],
                        [x0 - over, m, z + rise],
                    ],
                    [
                        [x1 + over, y1 + over, zl],
                        [x0 - over, y1 + over, zl],
                        [x0 - over, m, z + rise],
                        [x1 + over, m, z + rise],
                    ],
                ]
            ),
            tint=tint,
            material=material,
        )
        ends = [[[x0, y0, z], [x0, y1, z], [x0, m, z + rise]], [[x1, y0, z], [x1, y1, z], [x1, m, z + rise]]]
    else:
        m = (x0 + x1) / 2
        slope = rise / (m - x0)
        zl = z - over * slope
        mesh.quads(
            at(
                [
                    [
                        [x0 - over, y1 + over, zl],
                        [x0 - over, y0 - over, zl],
                        [m, y0 - over, z + rise],
                        [m, y1 + over, z + rise],
                    ],
                    [
                        [x1 + over, y0 - over, zl],
                        [x1 + over, y1 + over, zl],
                        [m, y1 + over, z + rise],
                        [m, y0 - over, z + rise],
                    ],
                ]
            ),
            tint=tint,
            material=material,
        )
        ends = [[[x0, y0, z], [x1, y0, z], [m, y0, z + rise]], [[x0, y1, z], [x1, y1, z], [m, y1, z + rise]]]
    run = (y1 - y0) if along_x else (x1 - x0)
    mesh.triangles(at(ends), [[[0, 0], [run, 0], [run / 2, rise]]] * 2, tint=wall_tint, material=wall_material)


def hip_roof(mesh, at, x0, x1, y0, y1, z, rise, over, tint, material):
    inset = min(x1 - x0, y1 - y0) / 2 * 0.9
    a, b, c, d = x0 - over, x1 + over, y0 - over, y1 + over
    m = (y0 + y1) / 2
    r0, r1 = [x0 + inset, m, z + rise], [x1 - inset, m, z + rise]
    low = z - 0.2
    mesh.quads(
        at([[[a, c, low], [b, c, low], r1, r0], [[b, d, low], [a, d, low], r0, r1]]), tint=tint, material=material
    )
    mesh.quads(
        at([[[b, c, low], [b, d, low], r1, r1], [[a, d, low], [a, c, low], r0, r0]]),
        tint=tint * 0.95,
        material=material,
    )


def flat_roof(mesh, at, x0, x1, y0, y1, z, rng, wall):
    mesh.quads(at([[[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]]), tint=(0.28, 0.27, 0.26), material="gravel")
    t, h = 0.25, rng.uniform(0.3, 1.0)
    for cx, cy, hx, hy in (
        ((x0 + x1) / 2, y0 + t / 2 - 0.12, (x1 - x0) / 2, t / 2),
        ((x0 + x1) / 2, y1, (x1 - x0) / 2, t / 2),
        (x0 + t / 2, (y0 + y1) / 2, t / 2, (y1 - y0) / 2),
        (x1 - t / 2, (y0 + y1) / 2, t / 2, (y1 - y0) / 2),
    ):
        mesh.boxes(at([cx, cy, z + h / 2 - 0.1]), [hx, hy, h / 2 + 0.1], at.yaw, tint=wall * 0.85, material="concrete")
    for _ in range(rng.integers(0, 4)):
        size = rng.uniform(0.5, 2.2, 3)
        p = [rng.uniform(x0 + 2.3, x1 - 2.3), rng.uniform(y0 + 2, y1 - 2), z + size[2] / 2]
        mesh.boxes(at(p), size / 2, at.yaw, tint=rng.uniform(0.25, 0.6) * np.ones(3), material="metal")
