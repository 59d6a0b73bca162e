"""Drawings of verified matches."""

import cv2
import numpy as np

from vpr_ros import pictures
from vpr_ros.colours import Theme
from vpr_ros.evaluation.report.drawing import Picture, picture
from vpr_ros.evaluation.report.shots import ImageLike
from vpr_ros.evaluation.verified import PoseErrors

HEIGHT = 240  # pixels of each of the two pictures
GAP = 8
QUALITY = 70


def pair_picture(query: ImageLike, keyframe: ImageLike, keypoints: np.ndarray, alt: str) -> Picture | None:
    """Both pictures beside each other, lines between keypoints (M, 4) that agree; None where a picture is missing.

    Thumbnails of a map are in the network's shape: both pictures take the query's.
    """
    left, right = _pixels(query), _pixels(keyframe)
    if left is None or right is None:
        return None
    width = max(1, round(HEIGHT * left.shape[1] / left.shape[0]))
    canvas = np.full((HEIGHT, 2 * width + GAP, 3), 128, np.uint8)
    for image, start in ((left, 0), (right, width + GAP)):
        canvas[:, start : start + width] = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    lines = canvas.copy()
    ends = np.round(keypoints * [width, HEIGHT, width, HEIGHT] + [0, 0, width + GAP, 0]).astype(int)
    for n, (x1, y1, x2, y2) in enumerate(ends.tolist()):
        colour = _colour(n / max(len(ends), 1))
        cv2.line(lines, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)
        for x, y in ((x1, y1), (x2, y2)):
            cv2.circle(lines, (x, y), 2, colour, -1, cv2.LINE_AA)
    drawn = cv2.addWeighted(lines, 0.75, canvas, 0.25, 0.0)
    data = pictures.encode(np.asarray(drawn, np.uint8), quality=QUALITY)
    return Picture(data, data, drawn.shape[1], drawn.shape[0], alt)


def error_plot(errors: PoseErrors) -> Picture:
    """Cumulative shares of the measured poses by their distance and turn from the truth."""

    def draw(figure, theme: Theme) -> None:
        for n, (values, unit) in enumerate(((errors.metres, "m"), (errors.degrees, "degrees of heading"))):
            axes = figure.add_subplot(1, 2, n + 1)
            ordered = np.sort(np.maximum(values, 1e-3))
            shares = np.arange(1, len(ordered) + 1) / len(ordered)
            axes.step(ordered, shares, where="post", color=theme.blue, linewidth=2)
            axes.set_xscale("log")
            axes.set_xlabel(f"error [{unit}]")
            axes.set_ylim(0, 1.03)
            if n == 0:
                axes.set_ylabel("share of measured poses")

    return picture(draw, (8.2, 3.6), "Cumulative error of measured poses in position and heading")


def _pixels(image: ImageLike) -> np.ndarray | None:
    return pictures.decode(bytes(image)) if isinstance(image, (bytes, bytearray, memoryview)) else image


def _colour(share: float) -> tuple[int, int, int]:
    """Of a rainbow, so that neighbouring lines can be told apart."""
    hsv = np.array([[[int(170 * share), 200, 255]]], np.uint8)
    r, g, b = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].tolist()
    return r, g, b
