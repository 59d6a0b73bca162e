"""A map as one picture: keyframes spread evenly over it, and where they lie."""

from pathlib import Path
from typing import Any

import numpy as np

from vpr_ros import pictures
from vpr_ros.colours import GREEN, LIGHT, ORANGE, PURPLE, RED
from vpr_ros.errors import VprError
from vpr_ros.offline.reporting import positions
from vpr_ros.place_map import Keyframes, PlaceMap

COLUMNS, ROWS = 8, 5
TILE_IN, LABEL_IN, HEAD_IN = 1.4, 0.24, 0.5
DPI = 110
NUMBERED = 12  # shown keyframes whose numbers stand on the drawing of the map
SESSION_COLOURS = (LIGHT.blue, ORANGE, GREEN, PURPLE, RED)


def contact_sheet(place_map: PlaceMap, at_most: int = COLUMNS * ROWS) -> np.ndarray:
    """Picture (H, W, 3) uint8 RGB of a map: at most so many thumbnails with id and session, and its keyframes' places.

    A map without poses has no drawing of places, one without thumbnails nothing else. Raises VprError for a map that
    has neither.
    """
    keyframes = place_map.poses()
    names = {session.id: session.name for session in place_map.sessions()}
    shown, images = _thumbnails(place_map, keyframes, at_most)
    xy = positions(keyframes)
    if not images and xy is None:
        what = "no thumbnails and no poses" if len(keyframes) else "no keyframes"
        raise VprError(f"map {place_map.path} has {what}: there is nothing to draw; map a drive with `vpr_ros map`.")
    head = f"{place_map.path.name}: {len(keyframes)} keyframes in {len(names)} session{'s' * (len(names) != 1)}"
    head += f", {len(images)} of them shown" if images else "; it keeps no thumbnails"
    rows = -(-len(images) // COLUMNS)
    drawing_in = 0.0 if xy is None else _drawing_height(xy)
    height_in = HEAD_IN + rows * (TILE_IN + LABEL_IN) + drawing_in
    figure = _figure(COLUMNS * TILE_IN, height_in)
    figure.text(0.01, 1 - 0.5 * HEAD_IN / height_in, head, fontsize=11, va="center", color=LIGHT.ink)
    for number, (row, image) in enumerate(zip(shown, images, strict=True)):
        top_in = HEAD_IN + (number // COLUMNS) * (TILE_IN + LABEL_IN)
        left, bottom = number % COLUMNS / COLUMNS, 1 - (top_in + TILE_IN) / height_in
        axes = figure.add_axes((left + 0.003, bottom, 1 / COLUMNS - 0.006, TILE_IN / height_in))
        axes.imshow(image)
        axes.set_axis_off()
        label = f"{keyframes.ids[row]} · {names.get(int(keyframes.sessions[row]), '?')}"
        figure.text(
            left + 0.005, bottom - 0.45 * LABEL_IN / height_in, _cut(label), fontsize=7, va="center", color=LIGHT.muted
        )
    if xy is not None:
        axes = figure.add_axes((0.07, 0.6 / height_in, 0.9, (drawing_in - 0.8) / height_in))
        _draw_places(axes, keyframes, xy, names, shown)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def sheet_bytes(image: np.ndarray, path: Path) -> bytes:
    """The picture (H, W, 3) as a file of the kind that the ending of `path` names; VprError for another ending."""
    require_picture_name(path)
    return pictures.encode(image, "png" if path.suffix.lower() == ".png" else "jpeg", quality=88)


def require_picture_name(path: Path) -> None:
    """Raises VprError unless `path` ends in .jpg, .jpeg or .png."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise VprError(f"'{path}' is neither a .jpg nor a .png file: choose one of these endings.")


def _thumbnails(place_map: PlaceMap, keyframes: Keyframes, at_most: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows (M,) of evenly spread keyframes that have a thumbnail, and the pictures."""
    with place_map.reading() as db:
        having = np.array([i for (i,) in db.execute("SELECT id FROM thumbnails")], np.int64)
    rows = np.flatnonzero(np.isin(keyframes.ids, having))
    if len(rows) > at_most:
        rows = rows[np.linspace(0, len(rows) - 1, at_most).round().astype(int)]
    read = {int(row): pictures.decode(place_map.thumbnail(int(keyframes.ids[row]))) for row in rows}
    whole = {row: image for row, image in read.items() if image is not None}
    return np.array(list(whole), np.int64), list(whole.values())


def _figure(width_in: float, height_in: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), dpi=DPI, facecolor=LIGHT.surface)
    FigureCanvasAgg(figure)
    return figure


def _drawing_height(xy: np.ndarray) -> float:
    """Inches for the drawing of places, as high as the route needs."""
    span = np.ptp(xy[np.isfinite(xy).all(axis=1)], axis=0)
    return float(np.clip(0.9 * COLUMNS * TILE_IN * (span[1] + 1) / (span[0] + 1) + 0.8, 3.0, 8.0))


def _draw_places(axes: Any, keyframes: Keyframes, xy: np.ndarray, names: dict[int, str], shown: np.ndarray) -> None:
    for number, session in enumerate(sorted(names)):
        own = xy[keyframes.sessions == session]
        colour = SESSION_COLOURS[number % len(SESSION_COLOURS)]
        axes.scatter(*own.T, s=6, color=colour, linewidths=0, label=f"{_cut(names[session])} ({len(own)})")
    axes.scatter(*xy[shown].T, s=26, facecolors="none", edgecolors=LIGHT.ink, linewidths=0.8)
    for row in shown[:: -(-max(len(shown), 1) // NUMBERED)]:
        if np.isfinite(xy[row]).all():
            axes.annotate(
                str(keyframes.ids[row]), xy[row], (4, 4), textcoords="offset points", fontsize=7, color=LIGHT.ink
            )
    axes.set_aspect("equal", adjustable="datalim")
    frame = "map frame" if keyframes.has_pose.any() else "odometry's frame"
    axes.set_xlabel(f"x in the {frame} [m]", fontsize=8)
    axes.set_ylabel("y [m]", fontsize=8)
    axes.tick_params(labelsize=7, colors=LIGHT.muted)
    axes.grid(color=LIGHT.grid, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(fontsize=7, frameon=False, loc="upper right", markerscale=2)


def _cut(text: str, most: int = 24) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
