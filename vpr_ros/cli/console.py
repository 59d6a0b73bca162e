"""What the commands print: errors, lines, progress bars and tables.

rich is imported inside the functions, which keeps `import vpr_ros.cli` short.
"""

import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 160  # of tables in a log or a pipe
LINE_EVERY_S = 10.0  # without a terminal, a line of progress at most this often


def console() -> "Console":
    """Console on the present stdout (looked up on each call, because tests and pipes replace it)."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else PLAIN_WIDTH
    return Console(file=sys.stdout, highlight=False, soft_wrap=True, width=width)


def say(text: str, style: str | None = None) -> None:
    """One line for the user; rich markup in `text` is not interpreted."""
    console().print(text, style=style, markup=False)


def say_error(text: str) -> None:
    """One red sentence on stderr."""
    from rich.console import Console
    from rich.markup import escape

    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {escape(text)}")


def say_aside(text: str) -> None:
    """One yellow sentence on stderr, which leaves stdout to the answer."""
    from rich.console import Console

    Console(file=sys.stderr, highlight=False, soft_wrap=True).print(text, style="yellow", markup=False)


class Progress:
    """Counts frames: a bar on a terminal, now and then a line in a log or a pipe, with the time that is left.

    Where the total is known only later, or changes, the call says it.
    """

    def __init__(self, label: str, total: int | None = None):
        self.label, self.total, self.done = label, total, 0
        self.started = self.last_line = time.monotonic()
        self.bar = None

    def __enter__(self):
        out = console()
        if out.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self.bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=out,
                transient=True,
            )
            self.bar.start()
            self.task = self.bar.add_task(self.label, total=self.total, rate="")
        return self

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.stop()

    def __call__(self, done: int, total: int | None = None) -> None:
        """`done` frames have been handled in all, of `total`."""
        self.done, self.total = done, total or self.total
        now = time.monotonic()
        per_second = done / max(now - self.started, 1e-9)
        if self.bar is not None:
            self.bar.update(self.task, completed=done, total=self.total, rate=f"{per_second:.1f}/s")
        elif now - self.last_line >= LINE_EVERY_S:
            self.last_line = now
            left = max((self.total or 0) - done, 0) / max(per_second, 1e-9)
            known = f"/{self.total}, {left:.0f} s left" if self.total else ""
            say(f"{self.label}: {done}{known} ({per_second:.1f}/s)")


def track(items: Iterable, label: str, total: int | None = None) -> Iterator:
    """Iterate with progress."""
    with Progress(label, total) as progress:
        for done, item in enumerate(items, 1):
            yield item
            progress(done)


def table(title: str, columns: list[str], rows: Iterable[Iterable], unbroken: bool = False) -> None:
    """Print rows as a table; all columns but the first are aligned right when they hold numbers.

    `unbroken`: the first column holds names to copy, which keep their line on a narrow terminal.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    grid = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        box=SIMPLE_HEAD,
        show_header=any(columns),
    )
    rows = [[value if isinstance(value, str) else _text(value) for value in row] for row in rows]
    for i, name in enumerate(columns):
        numeric = i > 0 and all(_is_number(row[i]) for row in rows)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold", no_wrap=unbroken and i == 0)
    for row in rows:
        grid.add_row(*(escape(value) for value in row))
    console().print(grid)


def _text(value) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return text == "-" or text.replace(".", "", 1).replace(",", "").lstrip("-").rstrip("%").isdigit()
