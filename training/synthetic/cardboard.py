"""Cardboard places: thousands of small, never repeated rooms, corridors and streets of flat painted shapes.

A rendered city shows what streets look like, but repeats its materials. Here every place is new: quads in space,
painted anew for each view and drawn in perspective by a painter's algorithm. It needs numpy and OpenCV only and takes
about 3 ms a view.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.atomic import whole_text, write_whole
from vpr_ros.pictures import encode
from vpr_ros.training.synthetic.workers import rendering_pool
from vpr_ros.training_set.format import COLUMNS, META, TABLE

PLACES_PER_CITY = 200  # places of a "city": one batch draws its negatives from it
SPACING_M = 1000.0  # places of one city never share a view


@dataclass
class Quad:
    """A painted parallelogram: corner and two edges (3,) in metres, x forward, y left, z up."""

    corner: np.ndarray
    u: np.ndarray
    v: np.ndarray
    material: int
    lines: tuple[int, int]  # painted lines across u and across v
    # (3,) the point whose distance decides the order of painting; None: painted before all others
    anchor: np.ndarray | None = None


@dataclass
class Place:
    """Quads, the base colour of every material and the skyline of one place."""

    quads: list[Quad]
    colours: np.ndarray  # (M, 3) in [0, 255]
    skyline: np.ndarray  # (K, 2) azimuth and elevation in radians
    roofed: bool


def make_place(rng: np.random.Generator) -> Place:
    """A random place around the camera's path along +x."""
    roofed = rng.random() < 0.4
    half = rng.uniform(0.8, 3.0) if roofed else rng.uniform(3.0, 14.0)
    height = rng.uniform(2.2, 4.5) if roofed else rng.uniform(3.0, 16.0)
    depth = rng.uniform(8, 40) if roofed else rng.uniform(25, 90)
    x, y, z = np.eye(3)

    def material():
        return int(rng.integers(24))

    def lines(most):
        return (int(rng.integers(0, most + 1)), int(rng.integers(0, most + 1)))

    quads = [Quad(np.array([-6, -60.0, 0]), x * 200, y * 120, material(), (0, 0))]
    quads.append(Quad(np.array([-6, -half * 0.7, 0.0]), x * 200, y * half * 1.4, material(), lines(6)))
    if roofed:
        quads.append(Quad(np.array([-6, -half, height]), x * (depth + 6), y * 2 * half, material(), lines(9)))
        quads.append(Quad(np.array([depth, -half, 0]), y * 2 * half, z * height, material(), lines(3)))
    for side in (-1, 1):
        start = -6.0
        while start < depth:
            length = rng.uniform(2, 8) if roofed else rng.uniform(5, 25)
            offset = half + (0 if roofed else rng.uniform(0, 6))
            tall = height if roofed else height * rng.uniform(0.3, 1.5)
            corner = np.array([start, side * offset, 0])
            if roofed or rng.random() < 0.8:
                middle = corner + x * length / 2
                quads.append(Quad(corner, x * length, z * tall, material(), lines(5), middle))
                quads.append(Quad(corner, side * y * 12, z * tall, material(), lines(2), middle))
                quads += _panels(corner, length, tall, side, middle, rng)
            start += length + (0 if roofed or rng.random() < 0.6 else rng.uniform(1, 12))
    for _ in range(rng.integers(2, 16)):
        spot = np.array([rng.uniform(4, depth), rng.choice([-1, 1]) * rng.uniform(half * 0.6, half * 1.1), 0])
        wide, tall = (rng.uniform(0.08, 0.3), rng.uniform(2, 7)) if rng.random() < 0.6 else rng.uniform(0.4, 2.5, 2)
        if roofed:
            tall = min(tall, height)
        quads.append(Quad(spot, y * wide, z * tall, material(), lines(2), spot))
        if rng.random() < 0.4:
            top = spot + z * tall * rng.uniform(0.5, 0.9) - y * wide
            quads.append(Quad(top, y * rng.uniform(0.5, 3), z * rng.uniform(0.4, 2.5), material(), lines(3), spot))
    azimuth = np.linspace(-np.pi, np.pi, 40)
    bumps = rng.normal(0, 1, 40).cumsum()
    skyline = np.stack([azimuth, np.clip(0.03 + 0.02 * (bumps - bumps.mean()), 0, 0.25)], 1)
    return Place(quads, rng.uniform(20, 235, (24, 1)) + rng.normal(0, 22, (24, 3)), skyline, roofed)


