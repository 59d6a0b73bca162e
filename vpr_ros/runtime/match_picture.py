"""The query beside its best match, with the verdict in words and colours: what one looks at while a robot drives."""

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.colours import DARK, GREEN, ORANGE
from vpr_ros.pictures import decode, encode
from vpr_ros.recognition.mapper import FrameReason
from vpr_ros.recognition.types import Recognition, Status

# As on the report's map: green is accepted, orange is on the map but not accepted, blue is off the map.
STATUS_COLOURS: dict[Status, str] = {"accepted": GREEN, "rejected": ORANGE, "unknown": DARK.blue}

WIDTH = 640
MARGIN = 8
TILE_WIDTH = (WIDTH - 3 * MARGIN) // 2
TILE_HEIGHTS = (78, 320)
HEAD, CAPTION, LINE = 52, 24, 21  # heights in pixels
FONT, BOLD = cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX
QUALITY = 85


@dataclass(frozen=True)
class Partner:
    """What the query is compared with: a keyframe's name and the JPEG that the map keeps of it, if any."""

    name: str
    thumbnail: bytes | None


def rgb(colour: str) -> tuple[int, int, int]:
    """The colour "#rrggbb" as three numbers up to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def match_picture(
    image: np.ndarray, recognition: Recognition | None, partner: Partner | None, reason: FrameReason | None
) -> bytes:
    """JPEG, 640 pixels wide, of the query (H, W, 3) uint8 RGB beside its partner.

    `partner` is None where the map has nothing to offer. `recognition` is None while mapping; then `reason` tells what
    became of the frame.
    """
    width, height = _tile_size(image)
    message = recognition.message if recognition is not None else reason or ""
    lines = _wrapped(message, WIDTH - 2 * MARGIN)
    top, bottom = HEAD, HEAD + height + CAPTION
    canvas = np.full((bottom + LINE * len(lines) + MARGIN, WIDTH, 3), rgb(DARK.surface), np.uint8)
    _head(canvas, recognition)
    _put(canvas, _shrunk(image, width, height), MARGIN, top)
    _text(canvas, "query", MARGIN, top + height + 17, DARK.muted)
    right = 2 * MARGIN + TILE_WIDTH
    _put(canvas, _partner_tile(partner, recognition, width, height), right, top)
    if partner is not None:
        caption = partner.name
        if recognition is not None and recognition.best is not None:
            caption += f", similarity {recognition.best.similarity:.2f}"
        _text(canvas, caption, right, top + height + 17, DARK.muted)
    for i, line in enumerate(lines):
        _text(canvas, line, MARGIN, bottom + LINE * i + 15, DARK.ink)
    return encode(canvas, quality=QUALITY)


def _head(canvas: np.ndarray, recognition: Recognition | None) -> None:
    """The status as a coloured plate, the probabilities in figures and as a bar of all places that adds up to 1."""
    status = recognition.status if recognition is not None else "mapping"
    colour = rgb(DARK.track if recognition is None else STATUS_COLOURS[recognition.status])
    (width, _), _ = cv2.getTextSize(status.upper(), BOLD, 0.6, 1)
    cv2.rectangle(canvas, (MARGIN, MARGIN), (MARGIN + width + 20, MARGIN + 26), colour, cv2.FILLED)
    light = np.dot(colour, (0.299, 0.587, 0.114)) > 110
    _text(canvas, status.upper(), MARGIN + 10, MARGIN + 19, DARK.surface if light else DARK.ink, 0.6, BOLD)
    if recognition is None:
        return
    best = recognition.best
    figures = f"probability {best.probability:.2f}   " if best is not None else ""
    figures += f"P(unknown) {max(recognition.p_unknown, 0.0):.2f}"
    (width, _), _ = cv2.getTextSize(figures, FONT, 0.55, 1)
    _text(canvas, figures, WIDTH - MARGIN - width, MARGIN + 19, DARK.ink, 0.55)
    left = float(MARGIN)
    cv2.rectangle(canvas, (MARGIN, HEAD - 13), (WIDTH - MARGIN - 1, HEAD - 7), rgb(DARK.grid), cv2.FILLED)
    for rank, place in enumerate(recognition.hypotheses):
        right = min(left + place.probability * (WIDTH - 2 * MARGIN), WIDTH - MARGIN)
        if right - left >= 2:  # a gap of one pixel keeps the places apart
            ends = (round(left), HEAD - 13), (round(right) - 2, HEAD - 7)
            cv2.rectangle(canvas, *ends, colour if rank == 0 else rgb(DARK.track), cv2.FILLED)
        left = right


def _partner_tile(partner: Partner | None, recognition: Recognition | None, width: int, height: int) -> np.ndarray:
    picture = decode(partner.thumbnail) if partner is not None else None
    if picture is not None:
        # Thumbnails have the network's input size, not the camera's proportions: both sides are shown in the query's.
        return _shrunk(picture, width, height)
    tile = np.full((height, width, 3), rgb(DARK.grid), np.uint8)
    if partner is not None:
        words = "no picture in the map"
    else:
        words = "no place to compare with" if recognition is not None else "no new keyframe"
    (across, _), _ = cv2.getTextSize(words, FONT, 0.5, 1)
    _text(tile, words, max((width - across) // 2, 2), height // 2, DARK.muted)
    return tile


def _tile_size(image: np.ndarray) -> tuple[int, int]:
    """Width and height that keep the image's proportions within the tile, except where they are extreme."""
    low, high = TILE_HEIGHTS
    height = round(TILE_WIDTH * image.shape[0] / image.shape[1])
    if height > high:
        return max(round(TILE_WIDTH * high / height), TILE_WIDTH // 3), high
    return TILE_WIDTH, max(height, low)


def _shrunk(image: np.ndarray, width: int, height: int) -> np.ndarray:
    smaller = image.shape[1] >= width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)


def _put(canvas: np.ndarray, tile: np.ndarray, left: int, top: int) -> None:
    left += (TILE_WIDTH - tile.shape[1]) // 2
    canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile


def _text(
    canvas: np.ndarray, words: str, left: int, baseline: int, colour: str, scale: float = 0.5, font: int = FONT
) -> None:
    # OpenCV's stroke fonts know ASCII only.
    words = words.encode("ascii", "replace").decode()
    cv2.putText(canvas, words, (left, baseline), font, scale, rgb(colour), 1, cv2.LINE_AA)


def _wrapped(words: str, width: int, most: int = 3) -> list[str]:
    """The words in lines no wider than `width` pixels, at most so many; the last one ends in dots if it is cut."""
    lines: list[str] = []
    for word in words.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and cv2.getTextSize(longer, FONT, 0.5, 1)[0][0] <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1] + " ..."]
    return lines
