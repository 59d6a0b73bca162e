"""`--config` and `--set` of `map` and `localize`, and `vpr_ros parameters`, which lists what they take."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from vpr_ros.cli.console import say, table
from vpr_ros.errors import VprError
from vpr_ros.runtime.parameters import documents, reading
from vpr_ros.runtime.parameters.tables import VPR_PARAMETERS

PANEL = "Parameters"
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="YAML of parameters, such as the node's own parameter file.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="One parameter; repeat for several. Wins over --config. `vpr_ros parameters` lists them.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(parameters)


def given(
    ctx: typer.Context,
    command: reading.Command,
    file: Path | None,
    assignments: list[str] | None,
    options: Mapping[str, str],
) -> dict[str, Any]:
    """The parameters that a call gives, by name: by an option of its own, else by --set, else in the file.

    `options`: the parameter that each option of this command sets, by the option's name in `ctx`.
    """
    sources = {option: ctx.get_parameter_source(option) for option in options}
    explicit = {
        name: (f"--{option.replace('_', '-')}", ctx.params[option])
        for option, name in options.items()
        if (source := sources[option]) is not None and source.name == "COMMANDLINE"
    }
    if {"accept_probability", "accept_precision"} <= set(explicit):
        raise VprError(
            "--accept-probability and --precision exclude each other: a precision is reached by the probability that "
            "belongs to it."
        )
    return reading.chosen(command, file, assignments or (), explicit)


def parameters(
    command: Annotated[str | None, typer.Argument(help="Only those of map or of localize.", show_default=False)] = None,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="As a file for --config and for the node.")] = False,
):
    """What `--set` and `--config` take: the node's parameters, with their defaults.

    \b
    Examples:
      vpr_ros parameters localize
      vpr_ros parameters --yaml > mine.yaml
    """
    if command is not None and command not in reading.COMMANDS:
        raise VprError(f"'{command}' takes no parameters: choose {' or '.join(reading.COMMANDS)}.")
    rows = [p for p in VPR_PARAMETERS if command is None or command in reading.used_by(p)]
    if as_yaml:
        typer.echo(documents.yaml(rows), nl=False)
        return
    table(
        "parameters",
        ["name", "default", "allowed", "used by", "meaning"],
        [
            (
                p.name,
                documents.yaml_value(p.default),
                p.allowed,
                ", ".join((*reading.used_by(p), "node")),
                p.description,
            )
            for p in rows
        ],
        unbroken=True,
    )
    say("Give them by --set NAME=VALUE or in a file by --config; an option of the command's own wins over both.")
