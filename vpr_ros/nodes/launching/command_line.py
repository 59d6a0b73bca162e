"""What `ros2 launch` was told, and how its refusals read."""

import difflib
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vpr_ros.errors import VprError
from vpr_ros.nodes.launching.arguments import NodeLaunch, argument_names, unknown_argument

_ALIKE = 0.8  # of a parent launch file's arguments only those are named that all but are one of ours


class _PlainRefusals(logging.Filter):
    """A VprError is a sentence for the user: launch would call it an exception, and point to a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = sys.exc_info()[1]
        if isinstance(error, VprError) and record.levelno == logging.ERROR:
            record.msg, record.args = str(error), ()
        return True


_plain_refusals = _PlainRefusals()


def refuse_plainly() -> None:
    """From now on launch logs a VprError, which ends it with exit code 1, as its sentence alone."""
    from launch.logging import get_logger

    get_logger("launch").addFilter(_plain_refusals)  # no effect when it is there already


def check_arguments(context: Any, node: NodeLaunch, parameters: Iterable[str]) -> list[str]:
    """Refuses arguments that the running launch file does not have (VprError, which suggests the nearest).

    What was typed on the command line is known to be meant for it only where it is the file that was named there. In a
    launch file that includes it the configurations of both are mixed: of those the list has a sentence for each that
    looks like a slip of the pen.
    """
    path = Path(getattr(context.locals, "current_launch_file_path", ""))
    if _named(path, sys.argv[1:]):
        for argument in context.argv:
            name = argument.partition(":=")[0]
            if sentence := unknown_argument(name, path.name, node, parameters):
                raise VprError(sentence)
        return []
    names = argument_names(node)
    near = {
        name: difflib.get_close_matches(name, names, 1, _ALIKE)
        for name in context.launch_configurations
        if name not in names and not name.startswith("ros_")  # launch_ros keeps ros_namespace and others there
    }
    return [f"{path.name} has no argument '{name}': is {like[0]} meant?" for name, like in near.items() if like]


def _named(launch_file: Path, words: list[str]) -> bool:
    """Whether a command line names this launch file, by its path or as a file of vpr_ros."""
    for before, word in zip(["", *words], words, strict=False):
        if Path(word).name == launch_file.name:
            if before == "vpr_ros" or Path(word).exists() and Path(word).samefile(launch_file):
                return True
    return False
