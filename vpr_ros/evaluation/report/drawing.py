"""Drawing of diagrams: PNG, once for a light and once for a dark page. matplotlib is imported when one is drawn.

Marks differ in shape as well as in colour. A drawing tells where the frames lie in it, so that the page can be clicked.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from vpr_ros.colours import DARK, GREEN, LIGHT, ORANGE, PURPLE, RED, Theme
from vpr_ros.evaluation import summary

DPI = 120
Column = Literal["time", "frame", "probability", "similarity", "x", "y", "keyframe"]  # of the table of frames


@dataclass(frozen=True)
class Mark:
    label: str
    colour: Callable[[Theme], str]
    shape: str
    size: float


MARKS: dict[str, Mark] = {
    summary.NO_TRUTH: Mark("no ground truth", lambda t: t.muted, ".", 8),
    summary.CORRECT_UNKNOWN: Mark("outside the map, not accepted", lambda t: t.blue, "s", 9),
    summary.MISSED: Mark("on the map, not accepted", lambda t: ORANGE, "D", 11),
    summary.CORRECT: Mark("accepted, right place", lambda t: GREEN, "o", 12),
    summary.WRONG: Mark("accepted, wrong place", lambda t: RED, "X", 52),
    summary.FALSE_ACCEPT: Mark("outside the map, but accepted", lambda t: PURPLE, "P", 52),
}
# Of a run without ground truth, by the status of its answers.
STATUS_MARKS: dict[str, Mark] = {
    "unknown": Mark("unknown", lambda t: t.blue, "s", 11),
    "rejected": Mark("rejected", lambda t: ORANGE, "D", 11),
    "accepted": Mark("accepted", lambda t: GREEN, "o", 16),
}


@dataclass(frozen=True)
class Panel:
    """Where two columns of the frames lie in a drawing, as shares of its width and height from the left and the top.

    across = across_scale * x + across_start, down = down_scale * y + down_start.
    """

    x: Column
    y: Column
    across_scale: float
    across_start: float
    down_scale: float
    down_start: float


@dataclass(frozen=True)
class Dots:
    """Axes with linear scales in which frames are drawn as dots: their columns across and upwards."""

    axes: Any
    x: Column
    y: Column


@dataclass(frozen=True)
class Picture:
    """One drawing: PNG bytes for a light and for a dark page, its size in CSS pixels, and its text alternative."""

    light: bytes
    dark: bytes
    width: int
    height: int
    alt: str
    panels: tuple[Panel, ...] = ()


def picture(draw: Callable[[Any, Theme], Sequence[Dots] | None], size_in: tuple[float, float], alt: str) -> Picture:
    """Call `draw(figure, theme)` once per theme; `figure` is an empty matplotlib Figure of `size_in` inches.

    What it returns are the axes in which frames can be clicked; they lie in the same place on both pages.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pngs: list[bytes] = []
    panels: tuple[Panel, ...] = ()
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
            dots = draw(figure, theme) or ()
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
            panels = tuple(_panel(figure, one) for one in dots)  # the layout is settled by now
        pngs.append(buffer.getvalue())
    return Picture(pngs[0], pngs[1], round(size_in[0] * 100), round(size_in[1] * 100), alt, panels)


def _panel(figure: Any, dots: Dots) -> Panel:
    (left, bottom), (right, top) = dots.axes.transData.transform([(0.0, 0.0), (1.0, 1.0)])
    width, height = figure.bbox.width, figure.bbox.height
    across, down = (right - left) / width, (bottom - top) / height
    return Panel(dots.x, dots.y, float(across), float(left / width), float(down), float(1 - bottom / height))
