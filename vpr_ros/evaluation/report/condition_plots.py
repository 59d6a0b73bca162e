"""A model across conditions in one picture: AR@1 by pair of conditions, AR@N, and precision against recall."""

from collections.abc import Mapping

import numpy as np

from vpr_ros.colours import GREEN, ORANGE, PURPLE, RED, Theme
from vpr_ros.evaluation.metrics import average_precision
from vpr_ros.evaluation.protocols.run_pairs import DEPTH, PairRecalls
from vpr_ros.evaluation.report.drawing import Picture, picture

LINES = 6  # conditions with a line of their own; more cannot be distinguished on a page


def conditions_picture(recalls: PairRecalls, title: str) -> Picture:
    """Matrix of AR@1 (rows: database conditions, columns: query conditions), AR@N and precision-recall curves."""
    groups = recalls.by_condition()
    by_query = _by_query(recalls)

    def draw(figure, theme: Theme) -> None:
        figure.suptitle(title, fontsize=12, x=0.01, ha="left", color=theme.ink)
        left, middle, right = figure.subplots(1, 3, width_ratios=[1.25, 1, 1])
        _matrix(left, theme, {names: group.ar1 for names, group in groups.items()})
        looks = [(theme.blue, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"), (RED, "-"), (theme.muted, "--")]
        ns = np.arange(1, DEPTH + 1)
        for (name, group), (colour, dash) in zip(by_query.items(), looks, strict=False):
            middle.plot(ns, [group.ar(int(n)) for n in ns], dash, color=colour, linewidth=1.7, label=name)
            curve = group.precision_recall()
            recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[:1], curve.precision)
            label = f"{name} (AP {average_precision(curve):.3f})"
            right.plot(recall, precision, dash, color=colour, linewidth=1.7, drawstyle="steps-pre", label=label)
        middle.set_xlabel("N: how many frames are looked at")
        middle.set_ylabel("AR@N")
        middle.set_xlim(1, DEPTH)
        middle.set_xticks([1, *range(5, DEPTH + 1, 5)])
        middle.set_title("by the query's condition", fontsize=10)
        right.set_xlabel("recall: right accepted / queries on the map")
        right.set_ylabel("precision: right / accepted")
        right.set_xlim(0, 1)
        right.set_title("by the query's condition", fontsize=10)
        for axes in (middle, right):
            axes.set_ylim(0, 1.03)
            axes.legend(loc="lower right" if axes is middle else "lower left", fontsize=8)

    size = max(4.6, 2.2 + 0.42 * len({names[0] for names in groups}))
    return picture(draw, (13.5, min(size, 9.0)), f"{title}: AR@1 between conditions, AR@N, precision and recall")


def _by_query(recalls: PairRecalls) -> dict[str, PairRecalls]:
    """The pairs by query condition, those with most queries first; all pairs together where there are too many."""
    names = sorted({p.query_condition for p in recalls.pairs})
    groups = {name or "all": recalls.select(lambda p, name=name: p.query_condition == name) for name in names}
    if len(groups) > LINES:
        ranked = sorted(groups, key=lambda name: -groups[name].counted)
        groups = {"all": recalls, **{name: groups[name] for name in ranked[: LINES - 1]}}
    return groups


def _matrix(axes, theme: Theme, values: Mapping[tuple[str, str], float]) -> None:
    rows, columns = sorted({a for a, _ in values}), sorted({b for _, b in values})
    table = np.array([[values.get((a, b), np.nan) for b in columns] for a in rows])
    axes.imshow(np.ma.masked_invalid(table), cmap=theme.scale, vmin=0, vmax=1, aspect="auto")
    axes.grid(False)
    for i, j in np.ndindex(table.shape):
        if np.isfinite(table[i, j]):
            # The scale's high end stands out from the surface, so its figures take the surface's colour.
            colour = theme.surface if table[i, j] > 0.4 else theme.ink
            axes.text(j, i, f"{table[i, j]:.2f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(columns)), [name or "all" for name in columns], rotation=35, ha="right", fontsize=8)
    axes.set_yticks(range(len(rows)), [name or "all" for name in rows], fontsize=8)
    axes.set_xlabel("query condition")
    axes.set_ylabel("database condition")
    axes.set_title("AR@1: who recognises whom", fontsize=10)
