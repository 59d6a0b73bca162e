"""A drive from above, before and after its loops straightened it."""

from pathlib import Path

import numpy as np

from vpr_ros.colours import GREEN, LIGHT, RED
from vpr_ros.offline.loops.accuracy import TrueError
from vpr_ros.offline.loops.graph import Graph
from vpr_ros.offline.loops.straightening import Straightened
from vpr_ros.sensors import Trajectory

WIDTH_IN, HEIGHT_IN, DPI = 12.0, 6.4, 110


def draw_loops(
    path: Path,
    drive: Straightened,
    graph: Graph,
    truth: Trajectory | None = None,
    errors: tuple[TrueError, TrueError] | None = None,
) -> None:
    """Write a PNG of both trajectories with the loops in each: those that are trusted, and those that are not.

    With `truth` and the `errors` of both, they lie in the frame of the truth, which is drawn below them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DPI, facecolor=LIGHT.surface, layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    rows = [np.searchsorted(drive.before.stamps_ns, graph.stamps_ns[[e.first, e.second]]) for e in drive.loops]
    own = np.array([graph.sessions[e.first] < 0 for e in drive.loops], bool)
    for axes, name, trajectory, n in zip(panels, ("before", "after"), (drive.before, drive.after), (0, 1), strict=True):
        title, T = name, np.eye(4)
        if truth is not None and errors is not None:
            title, T = f"{name}: {errors[n].rmse_m:.2f} m from the truth (ATE)", errors[n].T_truth_estimate
            axes.plot(*truth.T[:, :2, 3].T, color=LIGHT.track, linewidth=5, solid_capstyle="round", label="truth")
        xy = (T @ trajectory.T)[:, :2, 3]
        axes.plot(*xy.T, color=LIGHT.blue, linewidth=1.2, label="the drive")
        axes.plot(*xy[:1].T, "o", color=LIGHT.ink, markersize=5, label="its start")
        for which, colour, label in ((drive.trusted, GREEN, "loops"), (~drive.trusted, RED, "loops not trusted")):
            ends = [xy[pair] for pair, shown in zip(rows, which & own, strict=True) if shown]
            if which.any():
                axes.add_collection(LineCollection(ends, colors=colour, linewidths=0.9, label=f"{which.sum()} {label}"))
        axes.set_aspect("equal", adjustable="box")
        axes.set(xlabel="x (m)", ylabel="y (m)")
        axes.set_title(title, fontsize=10, color=LIGHT.ink)
        axes.grid(color=LIGHT.grid)
        axes.legend(fontsize=8, loc="best")
    FigureCanvasAgg(figure).print_png(path)
