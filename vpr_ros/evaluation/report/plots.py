"""Diagrams of place and time: the drive from above, and the run over time."""

from collections.abc import Mapping

import numpy as np

from vpr_ros.colours import Theme
from vpr_ros.evaluation import summary
from vpr_ros.evaluation.report.drawing import MARKS, Dots, Mark, Picture, picture

WIDE_IN = 10.6
LEGEND = {"handletextpad": 0.4, "columnspacing": 1.6}


def legend_below(axes, columns: int = 3) -> None:
    """A legend under the axes, with marks of one size."""
    _even(axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=columns, **LEGEND))


def _even(legend) -> None:
    """Marks of one size in the legend, however small they are in the plot."""
    for handle in legend.legend_handles:
        if handle is not None and hasattr(handle, "set_sizes"):
            handle.set_sizes([44])


def scatter(
    axes, theme: Theme, x: np.ndarray, y: np.ndarray, kinds: np.ndarray, marks: Mapping[str, Mark] = MARKS
) -> None:
    """Frames at (x, y), each with the mark of its kind (Q,); later marks are drawn on top."""
    for layer, (name, mark) in enumerate(marks.items()):
        rows = (kinds == name) & np.isfinite(x) & np.isfinite(y)
        total = int((kinds == name).sum())
        if total:
            axes.scatter(
                x[rows],
                y[rows],
                s=mark.size,
                marker=mark.shape,
                color=mark.colour(theme),
                zorder=4 + layer,
                linewidths=0.6 if mark.size > 20 else 0,
                edgecolors=theme.surface,
                label=f"{mark.label} ({total})",
            )


def _map_size(*clouds: np.ndarray | None) -> tuple[float, float]:
    """Inches for an equal-aspect plot of points: as wide as the page, as high as the route needs."""
    points = [c[np.isfinite(c).all(axis=1)] for c in clouds if c is not None and len(c)]
    points = [p for p in points if len(p)]
    span = np.ptp(np.vstack(points), axis=0) if points else np.ones(2)
    ratio = (span[1] + 1) / (span[0] + 1)
    return WIDE_IN, float(np.clip((WIDE_IN - 1) * ratio + 1.4, 4.2, 9.0))


def _near(keyframe_xy: np.ndarray, query_xy: np.ndarray) -> np.ndarray:
    """Which frames (Q,) are drawn: those that lie no farther from the map than it is wide, so that it stays legible."""
    known = keyframe_xy[np.isfinite(keyframe_xy).all(axis=1)]
    if not len(known):
        return np.all(np.isfinite(query_xy), axis=1)
    margin = np.ptp(known, axis=0).max() + 50.0
    inside = (query_xy >= known.min(axis=0) - margin) & (query_xy <= known.max(axis=0) + margin)
    return np.all(inside, axis=1)


def trajectory_plot(
    keyframe_xy: np.ndarray, query_xy: np.ndarray, matched_xy: np.ndarray, outcomes: np.ndarray
) -> Picture:
    """True query positions (Q, 2) coloured by their outcome, over the map (K, 2); lines lead to `matched_xy`."""

    def draw(figure, theme: Theme) -> list[Dots]:
        from matplotlib.collections import LineCollection

        axes = figure.add_subplot()
        _map_track(axes, theme, keyframe_xy)
        for name, width in ((summary.CORRECT, 0.8), (summary.WRONG, 1.1), (summary.FALSE_ACCEPT, 1.1)):
            rows = (outcomes == name) & np.isfinite(matched_xy).all(1) & np.isfinite(query_xy).all(1)
            segments = np.stack([query_xy[rows], matched_xy[rows]], axis=1)
            axes.add_collection(
                LineCollection(
                    list(segments),
                    colors=MARKS[name].colour(theme),
                    linewidths=width,
                    alpha=0.65,
                    zorder=3,
                )
            )
        scatter(axes, theme, query_xy[:, 0], query_xy[:, 1], outcomes)
        _finish_map(axes, theme, query_xy)
        if far:
            axes.set_title(f"{far} frames lie farther away than this drawing reaches", fontsize=9, color=theme.muted)
        return [Dots(axes, "x", "y")]

    known, near = np.isfinite(query_xy).all(axis=1), _near(keyframe_xy, query_xy)
    far = int((known & ~near).sum())
    query_xy = np.where(near[:, None], query_xy, np.nan)
    alt = "Map and query drive from above, coloured by outcome"
    return picture(draw, _map_size(keyframe_xy, query_xy), alt)


