"""All triangles and lights of a building's passages in one drive."""

import numpy as np

from vpr_ros.training.synthetic.conditions import DriveConditions
from vpr_ros.training.synthetic.world.city import City
from vpr_ros.training.synthetic.world.corridor.fittings import (
    LINTEL_M,
    SILL_M,
    InteriorStyle,
    Place,
    add_fitting,
    add_lamp,
    box,
    furnish,
    interior_style,
    panel,
)
from vpr_ros.training.synthetic.world.corridor.walls import Wall, crossing_half_m, make_walls
from vpr_ros.training.synthetic.world.furniture import along_street
from vpr_ros.training.synthetic.world.mesh import Mesh
from vpr_ros.training.synthetic.world.traffic import add_person

LAMP_POWER = 5.0  # irradiance a metre below it
# By the light of the drive: every n-th lamp is lit (0: none), and the power of a window's daylight.
LAMPS: dict[str, int] = {"day": 1, "overcast": 4, "dusk": 2, "night": 1}
DAYLIGHT: dict[str, float] = {"day": 2.0, "overcast": 2.0, "dusk": 0.4, "night": 0.0}
FREE_M = 0.75  # nothing that stands in the way is nearer to the driven line


def _wall(mesh: Mesh, wall: Wall, places: list[Place], style: InteriorStyle, wing: int) -> None:
    """The wall itself, with holes where its windows are."""
    top, dado = style.height_m, style.dado_m
    look = dict(tint=style.walls[wing], material=style.material, seed=wing)
    holes = [p for p in places if p.what == "window"]
    if dado:
        panel(mesh, wall, 0, wall.length_m, 0, dado, tint=style.dado[wing], material=style.material, seed=wing + 3)
    at = 0.0
    for place in holes:
        panel(mesh, wall, at, place.first_m, dado, top, **look)
        panel(mesh, wall, place.first_m, place.last_m, dado, SILL_M, **look)
        panel(mesh, wall, place.first_m, place.last_m, LINTEL_M, top, **look)
        at = place.last_m
    panel(mesh, wall, at, wall.length_m, dado, top, **look)
    box(mesh, wall, wall.length_m / 2, 0.01, 0.04, [wall.length_m / 2, 0.015, 0.04], tint=style.frame)
    if style.tray and wall.length_m > 3:
        z, m = top - 0.25, wall.length_m / 2
        box(mesh, wall, m, 0.15, z, [m, 0.1, 0.03], tint=(0.4, 0.4, 0.4), material="metal")
        for k, r in enumerate((0.035, 0.05)):
            ends = wall.at(np.array([0.0, wall.length_m]), 0.08 + 0.12 * k, z - 0.14)
            mesh.tubes(ends[:1], ends[1:], r, r, 6, tint=[(0.5, 0.2, 0.12), (0.55, 0.55, 0.52)][k])
    if style.rail and wall.length_m > 2 and not holes:
        ends = wall.at(np.array([0.1, wall.length_m - 0.1]), 0.08, 0.95)
        mesh.tubes(ends[:1], ends[1:], 0.025, 0.025, 6, tint=(0.3, 0.2, 0.12))


def _floors(mesh: Mesh, city: City, style: InteriorStyle) -> None:
    """Floor and ceiling of all passages and crossings, and one roof that keeps the sky out."""
    half, top = crossing_half_m(city), style.height_m
    spans = [(centre - half, centre + half) for centre in city.nodes]
    for street in city.streets:
        a, b = city.nodes[street.a], city.nodes[street.b]
        d = np.abs(b - a) / np.linalg.norm(b - a)
        w = street.half_width_m * (1 - d)
        spans.append((np.minimum(a, b) + half * d - w, np.maximum(a, b) - half * d + w))
    for (x0, y0), (x1, y1) in spans:
        uv = [[[x0, y0], [x1, y0], [x1, y1], [x0, y1]]]
        for z, tint, material in (
            (0.01, style.floor, style.floor_material),
            (top, (0.66,) * 3, style.ceiling_material),
        ):
            mesh.quads([[[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]], uv, tint=tint, material=material)
    (x0, y0), (x1, y1) = city.nodes.min(0) - half - 0.3, city.nodes.max(0) + half + 0.3
    mesh.quads([[[x0, y0, top + 0.2], [x1, y0, top + 0.2], [x1, y1, top + 0.2], [x0, y1, top + 0.2]]])


def _clutter(mesh: Mesh, city: City, line: np.ndarray, rng: np.random.Generator) -> None:
    """Crates, trolleys and people of this drive, none of them in its way."""
    for street in city.streets:
        for _ in range(rng.poisson(0.06 * street.length_m)):
            side = rng.choice([-1, 1])
            away = side * (street.half_width_m - rng.uniform(0.22, 0.3))
            xy, direction = along_street(street, float(rng.uniform(1.5, max(1.6, street.length_m - 1.5))), away)
            if np.linalg.norm(line - xy[0], axis=1).min() < FREE_M:
                continue
            yaw = float(direction[0])
            if rng.random() < 0.4:
                add_person(mesh, xy[0], yaw + rng.choice([0, np.pi]) + rng.normal(0, 0.3), rng)
            else:
                half = np.array([rng.uniform(0.15, 0.4), 0.18, rng.uniform(0.15, 0.55)])
                mesh.boxes([*xy[0], half[2]], half, yaw, tint=rng.uniform(0.1, 0.6, 3))


def add_interior(mesh: Mesh, city: City, conditions: DriveConditions, line: np.ndarray) -> np.ndarray:
    """Build all passages of a world; `line` (n, 2) is the driven one. Returns lights (n, 4): x, y, height, power."""
    style = interior_style(city.seed)
    lights: list[list[float]] = []
    _floors(mesh, city, style)
    for number, wall in enumerate(make_walls(city)):
        rng = np.random.default_rng([city.seed, number, 63])
        drive = np.random.default_rng([city.seed, number, conditions.seed, 65])
        places = furnish(wall, style, rng)
        wing = int(abs(wall.along[0]) < 0.5) + int(rng.random() < 0.15)
        _wall(mesh, wall, places, style, wing)
        for place in places:
            add_fitting(mesh, wall, place, style, drive)
            if place.what == "window" and DAYLIGHT[conditions.light]:
                x, y, _ = wall.at(place.middle_m, 0.7, 0.0)
                lights.append([x, y, 1.4, DAYLIGHT[conditions.light] * (place.last_m - place.first_m)])
    for street in city.streets:
        drive = np.random.default_rng([city.seed, street.index, conditions.seed, 67])
        s = np.arange(0.5 * style.lamp_m, street.length_m, style.lamp_m)
        centre, yaw = along_street(street, s, 0.0)
        broken = drive.random(len(s)) < 0.05
        for k, xy in enumerate(centre):
            on = k % LAMPS[conditions.light] == 0 and not broken[k]
            add_lamp(mesh, xy, float(yaw[k]), style, on)
            if on:
                lights.append([*xy, style.height_m, LAMP_POWER])
    _clutter(mesh, city, line, np.random.default_rng([city.seed, conditions.seed, 69]))
    return np.array(lights).reshape(-1, 4)
