"""What a call names is looked at before its command begins, so that a typo costs no import of PyTorch.

This is the one place for all commands. A parameter's kind is the word that the help shows for its value: a path that is
read has to be there, whatever it is called, unless its kind is OUT; a word with bars (`mcap|sqlite3`) lists the values
that are allowed; numbers are finite. Files are opened here only as far as a wrong one is told from a right one.
"""

import difflib
import math
import os
import re
import stat
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from vpr_ros.errors import VprError
from vpr_ros.runtime.parameters.parameter import LARGE

Kind = Literal[
    "BAG", "DRIVE", "MAP", "FILE", "FOLDER", "PATH", "OUT", "CHECKPOINT", "DEVICE", "NUMBER", "COUNT", "TEXT", "DATE"
]

LARGEST_COUNT = 2**32 - 1  # seeds may be this large
DEVICE = r"auto|(cpu|cuda|mps|xpu)(:\d{1,3})?"
_OF_TYPE: dict[type, Kind] = {Path: "PATH", float: "NUMBER", int: "COUNT", str: "TEXT", datetime: "DATE"}
# By the names of parameters, wherever they occur; a declaration with a `metavar` of its own wins.
_PATHS: dict[Kind, tuple[str, ...]] = {
    "BAG": ("bag", "bags", "bag1", "bag2", "drive", "map_bag", "query_bag"),
    "DRIVE": ("drives",),
    "MAP": ("map_file", "maps"),
    "FILE": ("config", "config_file", "only_stamps", "options_file", "rtk", "teacher", "trajectory"),
    "FOLDER": (
        *("data", "database", "folder", "folders", "images", "models", "out", "pca_from", "queries", "surfaces"),
        *("traversals", "validation"),
    ),
    "OUT": ("output", "pictures"),
}
_WORDS: dict[Kind, tuple[str, ...]] = {"CHECKPOINT": ("checkpoint", "source", "start"), "DEVICE": ("device",)}
_OF_NAME: dict[tuple[Kind, str], Kind] = {("PATH", name): kind for kind, names in _PATHS.items() for name in names}
_OF_NAME |= {("TEXT", name): kind for kind, names in _WORDS.items() for name in names}


def prepare(app: typer.Typer) -> None:
    """Every command of an application, and of its groups, looks at its input first and says the kinds in its help."""
    for command in app.registered_commands:
        command.cls = LookingCommand
        assert command.callback is not None
        for name, hint in get_type_hints(command.callback, include_extras=True).items():
            if get_origin(hint) is Annotated and (kind := _kind_of(name, get_args(hint)[0])) is not None:
                info = get_args(hint)[1]
                info.metavar = info.metavar or kind
                if "|" in info.metavar:
                    info.autocompletion = _completion(info.metavar)
    for group in app.registered_groups:
        assert group.typer_instance is not None
        if not isinstance(group.typer_instance.info.cls, type):
            group.typer_instance.info.cls = PlainGroup
        prepare(group.typer_instance)


def _completion(kind: str) -> Callable[[str], list[str]]:
    def choices(incomplete: str) -> list[str]:
        return [choice for choice in kind.split("|") if choice.startswith(incomplete)]

    return choices


def _kind_of(name: str, hint: Any) -> Kind | None:
    """The kind of a parameter whose declaration names none; None for a switch and the like."""
    inner = [hint]
    while len(inner) == 1 and get_origin(inner[0]) is not None:  # list[Path], Path | None
        inner = [one for one in get_args(inner[0]) if one is not type(None)]
    kind = _OF_TYPE.get(inner[0]) if len(inner) == 1 else None
    return None if kind is None else _OF_NAME.get((kind, name), kind)


class PlainHelp:
    """Help that shows the kind of a value, and not the type that Python has for it."""

    def get_params(self, ctx: Any) -> list[Any]:
        found = super().get_params(ctx)  # type: ignore[misc]  # of the command or group beside it
        for parameter in found:
            if hasattr(parameter, "display_type"):
                parameter.display_type = lambda ctx: ""
        return found


class PlainGroup(PlainHelp, TyperGroup):
    """A group of commands."""


class LookingCommand(PlainHelp, TyperCommand):
    """A command whose arguments and options are looked at before it begins; VprError for one that cannot be right."""

    def invoke(self, ctx: Any) -> Any:
        for parameter in self.params:
            value = ctx.params.get(parameter.name)
            name = "" if parameter.param_type_name == "argument" else max(parameter.opts, key=len)
            for one in value if isinstance(value, (list, tuple)) else [value]:
                if one is not None and parameter.metavar is not None:
                    look_at(one, parameter.metavar, name)
        return super().invoke(ctx)


