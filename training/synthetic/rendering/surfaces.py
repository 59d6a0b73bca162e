"""The ground's colour: road surface, markings, crossings, pavement, gardens, fields, snow with wheel tracks."""

import cv2
import numpy as np

from vpr_ros.training.synthetic.rendering.sampling import mip_level, read_atlas, read_bilinear, read_noise
from vpr_ros.training.synthetic.world.city import OLD, RURAL, SUBURB, URBAN
from vpr_ros.training.synthetic.world.ground import CELL_M
from vpr_ros.training.synthetic.world.scene import Scene
from vpr_ros.training.synthetic.world.textures import MATERIAL_ID, MATERIAL_SIZE_M, TILE_PX, UNIT


def _edge(distance, footprint, width):
    """1 inside a line of half width `width` at `distance`, softened by the pixel's footprint."""
    soft = 0.02 + 0.6 * footprint
    return np.clip((width - distance) / soft + 0.5, 0, 1) * np.minimum(1, 2 * width / soft)


def ground_colour(scene: Scene, p, footprint, noise):
    """Albedo (n, 3), snow cover (n,) and wetness (n,) of ground points p (n, 3)."""
    ground, city = scene.ground, scene.city
    style = city.style
    n = len(p)
    column, row = ((p[:, :2] - ground.origin_m) / CELL_M).T
    fields = read_bilinear(ground.fields, column, row, borderMode=cv2.BORDER_CONSTANT, borderValue=(80, 0, 0, 0))
    rows, columns = ground.cells(p[:, :2])
    street = ground.street[rows, columns]
    half, pavement, parking, zone, surface = (
        np.array([getattr(s, name) for s in city.streets], kind)[street]
        for name, kind in (
            ("half_width_m", "f4"),
            ("pavement_m", "f4"),
            ("parking_m", "f4"),
            ("zone", "i4"),
            ("surface", "i4"),
        )
    )
    outside, lateral, along, end = fields.T
    road, walk = outside < 0, (outside >= 0) & (outside < pavement)
    inside = ~road & ~walk
    green = inside & ((zone == SUBURB) | (zone == RURAL) | ((noise[:, 0] > 0.6) & (outside > 9)))
    field = inside & (zone == RURAL) & (outside > 14)

    material = np.full(n, MATERIAL_ID["slabs"])
    material[road] = np.array([MATERIAL_ID[m] for m in ("asphalt", "cobble", "gravel")])[surface[road]]
    material[walk & (zone == RURAL)] = MATERIAL_ID["gravel"]
    material[inside & ~green] = MATERIAL_ID["rough"]
    material[green] = MATERIAL_ID["grass"]
    material[field] = MATERIAL_ID["field"]
    tint = np.empty((n, 3), np.float32)
    tint[:] = style.pavement_colour
    tint[road] = np.array([[1.0, 1, 1.03], [1.25, 1.2, 1.12], [1.6, 1.5, 1.3]])[surface[road]] * style.road_tone
    autumn, winter = scene.conditions.season == "autumn", scene.conditions.season == "winter"
    lawn = np.array([0.20, 0.20, 0.10]) if winter or autumn else np.array([0.14, 0.23, 0.07])
    tint[green] = lawn
    crop = (np.floor(p[:, 0] / 90) * 3 + np.floor(p[:, 1] / 70)).astype(int) % 3
    tint[field] = np.array([[0.30, 0.26, 0.12], [0.18, 0.24, 0.08], [0.24, 0.17, 0.11]])[crop[field]]
    tint[inside & ~green] = style.pavement_colour * 0.8
    tint[walk & (zone == RURAL)] = (0.26, 0.24, 0.18)

    size = MATERIAL_SIZE_M[material]
    scaled = p[:, :2] / size[:, None]
    fraction = scaled - np.floor(scaled)
    base = read_atlas(scene.atlas, material, fraction[:, 0], fraction[:, 1], mip_level(size / TILE_PX, footprint))
    albedo = tint * (base[:, :3] / UNIT) * (1 + 0.05 * noise[:, :1] + 0.04 * noise[:, 1:])
    # Wear: darker oil strip in the lane, patches of newer asphalt, dirt at the kerb.
    lane = np.abs(np.abs(lateral) - 0.5 * (half - parking))
    paved = road & (surface == 0)
    albedo *= np.where(paved, 1 - 0.10 * np.exp(-((lane / 0.5) ** 2)), 1)[:, None]
    patch = paved & (np.sin(along * 0.13 + street * 1.7) > 0.86) & (lateral * np.where(street % 2, 1, -1) > 0)
    albedo *= np.where(patch, 0.72, 1)[:, None]
    albedo *= (1 - 0.25 * _edge(np.abs(outside), footprint, 0.25))[:, None]
    paint = _markings(style, street, zone, surface, half, parking, lateral, along, end, footprint)
    worn = np.clip(0.85 + 0.3 * noise[:, 1], 0.35, 1)
    paint = paint * worn * road
    yellow = (style.marking == 1) & (np.abs(lateral) < 0.4)
    colour = np.where(yellow[:, None], [0.75, 0.55, 0.10], [0.74, 0.74, 0.72])
    albedo += paint[:, None] * (colour - albedo)
    if autumn:
        speck = read_noise(p[:, 0] * 60, p[:, 1] * 60)[:, 1]
        litter = np.clip(
            (0.9 * speck + 0.3 * noise[:, 0] - 1.9 + 1.6 * np.exp(-np.abs(outside) / 0.7) + 0.7 * green) * 1.5, 0, 0.8
        )
        litter *= np.clip(1.2 - 0.5 * footprint, 0.3, 1)
        albedo += litter[:, None] * (np.array([0.38, 0.22, 0.07]) * (0.7 + 0.4 * (speck[:, None] % 1)) - albedo)
    return (
        albedo,
        _snow(scene, road, walk, half, parking, lateral, zone, noise, albedo),
        road * np.clip(0.5 + 0.5 * noise[:, 0], 0.15, 1),
    )


