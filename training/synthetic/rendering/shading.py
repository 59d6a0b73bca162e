"""Colours of ray hits: atlas textures, façade bays, ground markings, snow, sun, sky, lamps, haze. All vectorised."""

import numpy as np

from vpr_ros.training.synthetic.rendering.light import Light, sky
from vpr_ros.training.synthetic.rendering.sampling import mip_level, read_atlas, read_bilinear, read_noise
from vpr_ros.training.synthetic.rendering.surfaces import ground_colour
from vpr_ros.training.synthetic.world.ground import CELL_M
from vpr_ros.training.synthetic.world.mesh import CAR_LIGHT, EVERGREEN, FACADE, GENERIC, GLASS, GROUND, LAMP, LEAF, SIGN
from vpr_ros.training.synthetic.world.photo_tiles import PHOTO_SIZE_M
from vpr_ros.training.synthetic.world.scene import Scene
from vpr_ros.training.synthetic.world.textures import MATERIAL_SIZE_M, TILE_PX, UNIT, Atlas

INDOOR_DAYLIGHT = np.float32(0.1)  # what walls leave of the sky's light, away from windows


def _hash(*values) -> np.ndarray:
    """Integers (n,) in 0..65535 from integer arrays."""
    h = np.zeros(len(values[0]), np.uint32)
    for value in values:
        h = (h ^ value.astype(np.uint32)) * np.uint32(2654435761)
        h ^= h >> np.uint32(15)
    return (h & np.uint32(0xFFFF)).astype(np.int32)


