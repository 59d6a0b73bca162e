"""The curves of a run in one picture: losses by term, learning rate, recalls."""

from pathlib import Path

from vpr_ros.colours import GREEN, ORANGE, PURPLE, RED, Theme
from vpr_ros.evaluation.report.drawing import picture
from vpr_ros.training.common.progress import columns_of

# Columns of the row of epoch 0 that are no curve but a level: the name of the line and its dashes.
LEVELS = {
    "all": ("start", (0, (1, 1))),
    "with_projection": ("start with its projection", (0, (4, 2))),
    "teacher": ("teacher", "-."),
}
FIXED = ("epoch", "seconds", "learning_rate", "batch_recall", *(name for name in LEVELS if name != "all"))
DASHES = ("-", "--", "-.", ":")


def draw_curves(history: list[dict], path: Path) -> None:
    """`history` (a row per epoch, as in `log.csv`) as a PNG: losses on a logarithmic scale, the rate, the recalls.

    Columns before `learning_rate` are losses and columns after it are recalls, except those in `FIXED`. What
    was measured before the first step, epoch 0, is also a horizontal line.
    """
    columns = columns_of(history)
    at = columns.index("learning_rate")
    losses = [name for name in columns[:at] if name not in FIXED]
    recalls = ["batch_recall", *(name for name in columns[at:] if name not in FIXED)]

    def draw(figure, theme: Theme) -> None:
        from matplotlib.ticker import MaxNLocator

        left, middle, right = figure.subplots(1, 3, width_ratios=[1.3, 1, 1])
        _lines(left, theme, history, losses)
        left.set_yscale("symlog", linthresh=1e-4)
        left.set_title("loss and its unweighted terms")
        _lines(middle, theme, history, ["learning_rate"])
        middle.set_title("learning rate")
        middle.set_ylim(bottom=0)
        _lines(right, theme, history, recalls)
        for column, (name, dashes) in LEVELS.items():
            if history[0]["epoch"] == 0 and column in history[0]:
                right.axhline(history[0][column], color=theme.muted, linestyle=dashes, linewidth=1.2, label=name)
        right.legend(fontsize=8)
        right.set_title("Recall@1, batch and validation")
        right.set_ylim(0, 1.03)
        for axes in (left, middle, right):
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))

    path.write_bytes(picture(draw, (14.0, 4.4), "losses, learning rate and recalls by epoch").light)


def _lines(axes, theme: Theme, history: list[dict], names: list[str]) -> None:
    colours = (theme.blue, ORANGE, GREEN, PURPLE, RED, theme.muted)
    for number, name in enumerate(names):
        rows = [row for row in history if name in row]
        from_start = bool(rows) and rows[0]["epoch"] == 0
        dash = DASHES[number // len(colours) % len(DASHES)]
        axes.plot(
            [row["epoch"] for row in rows],
            [row[name] for row in rows],
            dash,
            color=colours[number % len(colours)],
            marker="." if len(rows) < 2 or from_start else "",
            markevery=[0],
            linewidth=1.6,
            label=name,
        )
    if len(names) > 1:
        axes.legend(fontsize=8)
