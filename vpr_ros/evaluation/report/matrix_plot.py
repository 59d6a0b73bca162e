"""Every query against every keyframe: how similar they are, what was accepted, and what is true."""

import numpy as np

from vpr_ros.colours import Theme
from vpr_ros.evaluation.report.drawing import MARKS, Dots, Mark, Picture, picture
from vpr_ros.evaluation.report.inputs import ReportInput
from vpr_ros.evaluation.report.plots import WIDE_IN, legend_below, scatter
from vpr_ros.evaluation.similarities import SimilarityMatrix

SHADES = 16  # few colours make a small file
MARKED_QUERIES = 1500  # whose true pairs are drawn; more cannot be distinguished


def matrix_plot(
    matched_row: np.ndarray,
    kinds: np.ndarray,
    truth_pairs: np.ndarray,
    keyframes: int,
    matrix: SimilarityMatrix | None = None,
    marks: dict[str, Mark] = MARKS,
) -> Picture:
    """Query number against the number of its best keyframe in the map (Q,), NaN = no answer; `kinds` (Q,) of `marks`.

    truth_pairs (P, 2): query and keyframe numbers that belong together. `matrix` is the background where there is one.
    """

    def draw(figure, theme: Theme) -> list[Dots]:
        axes = figure.add_subplot()
        if matrix is not None:
            _background(figure, axes, theme, matrix, len(matched_row))
        if len(truth_pairs):
            thinned = truth_pairs[truth_pairs[:, 0] % -(-max(len(matched_row), 1) // MARKED_QUERIES) == 0]
            colour, alpha = (theme.track, 1.0) if matrix is None else (theme.blue, 0.45)
            axes.scatter(
                *thinned.T, s=9, marker="s", color=colour, alpha=alpha, linewidths=0, zorder=3, label="true place"
            )
        scatter(axes, theme, np.arange(len(matched_row), dtype=float), matched_row, kinds, marks)
        axes.set_xlabel("number of the query image")
        axes.set_ylabel("number of the matched image in the map")
        axes.set_xlim(-0.02 * len(matched_row) - 1, 1.02 * len(matched_row) + 1)
        axes.set_ylim(-0.02 * keyframes - 1, 1.02 * keyframes + 1)
        if axes.get_legend_handles_labels()[0]:
            legend_below(axes)
        return [Dots(axes, "frame", "keyframe")]

    words = "with the similarity of each pair, " if matrix is not None else ""
    return picture(draw, (WIDE_IN, 7.4), f"Query number against keyframe number, {words}best answers and true places")


def shades(report: ReportInput) -> str:
    """What the background of the drawing means, for its caption; empty where it has none."""
    if report.similarities is None:
        return ""
    text = " The darker (on a dark page the lighter) a point of the background, the more similar the two pictures"
    if report.similarities.step > 1 or len(report.similarities.frames) < len(report.records):
        text += "; it shows an even sample of the frames, and of neighbouring keyframes the most similar one"
    return text + "."


def _background(figure, axes, theme: Theme, matrix: SimilarityMatrix, queries: int) -> None:
    """Similarities as shades of grey; a row of the matrix reaches to the next frame that has one."""
    import matplotlib.colors

    values = matrix.values.astype(np.float32)
    low, high = np.nanpercentile(values, [2, 99.8]) if values.size else (0.0, 1.0)
    edges_x = np.append(matrix.frames, queries) - 0.5
    edges_y = np.append(np.arange(values.shape[1]) * matrix.step, matrix.keyframes) - 0.5
    # The scale ends in the colour of small print: the marks have to stand out from all of it.
    colours = matplotlib.colors.LinearSegmentedColormap.from_list("", [theme.surface, theme.muted], SHADES)
    mesh = axes.pcolormesh(
        edges_x, edges_y, values.T, cmap=colours, vmin=low, vmax=max(high, low + 1e-6), zorder=1, rasterized=True
    )
    axes.grid(False)
    figure.colorbar(mesh, ax=axes, label="similarity of the pair", shrink=0.8, pad=0.02)