def _panels(
    corner: np.ndarray, length: float, tall: float, side: int, anchor: np.ndarray, rng: np.random.Generator
) -> Iterator[Quad]:
    """Doors, windows, boards: a grid of panels or a few scattered ones, slightly in front of the wall."""
    x, y, z = np.eye(3)
    front = corner - side * y * 0.05
    material = int(rng.integers(24))
    if rng.random() < 0.5:
        columns, rows = rng.integers(1, 6), rng.integers(1, max(2, min(5, int(tall / 2)) + 1))
        w, h = length / columns, tall / rows
        fill_w, fill_h = rng.uniform(0.3, 0.8, 2)
        for i in range(columns):
            for j in range(rows):
                at = front + x * (i + 0.5 - fill_w / 2) * w + z * (j + 0.55 - fill_h / 2) * h
                yield Quad(at, x * w * fill_w, z * h * fill_h, material, (1, 1), anchor)
    else:
        for _ in range(rng.integers(0, 5)):
            w, h = rng.uniform(0.3, min(3.0, length)), rng.uniform(0.3, min(2.5, tall))
            at = (
                front
                + x * rng.uniform(0, length - w)
                + z * (0 if rng.random() < 0.4 else rng.uniform(0, max(tall - h, 0.01)))
            )
            yield Quad(at, x * w, z * h, int(rng.integers(24)), (int(rng.integers(3)), int(rng.integers(3))), anchor)


def render_view(place: Place, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """One view (H, W, 3) uint8 RGB: another standpoint, camera attitude, paint, light and passers-by each time."""
    height, width = size
    position = np.array([rng.uniform(-1.5, 1.5), rng.uniform(-0.6, 0.6), rng.uniform(1.2, 1.9)])
    yaw, pitch = np.radians(rng.uniform(-4, 4)), np.radians(rng.uniform(-3, 3))
    focal = width / 2 / np.tan(np.radians(rng.uniform(60, 80)) / 2)
    colours = place.colours + rng.normal(0, rng.choice([4, 12, 35]), place.colours.shape)
    if rng.random() < 0.25:  # season: part of the materials is painted anew, above all the ground
        changed = rng.random(len(colours)) < 0.3
        changed[[place.quads[0].material, place.quads[1].material]] = True
        colours[changed] = rng.uniform(60, 245) + rng.normal(0, 12, (changed.sum(), 3))
    sky = rng.uniform(30, 240) + np.array([-12, 0, 18.0]) * rng.uniform(-0.5, 1.5)
    image = np.empty((height, width, 3), np.float32)
    image[:] = sky * np.linspace(rng.uniform(0.75, 1), 1, height)[:, None, None]
    _paint_skyline(image, place, yaw, pitch, focal, colours[0] * 0.6 + sky * 0.4)
    R = _attitude(yaw, pitch)
    haze = rng.uniform(40, 400)
    passers = []
    for _ in range(rng.integers(0, 3)):
        spot = np.array([rng.uniform(3, 15), rng.uniform(-3, 3), 0])
        wide, tall = np.array([0, rng.uniform(0.4, 2), 0]), np.array([0, 0, rng.uniform(0.8, 1.9)])
        passers.append(Quad(spot, wide, tall, int(rng.integers(24)), (1, 2), spot))
    # Stable sorting keeps the panels of a wall after the wall.
    for quad in sorted(
        [*place.quads, *passers], key=lambda q: -np.inf if q.anchor is None else -np.hypot(*(q.anchor - position)[:2])
    ):
        _paint(image, quad, position, R, focal, colours[quad.material], sky, haze)
    light = np.exp(rng.uniform(-0.9, 0.3)) * (1 + rng.normal(0, 0.06, 3))
    image = image * light + rng.normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.7)), 0, 255).astype(np.uint8)


def _attitude(yaw: float, pitch: float) -> np.ndarray:
    """Rows: the camera's right, down and forward axes in the place's frame."""
    c, s, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[s, -c, 0], [c * sp, s * sp, -cp], [c * cp, s * cp, sp]])


