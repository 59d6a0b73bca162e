"""Both aligned drives from above: what holds them together, and where nothing does."""

from pathlib import Path

import numpy as np

from vpr_ros.colours import GREEN, LIGHT, ORANGE, RED
from vpr_ros.offline.align.bags import Tie

SIZE_IN, DPI = 8.0, 110


def draw_tie(path: Path, tie: Tie, names: tuple[str, str]) -> None:
    """Write a PNG of both drives in their common frame, their constraints, and the gaps of the second one."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    first, second, hold = tie.aligned.first[:, :2, 3], tie.aligned.second[:, :2, 3], tie.hold
    figure = Figure(figsize=(SIZE_IN, SIZE_IN), dpi=DPI, facecolor=LIGHT.surface, layout="constrained")
    axes = figure.subplots()
    axes.plot(*first.T, color=LIGHT.track, linewidth=5, solid_capstyle="round", label=names[0])
    axes.plot(*second.T, color=LIGHT.blue, linewidth=1.2, label=names[1])
    along = tie.crossing.second.along_m
    for n, (begin, end) in enumerate(hold.gaps_m):
        inside = (along >= begin) & (along <= end)
        label = "no constraint" if n == 0 else None
        axes.plot(*np.where(inside[:, None], second, np.nan).T, color=ORANGE, linewidth=4, alpha=0.6, label=label)
        middle = second[inside & np.isfinite(second).all(axis=1)]
        if len(middle):
            aside = {"xytext": (6, -14), "textcoords": "offset points", "fontsize": 8, "color": LIGHT.muted}
            axes.annotate(f"{begin:.0f} to {end:.0f} m", middle[len(middle) // 2], **aside)
    ends = np.array([(first[c.first], second[c.second]) for c in tie.aligned.constraints])
    for which, colour, label in ((hold.holds, GREEN, "constraints that hold"), (~hold.holds, RED, "that do not")):
        if which.any():
            lines = LineCollection(list(ends[which]), colors=colour, linewidths=1.0, label=f"{which.sum()} {label}")
            axes.add_collection(lines)
            axes.plot(*ends[which, 1].T, ".", color=colour, markersize=3)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="x (m)", ylabel="y (m)")
    axes.set_title(hold.sentence.replace("; ", ";\n"), fontsize=9, color=LIGHT.ink)
    axes.grid(color=LIGHT.grid)
    axes.legend(fontsize=8, loc="best")
    FigureCanvasAgg(figure).print_png(path)
