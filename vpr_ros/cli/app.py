"""The typer application: all commands are registered here, and errors of users are reported here."""

import signal

import typer
from typer.core import TyperGroup

from vpr_ros import __version__
from vpr_ros.cli import (
    bags,
    calibrating,
    converting,
    demo,
    evaluating,
    exporting,
    frames,
    maps,
    models,
    parameters,
    running,
    training,
)
from vpr_ros.cli.console import say_error
from vpr_ros.errors import VprError
from vpr_ros.idle_threads import let_idle_threads_sleep


class SentenceGroup(TyperGroup):
    """Bad input is one red sentence and exit code 2, an interrupt is exit code 130; neither shows a traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except VprError as error:
            say_error(str(error))
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            say_error("interrupted")
            raise typer.Exit(130) from None
        except BrokenPipeError:  # whoever read our output, such as `head`, has closed the pipe
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=SentenceGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Visual place recognition: map one drive, recognise its places on the next.

    A first run without any data: [bold]vpr_ros demo[/bold]

    \b
    With two bags of your own:
      vpr_ros doctor first.mcap
      vpr_ros map first.mcap -o town.vpr
      vpr_ros localize second.mcap --map town.vpr -o run
    """,
)


def show_version(wanted: bool):
    """Print the version and exit."""
    if wanted:
        typer.echo(f"vpr_ros {__version__}")
        raise typer.Exit()


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=show_version, is_eager=True, help="Print the version."),
):
    """Options that stand before the command."""


for group in (running, parameters, evaluating, calibrating, maps, models, bags, demo):
    group.register(app)
for group in (training, exporting, converting, frames):
    group.register(app)


def main() -> None:
    """Entry point of the `vpr_ros` script."""
    let_idle_threads_sleep()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` keeps what was saved, as Ctrl-C does
    app()
