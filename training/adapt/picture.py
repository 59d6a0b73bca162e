"""An adaptation as one picture: along every drive, what was gained and lost on stretches kept out, and examples."""

import numpy as np

from vpr_ros.colours import GREEN, ORANGE, RED, Theme
from vpr_ros.evaluation.report.drawing import picture
from vpr_ros.training.adapt.kept import image_of
from vpr_ros.training.adapt.measure import Asked, Measured

MOST_STRIPS = 12
GAINED_EXAMPLES, LOST_EXAMPLES = 4, 2
STRIP_IN, TILE_IN, HEAD_IN = 0.3, 1.5, 1.3
# outcome: label, colour, shape of the mark
OUTCOMES = (
    ("right before and after", lambda theme: theme.track, "|"),
    ("gained", lambda _theme: GREEN, "^"),
    ("lost", lambda _theme: RED, "X"),
    ("wrong before and after", lambda _theme: ORANGE, "."),
)


def comparison_png(measured: Measured) -> bytes:
    """PNG: for every two drives the queries along the one that asks, by what became of them; below, some queries with
    the frames that the start and the adapted student found."""
    strips = _strips(measured)
    outcomes = np.select(
        [measured.before.right & measured.kept_out.right, measured.kept_out.right, measured.before.right], [0, 1, 2], 3
    )
    shown = np.concatenate([_spread(outcomes == 1, GAINED_EXAMPLES), _spread(outcomes == 2, LOST_EXAMPLES)])
    strip_in = HEAD_IN + STRIP_IN * len(strips)
    size_in = (10.0, strip_in + (3 * TILE_IN if len(shown) else 0.0))

    def draw(figure, theme: Theme) -> None:
        upper, lower = figure.subfigures(2, 1, height_ratios=[strip_in, 3 * TILE_IN]) if len(shown) else (figure, None)
        _draw_strips(upper.subplots(), theme, measured, strips, outcomes)
        upper.legend(loc="outside upper center", ncols=len(OUTCOMES))
        if lower is not None:
            _draw_examples(lower, theme, measured, shown)

    return picture(draw, size_in, "queries on stretches kept out, before and after").light


def _strips(measured: Measured) -> list[tuple[Asked, int]]:
    """Drives that ask another one, with the number of their first query: those with the most queries."""
    counts = [len(one.queries) for one in measured.crossings.asked]
    firsts = np.cumsum([0, *counts])
    most = sorted(np.argsort(-np.array(counts), kind="stable")[:MOST_STRIPS].tolist())
    return [(measured.crossings.asked[number], int(firsts[number])) for number in most]


def _spread(chosen: np.ndarray, at_most: int) -> np.ndarray:
    """Numbers of at most so many of the chosen (Q,) queries, evenly spread over them."""
    numbers = np.flatnonzero(chosen)
    return numbers[np.unique(np.linspace(0, len(numbers) - 1, min(at_most, len(numbers))).round().astype(int))]


def _draw_strips(axes, theme: Theme, measured: Measured, strips: list[tuple[Asked, int]], outcomes: np.ndarray) -> None:
    drives = measured.crossings.samples.drives
    labels: list[str] = []
    for height, (one, first) in enumerate(strips):
        asking = np.flatnonzero(one.true.any(axis=1))
        own = outcomes[first : first + len(asking)]
        for number, (label, colour, shape) in enumerate(OUTCOMES):
            at = asking[own == number]
            axes.scatter(
                at, np.full(len(at), height), s=22, marker=shape, color=colour(theme), label=None if height else label
            )
        labels.append(f"{drives[one.drive[0]]} asks {drives[one.map[0]]}")
    axes.set_yticks(range(len(strips)), labels)
    axes.set_ylim(len(strips) - 0.4, -0.6)
    axes.set_xlabel("frame of the drive that asks")
    axes.grid(visible=False, axis="y")
    whole = measured.rows()[-1]
    axes.set_title(
        f"stretches kept out: {whole.before:.3f} of {whole.queries} queries by the start, {whole.kept_out:.3f} adapted"
    )


def _draw_examples(figure, theme: Theme, measured: Measured, shown: np.ndarray) -> None:
    grid = figure.subplots(3, GAINED_EXAMPLES + LOST_EXAMPLES, squeeze=False)
    samples = measured.crossings.samples
    answers = (None, measured.before, measured.kept_out)
    for row, (axes_of_row, of, name) in enumerate(zip(grid, answers, ("query", "start", "adapted"), strict=True)):
        for column, axes in enumerate(axes_of_row):
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            if column >= len(shown):
                axes.set_visible(False)
                continue
            query = shown[column]
            axes.imshow(image_of(samples, int((measured.crossings.rows if of is None else of.rows)[query])))
            if row == 0:
                axes.set_title("gained" if measured.kept_out.right[query] else "lost", fontsize=9)
            colour = theme.muted if of is None else GREEN if of.right[query] else RED
            for spine in axes.spines.values():
                spine.set(visible=True, color=colour, linewidth=2.5)
        axes_of_row[0].set_ylabel(name)