def look_at(value: Any, kind: str, name: str = "") -> None:
    """VprError, one sentence, for a value that cannot be one of its kind; `name`: the option that it was given by."""
    if isinstance(value, (int, float)):
        most = LARGEST_COUNT if isinstance(value, int) else LARGE
        if not math.isfinite(value) or abs(value) > most:
            raise VprError(f"{name or kind.lower()} cannot be {value}: give a number of at most {most:g}.")
    elif "|" in kind:
        choices = kind.split("|")
        if value not in choices:
            said = ", ".join(choices[:-1]) + f" or {choices[-1]}"
            raise VprError(f"{name or 'the argument'} is '{value}': choose {said}.")
    elif kind in _LOOKS:
        _LOOKS[kind](value, f" ({name})" if name else "")


def _device(text: str, said: str) -> None:
    if not re.fullmatch(DEVICE, text):
        raise VprError(f"'{text}'{said} is not a device: use auto, cpu or cuda.")


def _checkpoint(source: str | Path, said: str) -> None:
    from vpr_ros.student.catalogue.names import TIMM, resolve

    text = str(source)
    if text.startswith(TIMM):
        return
    path = Path(text).expanduser()
    if path.exists() or path.suffix or len(path.parts) > 1:
        _readable(path, "file", said)
    else:
        resolve(text)


def _path(path: Path, said: str) -> None:
    _readable(path, "input", said)


def _bag(path: Path, said: str) -> None:
    from vpr_ros.sensors.bags.kinds import kind_of

    _readable(path, "bag", said)
    if kind_of(path) == "other":
        from vpr_ros.sensors import Bag

        Bag(path).close()  # it says what is wrong


def _drive(path: Path, said: str) -> None:
    """A bag, or a training set, whose package would load OpenCV and scipy for a look at a name."""
    if not (path / "meta.json").is_file():
        _bag(path, said)


def _map(path: Path, said: str) -> None:
    _file(path, said, "map")
    if path.stat().st_size and path.open("rb").read(15) == b"SQLite format 3":
        return
    from vpr_ros.place_map import PlaceMap

    PlaceMap.open(path).close()  # it says what is wrong


def _file(path: Path, said: str, what: str = "file") -> None:
    if stat.S_ISDIR(_readable(path, what, said, fifo=what == "file")):
        raise VprError(f"{what} '{path}'{said} is a folder: name a file.")


def _folder(path: Path, said: str) -> None:
    if not stat.S_ISDIR(_readable(path, "folder", said)):
        raise VprError(f"'{path}'{said} is not a folder.")


def _out(path: Path, said: str) -> None:
    """Of what is written only the folder that it would lie in, or the nearest one that exists."""
    above = next((parent for parent in path.absolute().parents if os.path.lexists(parent)), Path("/"))
    if not above.is_dir():
        raise VprError(f"cannot write '{path}'{said}: '{above}' is not a folder.")
    if not os.access(above, os.W_OK | os.X_OK):
        raise VprError(f"cannot write '{path}'{said}: the folder '{above}' may not be written by this user.")


def _readable(path: Path, what: str, said: str, fifo: bool = False) -> int:
    """The file mode of a path that is there, may be read, and is a file or a folder; `fifo`: or a pipe."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise VprError(f"{what} '{path}'{said} does not exist{_meant(path)}") from None
    except OSError as error:
        raise VprError(f"{what} '{path}'{said} cannot be read: {error.strerror or error}.") from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or (fifo and stat.S_ISFIFO(mode))):
        raise VprError(f"'{path}'{said} is a {'pipe' if stat.S_ISFIFO(mode) else 'device'}, no {what}.")
    if not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
        raise VprError(f"{what} '{path}'{said} may not be read by this user: check its rights.")
    return mode


def _meant(path: Path) -> str:
    """A hint at the name beside a missing path that is most like it."""
    try:
        beside: Iterable[str] = [one.name for one in islice(path.absolute().parent.iterdir(), 10_000)]
    except OSError:
        beside = []
    near = difflib.get_close_matches(path.name, beside, 1, 0.75)
    return f": is '{path.with_name(near[0])}' meant?" if near else "."


_LOOKS: dict[str, Callable[[Any, str], None]] = {
    "BAG": _bag,
    "DRIVE": _drive,
    "PATH": _path,
    "MAP": _map,
    "FILE": _file,
    "FOLDER": _folder,
    "OUT": _out,
    "CHECKPOINT": _checkpoint,
    "DEVICE": _device,
}