def _bays(book: Atlas, part, prim, u, v, footprint, evening: int):
    """Overlay of façade hits: premultiplied RGB and alpha (n, 4), light mask, glass mask, and a random number (n,) in
    0..1 per bay that decides on its lamp; it depends on the drive's `evening`, so that other windows are lit on another
    day.
    """
    group = book.overlay
    bay, floor = part["bay_m"][prim], part["floor_m"][prim]
    cu, cv = u / bay, v / floor
    i, j = np.floor(cu).astype(np.int32), np.floor(cv).astype(np.int32)
    fu, fv = cu - i, cv - j
    seed = part["seed"][prim]
    h = _hash(seed, i + 7919, j + 104729)
    upper, kind = part["upper"][prim], part["ground"][prim]
    windows = np.where(upper < 12, group["upper"][np.minimum(upper, 11) * 4 + h % 4], group["blank"][0])
    door = group["door"][seed % 6]
    low = np.where(h % 5 == 0, door, windows)
    low = np.where(kind == 1, np.where(h % 7 == 0, door, group["shop"][(seed // 3 + i) % 16]), low)
    low = np.where((kind == 2) & (h % 5 != 0), group["garage"][seed % 3], low)
    low = np.where((kind == 3) & (h % 5 != 0), group["arch"][seed % 2], low)
    blank = (j >= part["floors"][prim]) | (kind == 5) | (v < 0)
    tile = np.where(blank, group["blank"][0], np.where(j <= 0, low, windows))
    level = mip_level(np.minimum(bay, floor) / TILE_PX, footprint)
    aux = read_atlas(book, tile, fu, fv, level, aux=True)
    return (
        read_atlas(book, tile, fu, fv, level),
        aux[:, 0] / 255,
        aux[:, 1] / 255,
        _hash(seed + evening, i + 31, j + 17) / np.float32(65535),
    )


def _covering(book: Atlas, kind, material, seed) -> tuple[np.ndarray, np.ndarray]:
    """Tile of each hit and the metres (n,) that it covers: its material, or one of the photographs."""
    size = MATERIAL_SIZE_M[material]
    if not len(book.photos):
        return material, size
    built = (kind == FACADE) | (kind == GENERIC)
    photo = book.photos[_hash(seed, material) % len(book.photos)]
    return np.where(built, photo, material), np.where(built, np.float32(PHOTO_SIZE_M), size)


def shade(scene: Scene, light: Light, origin, direction, hits, pixel_rad: float, ego_forward) -> np.ndarray:
    """Radiance (n, 3) of rays with unit `direction` (n, 3) from `origin` (3,), given their `hits`."""
    t = hits["t_hit"]
    miss = ~np.isfinite(t)
    out = np.empty((len(t), 3), np.float32)
    if miss.any():
        out[miss] = sky(light, scene.city, direction[miss], scene.conditions.snowy)
    hit = np.flatnonzero(~miss)
    if len(hit):
        out[hit] = _surfaces(
            scene, light, origin, direction[hit], {k: v[hit] for k, v in hits.items()}, pixel_rad, ego_forward
        )
    return out


def _surfaces(scene, light, origin, d, hits, pixel_rad, ego_forward):
    part, conditions = scene.part, scene.conditions
    t, prim, bary = hits["t_hit"], hits["primitive_ids"].astype(np.int64), hits["primitive_uvs"]
    p = (origin + t[:, None] * d).astype(np.float32)
    n = hits["primitive_normals"]
    facing = np.einsum("ij,ij->i", n, d)
    n = np.where(facing[:, None] > 0, -n, n)
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-6)
    footprint = t * pixel_rad / np.sqrt(np.maximum(np.abs(facing), 0.08))
    kind, material = part["kind"][prim], part["material"][prim]
    corners = part["uv"][prim]
    uv = corners[:, 0] + bary[:, :1] * (corners[:, 1] - corners[:, 0]) + bary[:, 1:] * (corners[:, 2] - corners[:, 0])
    tile, size = _covering(scene.atlas, kind, material, part["seed"][prim])
    scaled = uv / size[:, None]
    fraction = scaled - np.floor(scaled)
    base = read_atlas(scene.atlas, tile, fraction[:, 0], fraction[:, 1], mip_level(size / TILE_PX, footprint))
    albedo = part["tint"][prim] * (base[:, :3] / UNIT)
    glow = np.zeros(len(t), np.float32)
    glow_colour = np.ones((len(t), 3), np.float32)
    gloss = np.zeros(len(t), np.float32)

    noise = read_noise((p[:, 0] + 0.6 * p[:, 2]) * 9, (p[:, 1] + 0.8 * p[:, 2]) * 9)
    solid = (kind != GROUND) & (kind != LEAF)
    albedo *= np.where(solid, 1 + 0.05 * noise[:, 0], 1)[:, None]

    wall = np.flatnonzero(kind == FACADE)
    if len(wall):
        over, lit_mask, glass, lottery = _bays(
            scene.atlas, part, prim[wall], uv[wall, 0], uv[wall, 1], footprint[wall], conditions.seed
        )
        grime = 1 - 0.28 * np.exp(-np.maximum(p[wall, 2], 0) / 0.9) + 0.05 * noise[wall, 1]
        albedo[wall] = albedo[wall] * (1 - over[:, 3:] / 255) * grime[:, None] + (over[:, :3] / 255) ** 1.8
        lit = (lottery < light.lit_windows) | ((p[wall, 2] < 3.2) & (lottery < 2 * light.lit_windows))
        glow[wall] = lit_mask * lit * light.window_glow * (0.5 + lottery / max(light.lit_windows, 0.05) * 0.4)
        tone = (lottery * 977) % 1
        glow_colour[wall] = np.stack([np.ones_like(tone), 0.70 + 0.25 * tone, 0.36 + 0.5 * tone], 1)
        gloss[wall] = glass * 0.55
    sign = np.flatnonzero(kind == SIGN)
    if len(sign):
        board = scene.atlas.overlay["sign"][part["upper"][prim[sign]] % 16]
        over = read_atlas(
            scene.atlas, board, uv[sign, 0], uv[sign, 1], mip_level(np.full(len(sign), 0.02), footprint[sign])
        )
        albedo[sign] = (over[:, :3] / 255) ** 1.8
        glow[sign] = part["night"][prim[sign]] * light.lamps * 0.5
        glow_colour[sign] = albedo[sign]
    pane = np.flatnonzero(kind == GLASS)
    gloss[pane] = 0.6
    lamp = np.flatnonzero((kind == LAMP) | (kind == CAR_LIGHT))
    glow[lamp] = part["night"][prim[lamp]] * np.where(kind[lamp] == LAMP, light.lamps * 6, light.lamps * 5 + 0.15)
    glow_colour[lamp] = part["tint"][prim[lamp]]
    floor = np.flatnonzero(kind == GROUND)
    snow_cover = np.zeros(len(t), np.float32)
    wet = np.zeros(len(t), np.float32)
    if len(floor):
        albedo[floor], snow_cover[floor], wet[floor] = ground_colour(scene, p[floor], footprint[floor], noise[floor])
    if conditions.snowy:
        lying = np.clip((n[:, 2] - 0.42 + 0.10 * noise[:, 1]) * 5, 0, 1) * (kind != LAMP)
        lying[floor] = snow_cover[floor]
        lying *= np.where(
            kind == LEAF, np.float32(0.8), np.where(kind == EVERGREEN, np.float32(0.62), np.float32(0.95))
        )
        albedo += lying[:, None] * (np.array([0.80, 0.82, 0.86], np.float32) - albedo)
    if conditions.weather == "rain":
        albedo *= np.where(n[:, 2] > 0.5, 0.55, 0.8)[:, None]
        gloss = np.maximum(gloss, wet * 0.5)

    column, row = ((p[:, :2] - scene.ground.origin_m) / CELL_M).T
    corner = read_bilinear(scene.near_walls, column, row)
    high = np.clip(p[:, 2], 0, 30)
    open_sky = 1 - 0.55 * corner * np.exp(-high / 3.0)
    upness = (0.5 + 0.5 * n[:, 2])[:, None]
    radiance = light.ambient_down + upness * (light.ambient_up - light.ambient_down)
    radiance = radiance * open_sky[:, None]
    if scene.roofed:
        radiance[kind != GROUND] *= INDOOR_DAYLIGHT
    if light.sun is not None:
        cosine = n @ light.sun.astype(np.float32)
        soft = (kind == LEAF) | (kind == EVERGREEN)
        cosine = np.where(soft, 0.35 + 0.5 * np.abs(cosine), np.maximum(cosine, 0))
        lit = np.flatnonzero(cosine > 0)
        shadow = scene.occluded(p[lit] + 0.04 * n[lit] + 0.02 * light.sun, light.sun)
        direct = np.zeros(len(t), np.float32)
        direct[lit] = cosine[lit] * np.where(shadow, 0.0, 1.0)
        radiance = radiance + direct[:, None] * light.sun_colour
    if light.lamps:
        pool = read_bilinear(scene.lamp_light, column, row)
        tilt = np.where(n[:, 2] > 0.5, 1, 0.62) * np.exp(-np.maximum(high - 4, 0) / 4)
        radiance = radiance + (pool * tilt * light.lamps * 0.85)[:, None] * light.lamp_colour
    if light.headlights:
        ahead = np.clip((d @ ego_forward - 0.82) / 0.18, 0, 1) ** 1.5
        beam = (
            light.headlights
            * 11
            * ahead
            / (t * t + 14)
            * np.clip(1.4 - 0.25 * (p[:, 2] - 0.9), 0.15, 1)
            * np.maximum(np.abs(facing), 0.3) ** 0.5
        )
        radiance = radiance + beam[:, None] * np.array([1.0, 0.95, 0.85], np.float32)
    colour = albedo * radiance
    shiny = np.flatnonzero(gloss > 0.01)
    if len(shiny):
        bounce = d[shiny] - 2 * np.einsum("ij,ij->i", d[shiny], n[shiny])[:, None] * n[shiny]
        seen = light.horizon + np.clip(bounce[:, 2:], 0, 1) ** 0.5 * (light.zenith - light.horizon)
        fresnel = gloss[shiny] * (0.18 + 0.82 * (1 - np.minimum(np.abs(facing[shiny]), 1)) ** 3)
        colour[shiny] += fresnel[:, None] * (seen * 0.8 - colour[shiny] * 0.5)
    colour += glow[:, None] * glow_colour
    through = np.exp(-light.haze_per_m * t)[:, None]
    return (colour * through + light.haze * (1 - through)).astype(np.float32)
