"""The typer application: all commands are registered here, and errors of users are reported here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import typer

from vpr_ros import __version__
from vpr_ros.cli import (
    adapting,
    bags,
    calibrating,
    converting,
    demo,
    evaluating,
    exporting,
    mapping,
    maps,
    models,
    parameters,
    running,
    sets,
    slam,
    training,
)
from vpr_ros.cli.console import say_error
from vpr_ros.cli.inputs import PlainGroup, prepare
from vpr_ros.cli.outcome.interrupts import exit_code, take_signals
from vpr_ros.errors import VprError
from vpr_ros.idle_threads import let_idle_threads_sleep

# typer hides the class that all its complaints about a call have
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


class SentenceGroup(PlainGroup):
    """Bad input is one red sentence and exit code 2; an interrupt says what is kept and is 128 and its signal (130 for
    Ctrl-C). Neither shows a traceback."""

    def parse_args(self, ctx, args):
        with told_in_a_sentence(ctx):
            return super().parse_args(ctx, args)

    def invoke(self, ctx):
        with told_in_a_sentence(ctx):
            return super().invoke(ctx)


@contextmanager
def told_in_a_sentence(ctx) -> Iterator[None]:
    """Errors that users can mend end the program with a sentence on stderr."""
    try:
        yield
    except VprError as error:
        say_error(str(error))
        raise typer.Exit(2) from None
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # it prints the help
            raise
        called = getattr(error, "ctx", None) or ctx
        said = " ".join(cast(Any, error).format_message().split())
        say_error(f"{said}{'' if said[-1] in '.?' else '.'} See `{called.command_path} --help`.")
        raise typer.Exit(2) from None
    except KeyboardInterrupt as interrupt:
        say_error(f"interrupted: {interrupt}" if str(interrupt) else "interrupted")
        raise typer.Exit(exit_code()) from None
    except BrokenPipeError:  # whoever read our output, such as `head`, has closed the pipe
        raise typer.Exit(0) from None
    except OSError as error:  # of a name that no file can have, a disk that fails, a folder that went away
        where = f"'{error.filename}' cannot be used: " if error.filename else ""
        say_error(str(VprError(f"{where}{error.strerror or error}.")))
        raise typer.Exit(2) from None


app = typer.Typer(
    cls=SentenceGroup,
    no_args_is_help=True,
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


for group in (mapping, running, slam, parameters, evaluating, calibrating, maps, models, bags, demo):
    group.register(app)
for group in (adapting, training, exporting, converting, sets):
    group.register(app)
prepare(app)


def main() -> None:
    """Entry point of the `vpr_ros` script."""
    let_idle_threads_sleep()
    take_signals()
    app()