def _project(
    points: np.ndarray, position: np.ndarray, R: np.ndarray, focal: float, image: np.ndarray
) -> np.ndarray | None:
    """Pixels (K, 2) of a polygon (K, 3) clipped at 0.3 m before the camera; None where nothing remains."""
    camera = (points - position) @ R.T
    kept = []
    for a, b in zip(camera, np.roll(camera, -1, axis=0), strict=True):
        if a[2] >= 0.3:
            kept.append(a)
        if (a[2] >= 0.3) != (b[2] >= 0.3):
            kept.append(a + (b - a) * (0.3 - a[2]) / (b[2] - a[2]))
    if len(kept) < 2:
        return None
    kept = np.array(kept)
    pixels = kept[:, :2] / kept[:, 2:] * focal + np.array([image.shape[1], image.shape[0]]) / 2
    return np.clip(pixels, -4000, 4000)


def _paint(image, quad: Quad, position, R, focal, colour, sky, haze) -> None:
    corners = quad.corner + np.array([np.zeros(3), quad.u, quad.u + quad.v, quad.v])
    pixels = _project(corners, position, R, focal, image)
    if pixels is None or len(pixels) < 3:
        return
    fade = np.exp(-max(0.0, np.linalg.norm(corners.mean(0) - position)) / haze)
    # Faces across the view are a little darker than those along it, so that edges show without texture.
    shade = 0.8 + 0.2 * abs(np.cross(quad.u, quad.v)[1]) / (np.linalg.norm(np.cross(quad.u, quad.v)) + 1e-9)
    paint = colour * shade * fade + sky * (1 - fade)

    def fixed(p):
        return np.round(p * 16).astype(np.int32)

    cv2.fillPoly(image, [fixed(pixels)], paint.tolist(), cv2.LINE_8, 4)
    dark = (paint * 0.72).tolist()
    segments = [(quad.u * k / (quad.lines[0] + 1), quad.v) for k in range(1, quad.lines[0] + 1)]
    segments += [(quad.v * k / (quad.lines[1] + 1), quad.u) for k in range(1, quad.lines[1] + 1)]
    for offset, along in segments:
        ends = _project(np.array([quad.corner + offset, quad.corner + offset + along]), position, R, focal, image)
        if ends is not None and len(ends) >= 2:
            cv2.line(image, fixed(ends[0]).tolist(), fixed(ends[1]).tolist(), dark, 1, cv2.LINE_AA, 4)


def _paint_skyline(image, place: Place, yaw, pitch, focal, colour) -> None:
    if place.roofed:
        return
    height, width = image.shape[:2]
    azimuth = yaw - np.arctan((np.arange(width) + 0.5 - width / 2) / focal)
    elevation = np.interp(azimuth, *place.skyline.T)
    horizon = height / 2 + focal * np.tan(pitch)
    top = np.clip(horizon - focal * np.tan(elevation), 0, height)
    image[np.arange(height)[:, None] >= top] = colour


def render_cardboard_set(
    out: str | Path, seed: int, places: int, views: int, size: tuple[int, int], workers: int = 2
) -> Path:
    """Write a training set of `places` places by `views` views of `size` (H, W), the same for any `workers`."""
    out = Path(out)
    (out / "images").mkdir(parents=True, exist_ok=True)
    jobs = [(out, seed, place, views, size) for place in range(places)]
    with rendering_pool(workers) as pool:
        list(pool.map(_render_place, jobs, chunksize=32))
    with whole_text(out / TABLE) as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for place in range(places):
            city = f"cardboard{seed}-{place // PLACES_PER_CITY}"
            for view in range(views):
                writer.writerow(
                    [
                        place * views + view,
                        f"{city}-{view}",
                        city,
                        SPACING_M * (place % PLACES_PER_CITY),
                        0.0,
                        0.0,
                        "cardboard",
                        place * views + view,
                        f"images/{place:05d}_{view}.jpg",
                        "",
                    ]
                )
    meta = {"kind": "cardboard", "seed": seed, "places": places, "views": views, "size": size}
    write_whole(out / META, json.dumps(meta))
    return out


def _render_place(job: tuple) -> None:
    out, seed, place, views, size = job
    rng = np.random.default_rng((seed, place))
    scene = make_place(rng)
    for view in range(views):
        image = render_view(scene, size, rng)
        (out / "images" / f"{place:05d}_{view}.jpg").write_bytes(encode(image, quality=92))
