"""Diagrams of quality: precision and recall, reliability, Recall@N and position error."""

from collections.abc import Mapping

import numpy as np

from vpr_ros.colours import GREEN, ORANGE, Theme
from vpr_ros.evaluation.metrics import PrecisionRecall, Reliability, wilson_interval
from vpr_ros.evaluation.report.drawing import Picture, picture


def pr_plot(curve: PrecisionRecall, operating: tuple[float, float] | None, full: tuple[float, float | None]) -> Picture:
    """Precision against recall; `operating`: (recall, precision) as run; `full`: recall, threshold at precision 1."""

    def draw(figure, theme: Theme) -> None:
        axes = figure.add_subplot()
        recall, precision = (
            np.append(0.0 * curve.recall[:1], curve.recall),
            np.append(curve.precision[:1], curve.precision),
        )
        axes.plot(recall, precision, color=theme.blue, linewidth=2, drawstyle="steps-pre")
        lowest = float(np.nanmin(precision)) if len(precision) and np.isfinite(precision).any() else 0.0
        # A good run is above 0.9; for others the axis extends downwards in steps, so that two reports stay comparable.
        floor = next((f for f in (0.9, 0.5) if lowest >= f + 0.02), 0.0)
        axes.fill_between(recall, floor, precision, step="pre", color=theme.blue, alpha=0.12, linewidth=0)
        if full[1] is not None:
            axes.plot([full[0]] * 2, [floor, 1.0], color=theme.muted, linewidth=1, linestyle=(0, (4, 3)))
            axes.plot(
                full[0],
                1.0,
                "*",
                color=GREEN,
                markersize=13,
                clip_on=False,
                zorder=5,
                label=f"no error yet: recall {full[0]:.3f} (threshold {full[1]:.3f})",
            )
        if operating is not None and np.isfinite(operating).all():
            axes.plot(*operating, "o", color=ORANGE, markersize=8, clip_on=False, zorder=6, label="as run")
        if not len(curve.recall) or np.isnan(curve.recall).any():
            words = "no answer has a probability" if not len(curve.recall) else "no frame lies on the map"
            axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", color=theme.muted)
        axes.set_xlim(0, 1)
        axes.set_ylim(floor, 1 + 0.01 * (1 - floor))
        axes.set_xlabel("recall: right accepted / frames on the map")
        axes.set_ylabel("precision: right / accepted")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower left", frameon=True, facecolor=theme.surface, edgecolor="none", framealpha=0.9)

    return picture(draw, (5.4, 4.4), "Precision-recall curve")


def reliability_plot(bins: Reliability, threshold: float | None = None) -> Picture:
    """Share of right answers against the stated probability, with 95 % intervals; below, how often each was stated.

    `threshold` is that of acceptance.
    """

    def draw(figure, theme: Theme) -> None:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        used = bins.counts > 0
        x, y = bins.mean_probability[used], bins.fraction_correct[used]
        low, high = wilson_interval(y * bins.counts[used], bins.counts[used])
        top.plot([0, 1], [0, 1], color=theme.muted, linewidth=1, linestyle=(0, (4, 3)), label="exactly as stated")
        top.errorbar(
            x,
            y,
            yerr=[np.maximum(y - low, 0), np.maximum(high - y, 0)],
            fmt="o-",
            color=theme.blue,
            markersize=5,
            linewidth=1.6,
            elinewidth=1,
            capsize=2,
            label="observed, with 95 % interval",
        )
        if threshold is not None:
            style = {"color": theme.ink, "linewidth": 1, "linestyle": (0, (1, 2))}
            top.axvline(threshold, label=f"accepted from {threshold:.4g}", **style)
            bottom.axvline(threshold, **style)
        top.set_xlim(0, 1)
        top.set_ylim(0, 1.03)
        top.set_ylabel("share that was right")
        top.legend(loc="best")
        centres = (bins.edges[:-1] + bins.edges[1:]) / 2
        bottom.bar(centres, bins.counts, width=0.9 * np.diff(bins.edges), color=theme.track)
        bottom.set_ylabel("frames")
        bottom.set_xlabel("stated probability of the best place")

    return picture(draw, (5.4, 4.4), "Reliability diagram: stated probability against observed share of right answers")


def recall_plot(recall: Mapping[int, float]) -> Picture:
    """Recall@N of the run: {N: recall}."""

    def draw(figure, theme: Theme) -> None:
        axes = figure.add_subplot()
        ns = sorted(recall)
        shares = [recall[n] for n in ns]
        axes.plot(
            range(len(ns)),
            shares,
            "-",
            marker="o",
            color=theme.blue,
            linewidth=1.8,
            markersize=6,
            clip_on=False,
            label=f"this run ({100 * shares[0]:.1f} % at N = {ns[0]})",
        )
        for x, share in enumerate(shares):
            axes.annotate(
                f"{100 * share:.1f}",
                (x, share),
                (0, -13),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=theme.muted,
            )
        axes.set_xticks(range(len(ns)), [str(n) for n in ns])
        axes.set_xlim(-0.25, len(ns) - 0.75)
        axes.set_ylim(0, 1.04)
        axes.set_xlabel("N: how many retrieved images are looked at")
        axes.set_ylabel("Recall@N")
        axes.legend(loc="lower right")

    return picture(draw, (5.4, 4.4), "Recall at N")


def error_plot(errors_m: np.ndarray) -> Picture:
    """Cumulative share of accepted on-map matches by distance (A,) of the chosen keyframe from the truth."""

    def draw(figure, theme: Theme) -> None:
        axes = figure.add_subplot()
        ordered = np.sort(errors_m[np.isfinite(errors_m)])
        shares = np.linspace(0, 1, len(ordered) + 1)
        axes.step(np.append(0, ordered), shares, where="post", color=theme.blue, linewidth=2)
        if len(ordered) and ordered[-1] > 30:
            axes.set_xscale("symlog", linthresh=10)
            axes.set_xticks([0, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000])
            axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}")
            axes.minorticks_off()
        axes.set_xlim(0, max(float(ordered[-1]) if len(ordered) else 0, 1) * 1.05)
        axes.set_ylim(0, 1.03)
        axes.set_xlabel("distance from the chosen keyframe to the true position [m]")
        axes.set_ylabel("share of accepted matches")

    return picture(draw, (5.4, 4.4), "Cumulative localisation error")