def _markings(style, street, zone, surface, half, parking, lateral, along, end, footprint):
    """Coverage (n,) of road paint: centre and edge lines, parking bays, crossings, stop lines."""
    open_road = np.clip((end - 9) * 2, 0, 1) * (surface == 0)
    has_centre = ((zone == URBAN) | ((zone == SUBURB) & (street % 3 > 0)) | ((zone == RURAL) & (street % 2 == 0))) & (
        style.marking < 2
    )
    dashed = np.clip(np.minimum((along % 9), 4.5 - (along % 9)) / (0.1 + footprint), 0, 1)
    dash = np.where(street % 4 == 0, 1.0, dashed)
    paint = has_centre * _edge(np.abs(lateral), footprint, 0.075) * dash * open_road
    edge_line = (zone == RURAL) | ((zone == URBAN) & (parking == 0))
    paint = np.maximum(paint, edge_line * _edge(np.abs(np.abs(lateral) - half + 0.3), footprint, 0.06) * open_road)
    bays = (parking > 0) & (street % 2 == 0)
    rail = _edge(np.abs(np.abs(lateral) - half + parking), footprint, 0.05)
    rung = _edge(np.abs((along % 5.8) - 2.9 + 2.8), footprint, 0.05) * (np.abs(lateral) > half - parking)
    paint = np.maximum(paint, bays * np.maximum(rail, rung) * open_road)
    crossing = ((zone == URBAN) | ((zone == SUBURB) & (street % 5 == 0))) & (surface == 0) & (end > 5.8) & (end < 8.6)
    stripe = np.clip((0.25 - np.abs((lateral % 1.0) - 0.5)) / (0.03 + 0.5 * footprint) + 0.5, 0, 1)
    paint = np.maximum(paint, crossing * np.where(footprint > 0.8, 0.5, stripe))
    stop = ((zone != RURAL) & (zone != OLD)) & (surface == 0)
    return np.maximum(
        paint, stop * _edge(np.abs(end - 9.4), footprint, 0.18) * (lateral * np.where(along < end + 1, 1, -1) > 0)
    )


def _snow(scene, road, walk, half, parking, lateral, zone, noise, albedo):
    """Snow cover (n,): deep on open ground, trodden on pavements, two broad uneven tracks per lane on roads."""
    if not scene.conditions.snowy:
        return np.zeros(len(lateral), np.float32)
    rng = np.random.default_rng([scene.conditions.seed, 91])
    cleared = rng.uniform(0.25, 0.95)
    lane = np.abs(lateral) - 0.5 * (half - parking)
    tracks = np.exp(-(((np.abs(lane + 0.12 * noise[:, 0]) - 0.75) / 0.42) ** 2))
    ploughed = np.clip((half - parking - np.abs(lateral)) / 0.8, 0, 1)
    on_road = 1 - np.clip(
        cleared * (tracks * 1.05 + 0.45 * ploughed) + 0.22 * noise[:, 1] + 0.15 * noise[:, 0], 0, 0.96
    )
    cover = np.where(
        road, on_road, np.where(walk & (zone != RURAL), 0.62 + 0.2 * noise[:, 1], 0.95 + 0.05 * noise[:, 0])
    )
    slush = road & (cover < 0.7)
    albedo[slush] = 0.55 * albedo[slush] + 0.45 * np.array([0.30, 0.28, 0.26])
    return np.clip(cover, 0, 1).astype(np.float32)
