"""Code on a page of the documentation, and whether the command line takes a command that stands there."""

import re
import shlex

import typer

from vpr_ros.cli.app import app


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def check_arguments(line):
    """Parse the line, running nothing: unknown options and missing arguments raise."""
    command, arguments = typer.main.get_command(app), shlex.split(line)[1:]
    context = command.make_context("vpr_ros", [], resilient_parsing=True)
    while hasattr(command, "get_command"):
        name = arguments.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = typer.Context(command, parent=context, info_name=name)
    command.make_context(context.info_name, arguments)