def probability_trajectory_plot(keyframe_xy: np.ndarray, matched_xy: np.ndarray, probability: np.ndarray) -> Picture:
    """Places of the accepted answers (Q, 2, NaN = none) coloured by their probability (Q,), over the map (K, 2)."""

    def draw(figure, theme: Theme) -> list[Dots]:
        axes = figure.add_subplot()
        _map_track(axes, theme, keyframe_xy)
        rows = np.isfinite(matched_xy).all(1)
        order = np.argsort(probability[rows])[::-1]  # the least probable are drawn last, on top
        # The scale starts at the tenth below the least probable answer: all accepted ones are far from 0.
        lowest = np.floor(10 * probability[rows].min()) / 10 if rows.any() else 0.0
        dots = axes.scatter(
            *matched_xy[rows][order].T,
            c=probability[rows][order],
            cmap=theme.scale,
            vmin=lowest,
            vmax=1,
            s=24,
            linewidths=0,
            zorder=4,
            label=f"accepted answers ({int(rows.sum())})",
        )
        figure.colorbar(dots, ax=axes, label="probability of the accepted place", shrink=0.8, pad=0.02)
        _finish_map(axes, theme, None)
        return [Dots(axes, "x", "y")]

    return picture(draw, _map_size(keyframe_xy), "Map from above with accepted places coloured by probability")


def _map_track(axes, theme: Theme, keyframe_xy: np.ndarray) -> None:
    label = f"map keyframes ({len(keyframe_xy)})"
    axes.scatter(*keyframe_xy.T, s=70, color=theme.track, alpha=0.5, linewidths=0, label=label)


def _finish_map(axes, theme: Theme, query_xy: np.ndarray | None) -> None:
    if query_xy is not None:
        start = query_xy[np.isfinite(query_xy).all(1)][:1]
        axes.scatter(
            *start.T,
            s=110,
            facecolors="none",
            edgecolors=theme.ink,
            linewidths=1.4,
            zorder=12,
            label="start of the query drive",
        )
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel("x in the map frame [m]")
    axes.set_ylabel("y in the map frame [m]")
    legend_below(axes)


def timeline_plot(
    time_s: np.ndarray,
    probability: np.ndarray,
    similarity: np.ndarray,
    kinds: np.ndarray,
    threshold: float | None = None,
    marks: Mapping[str, Mark] = MARKS,
) -> Picture:
    """Probability of the best place, with the threshold of acceptance, and its plain similarity over time (Q,).

    `kinds` (Q,) are keys of `marks`; stretches off the map are shaded.
    """

    def draw(figure, theme: Theme) -> list[Dots]:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        off = np.isin(kinds, [summary.CORRECT_UNKNOWN, summary.FALSE_ACCEPT])
        for axes in (top, bottom):
            for start, stop in _spans(off):
                axes.axvspan(time_s[start], time_s[stop - 1], color=theme.grid, linewidth=0, alpha=0.75)
        scatter(top, theme, time_s, probability, kinds, marks)
        if threshold is not None:
            label = f"threshold of acceptance ({threshold:.4g})"
            top.axhline(threshold, color=theme.ink, linewidth=1, linestyle=(0, (4, 3)), zorder=3, label=label)
        top.set_ylim(-0.04, 1.04)
        top.set_ylabel("probability of\nthe best place")
        bottom.plot(time_s, similarity, ".", markersize=3, color=theme.blue)
        bottom.set_ylabel("similarity of the\nfirst retrieved image")
        bottom.set_xlabel("time since the first frame [s]" + ("   (shaded: outside the map)" if off.any() else ""))
        _even(figure.legend(loc="outside lower center", ncols=3, **LEGEND))
        return [Dots(top, "time", "probability"), Dots(bottom, "time", "similarity")]

    return picture(draw, (WIDE_IN, 5.6), "Probability and similarity of the best place over time")


def _spans(flags: np.ndarray) -> list[tuple[int, int]]:
    """Runs [start, stop) of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
