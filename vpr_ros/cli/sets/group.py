"""Registration of the commands on training sets."""

import typer

from vpr_ros.cli import options
from vpr_ros.cli.sets.frames import frames
from vpr_ros.cli.sets.pairs import pairs


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(options.reads_bag(frames))
    app.command()(pairs)
