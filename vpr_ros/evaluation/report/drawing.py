"""Drawing of diagrams: PNG, once for a light and once for a dark page. matplotlib is imported when one is drawn.

Marks differ in shape as well as in colour.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vpr_ros.colours import DARK, GREEN, LIGHT, ORANGE, PURPLE, RED, Theme
from vpr_ros.evaluation import summary

DPI = 120


@dataclass(frozen=True)
class Mark:
    label: str
    colour: Callable[[Theme], str]
    shape: str
    size: float


MARKS = {
    summary.NO_TRUTH: Mark("no ground truth", lambda t: t.muted, ".", 8),
    summary.CORRECT_UNKNOWN: Mark("outside the map, not accepted", lambda t: t.blue, "s", 9),
    summary.MISSED: Mark("on the map, not accepted", lambda t: ORANGE, "D", 11),
    summary.CORRECT: Mark("accepted, right place", lambda t: GREEN, "o", 12),
    summary.WRONG: Mark("accepted, wrong place", lambda t: RED, "X", 52),
    summary.FALSE_ACCEPT: Mark("outside the map, but accepted", lambda t: PURPLE, "P", 52),
}


@dataclass(frozen=True)
class Picture:
    """One drawing: PNG bytes for a light and for a dark page, its size in CSS pixels, and its text alternative."""

    light: bytes
    dark: bytes
    width: int
    height: int
    alt: str


def picture(draw: Callable, size_in: tuple[float, float], alt: str) -> Picture:
    """Call `draw(figure, theme)` once per theme; `figure` is an empty matplotlib Figure of `size_in` inches."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pngs = []
    for theme in (LIGHT, DARK):
        style: Any = {
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "axes.labelsize": 10,
            "axes.titlesize": 11,
            "text.color": theme.ink,
            "axes.labelcolor": theme.ink,
            "xtick.color": theme.muted,
            "ytick.color": theme.muted,
            "axes.edgecolor": theme.grid,
            "axes.facecolor": theme.surface,
            "figure.facecolor": theme.surface,
            "grid.color": theme.grid,
            "grid.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "legend.frameon": False,
            "legend.fontsize": 9,
        }
        # A separate figure, not pyplot: no global state changes, and it works on any thread without a display.
        with matplotlib.rc_context(style):
            figure = Figure(figsize=size_in, dpi=DPI, layout="constrained")
            FigureCanvasAgg(figure)
            draw(figure, theme)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
        pngs.append(buffer.getvalue())
    return Picture(pngs[0], pngs[1], round(size_in[0] * 100), round(size_in[1] * 100), alt)
