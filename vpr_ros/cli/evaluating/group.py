"""The group `vpr_ros eval`; a call without a command gets an error that names the command to use."""

import typer

from vpr_ros.cli.evaluating import drives, folders, run
from vpr_ros.cli.inputs import PlainGroup
from vpr_ros.errors import VprError

HELP = """Measure how good recognition is: of a run, of two image folders, or of drives in several conditions.

\b
Examples:
  vpr_ros eval run OUT --map-bag first.mcap --query-bag second.mcap
  vpr_ros eval folders --database summer --queries winter --truth names
  vpr_ros eval drives runs/validation -o tables
  vpr_ros eval submaps benchmark --images pictures --teacher minkloc++ -c minkloc.pth
"""

# Options from when all kinds of input shared one command, and the command that replaces each.
FORMER_OPTIONS = {
    "--database": "folders --database FOLDER --queries FOLDER",
    "--queries": "folders --database FOLDER --queries FOLDER",
    "--drives": "drives FOLDER ...",
    "--submaps": "submaps FOLDER",
}


class EvalGroup(PlainGroup):
    """A group whose error for a call without a command names the command that the options belong to."""

    def parse_args(self, ctx, args):
        """As in click; raises VprError for arguments that do not begin with a command."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            given = {argument.partition("=")[0] for argument in args}
            command = next((now for option, now in FORMER_OPTIONS.items() if option in given), "run OUT")
            raise VprError(
                f"`vpr_ros eval` needs a command, one of {', '.join(self.commands)}: "
                f"for this call it is `vpr_ros eval {command}`."
            )
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the group to the application."""
    group = typer.Typer(cls=EvalGroup, no_args_is_help=True, help=HELP)
    group.command("run")(run.evaluate_run_folder)
    group.command("folders")(folders.evaluate_image_folders)
    group.command("drives")(drives.evaluate_drives)
    group.command("submaps")(drives.evaluate_submaps)
    app.add_typer(group, name="eval")
