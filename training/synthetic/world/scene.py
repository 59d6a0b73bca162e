"""A city's triangles near a route, ready for ray casting, with the rasters that shading reads."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from vpr_ros.training.synthetic.conditions import DriveConditions
from vpr_ros.training.synthetic.kinds import kind_of
from vpr_ros.training.synthetic.world.buildings import add_lot
from vpr_ros.training.synthetic.world.city import City, make_city
from vpr_ros.training.synthetic.world.corridor.interior import add_interior
from vpr_ros.training.synthetic.world.furniture import add_street_furniture
from vpr_ros.training.synthetic.world.ground import CELL_M, Ground, make_ground
from vpr_ros.training.synthetic.world.lots import make_lots
from vpr_ros.training.synthetic.world.mesh import GROUND, Mesh
from vpr_ros.training.synthetic.world.textures import Atlas, atlas
from vpr_ros.training.synthetic.world.traffic import add_traffic
from vpr_ros.training.synthetic.world.vegetation import add_trees, make_trees

LAMP_POWER = 13.0  # of a street lamp


@dataclass
class Scene:
    """`rays` is Open3D's RaycastingScene; `part` holds one row per triangle (uv, tint, kind, ...)."""

    city: City
    ground: Ground
    conditions: DriveConditions
    rays: Any
    part: dict[str, np.ndarray]
    near_walls: np.ndarray  # (R, C) f32: 0 in the open, 1 at the foot of a wall
    lamp_light: np.ndarray  # (R, C) f32 irradiance of lamps on the ground; indoors also of windows
    atlas: Atlas
    roofed: bool  # the drive is indoors

    def cast(self, origins: np.ndarray, directions: np.ndarray) -> dict[str, np.ndarray]:
        """First hits of rays (n, 3), (n, 3): `t_hit` (inf: none), `primitive_ids`, `_uvs` and `_normals`."""
        import open3d as o3d

        rays = np.concatenate([np.broadcast_to(origins, directions.shape), directions], 1).astype(np.float32)
        hits = self.rays.cast_rays(o3d.core.Tensor(rays), nthreads=1)  # type: ignore[call-overload]
        return {name: hits[name].numpy() for name in ("t_hit", "primitive_ids", "primitive_uvs", "primitive_normals")}

    def occluded(self, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Whether anything lies along rays (n, 3), (n, 3) within 150 m."""
        import open3d as o3d

        rays = np.concatenate([origins, np.broadcast_to(directions, origins.shape)], 1).astype(np.float32)
        return self.rays.test_occlusions(o3d.core.Tensor(rays), tfar=150.0, nthreads=1).numpy()  # type: ignore[call-overload]


def _distance_to(line: np.ndarray):
    """A function from points (n, 2) to their distance from the points of `line` (m, 2)."""

    def distance(xy):
        xy = np.atleast_2d(xy)
        return np.sqrt(((xy[:, None] - line[None]) ** 2).sum(-1)).min(1)

    return distance


def _lamp_raster(lights: np.ndarray, ground: Ground) -> np.ndarray:
    """Irradiance of lights (n, 4): x, y, height and power."""
    out = np.zeros(ground.street.shape, np.float32)
    reach = int(26 / CELL_M)
    axis = np.arange(-reach, reach + 1) * CELL_M
    square = (axis[:, None] ** 2 + axis[None] ** 2).astype(np.float32)
    for x, y, h, power in lights:
        row, column = (int(v) for v in ground.cells(np.array([x, y])))
        if reach < row < len(out) - reach - 1 and reach < column < len(out) - reach - 1:
            glow = power * h / (square + h * h) ** 1.5 * np.clip(1 - square / 676, 0, 1)
            out[row - reach : row + reach + 1, column - reach : column + reach + 1] += glow
    return np.minimum(out, 1.5)


@lru_cache(maxsize=2)
def _houses(city_seed: int, line: bytes, reach_m: float) -> dict[str, np.ndarray]:
    """Packed houses near a line and all landmarks; the same in every season, so kept for a city's next drive."""
    city, mesh = make_city(city_seed), Mesh()
    points = np.frombuffer(line).reshape(-1, 2)
    near = _distance_to(points[:: max(1, len(points) // 250)])
    for lot in make_lots(city_seed).houses:
        if lot.kind != "house" or near(lot.front[None])[0] < reach_m:
            add_lot(mesh, lot, city.style)
    return mesh.pack()


def _add_streets(
    mesh: Mesh, city: City, ground: Ground, conditions: DriveConditions, line: np.ndarray, reach_m: float
) -> np.ndarray:
    """Houses, trees, furniture and traffic along a driven line; returns the lamps (n, 4)."""
    lots, trees = make_lots(city.seed), make_trees(city.seed)
    coarse, fine = _distance_to(line[:: max(1, len(line) // 250)]), _distance_to(line)
    mesh.append(_houses(city.seed, line.tobytes(), reach_m))
    near = coarse(trees.xy)
    add_trees(mesh, city.seed, trees, np.flatnonzero(near < reach_m * 0.85), conditions.season, ground.edge_distance)
    lights = [np.zeros((0, 3))]
    for street in city.streets:
        gap = coarse(street.points[::6]).min()
        if gap < reach_m * 0.6:
            lights.append(add_street_furniture(mesh, city, street, lots, ground, conditions.season))
        if gap < reach_m * 0.5:
            add_traffic(mesh, city, street, ground, conditions.seed, conditions.light in ("night", "dusk"), fine)
    lamps = np.concatenate(lights)
    return np.column_stack([lamps, np.full(len(lamps), LAMP_POWER)])


def build_scene(
    city_seed: int, conditions: DriveConditions, line: np.ndarray, reach_m: float = 110.0, surfaces: str = ""
) -> Scene:
    """Everything of the city within `reach_m` of the driven points `line` (n, 2); small things within half of that.

    `surfaces` is a folder of photographs that walls and other built things are covered with; empty: painted ones.
    Needs open3d (extra `lidar`).
    """
    import open3d as o3d

    city, ground, roofed = make_city(city_seed), make_ground(city_seed), kind_of(city_seed) == "corridor"
    mesh = Mesh()
    size = 3000.0
    mesh.quads([[[-size, -size, 0], [size, -size, 0], [size, size, 0], [-size, size, 0]]], kind=GROUND)
    if roofed:
        lights, near_walls = add_interior(mesh, city, conditions, line), np.zeros(ground.street.shape, np.float32)
    else:
        lights = _add_streets(mesh, city, ground, conditions, line, reach_m)
        away = cv2.distanceTransform(1 - make_lots(city_seed).occupied, cv2.DIST_L2, 5) * CELL_M
        near_walls = np.exp(-away / 1.3).astype(np.float32)
    part = mesh.pack()
    corners = part.pop("corners")
    rays = o3d.t.geometry.RaycastingScene(nthreads=1)
    rays.add_triangles(
        o3d.core.Tensor(corners.reshape(-1, 3)),  # type: ignore[call-overload]
        o3d.core.Tensor(np.arange(3 * len(corners), dtype=np.uint32).reshape(-1, 3)),  # type: ignore[call-overload]
    )
    part["tint"] = np.clip(part["tint"], 0, 1).astype(np.float32)
    book = atlas(surfaces, city_seed) if surfaces else atlas()
    return Scene(city, ground, conditions, rays, part, near_walls, _lamp_raster(lights, ground), book, roofed)
