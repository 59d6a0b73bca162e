"""Values of parameters from files and from `name=value`, for the offline commands."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_yaml
from vpr_ros.runtime.parameters.checks import problem
from vpr_ros.runtime.parameters.parameter import Parameter
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS
from vpr_ros.runtime.parameters.values import DRIVE

Command = Literal["localize", "map", "loops"]
COMMANDS: tuple[Command, ...] = get_args(Command)

_DEEPEST = 10  # of sections in a file; a YAML anchor may hold itself
_OF_SLAM = ("loop_min_gap_s", "loop_min_travel_m")
# Two ways to say from when on a place is accepted: one that is typed replaces what the file has of either.
_EXCLUSIVE = ("accept_probability", "accept_precision")
_ROS, _NODE = "ros__parameters", "vpr"
_OF_ANY_NODE = ("use_sim_time", "qos_overrides", "start_type_description_service")  # ROS gives every node these


def used_by(p: Parameter) -> tuple[Command, ...]:
    """The commands for which a parameter of the node vpr has a meaning; none where it is the node's only."""
    if p.name in ("place_radius", "checkpoint", "device", "precision", "threads", "local_features", *DRIVE):
        return COMMANDS
    if p.name == "keep_clouds":  # `loops` keeps what it verifies with
        return ("map",)
    if p.name == "session" or p.target.startswith("gate."):
        return ("map", "loops")
    if p.name in _OF_SLAM:
        return ("loops",)
    if p.name == "verify" or p.target.startswith("recognition."):
        return ("localize", "loops")
    return ()


def parameters_of(command: Command) -> dict[str, Parameter]:
    """The parameters that a command takes, by name."""
    return {p.name: p for p in VPR_PARAMETERS if command in used_by(p)}


def chosen(
    command: Command,
    file: str | Path | None = None,
    assignments: Iterable[str] = (),
    explicit: Mapping[str, tuple[str, Any]] | None = None,
) -> dict[str, Any]:
    """The values given for a command's parameters, by name; those that nobody gave are absent.

    `explicit`, name -> (option, value), are those that have an option of their own. They win over `assignments`
    ("name=value"), and those over the file. Raises VprError for what cannot be read, unknown names, values of another
    type or out of range, and values that do not go together.
    """
    table = parameters_of(command)
    values = {} if file is None else values_of_file(file, command)
    typed = dict(_assigned(text, command) for text in assignments)
    typed |= {name: table[name].checked(value, option) for name, (option, value) in (explicit or {}).items()}
    for name, other in (_EXCLUSIVE, _EXCLUSIVE[::-1]):
        if name in typed:
            values.pop(other, None)
    if typed.get("accept_precision") and "accept_probability" in typed:
        raise VprError(f"{' and '.join(_EXCLUSIVE)} exclude each other: give one of them.")
    values |= typed
    if reason := problem({p.name: p.default for p in table.values()} | values):
        raise VprError(f"{reason}.")
    return values


def values_of_file(path: str | Path, command: Command) -> dict[str, Any]:
    """What a YAML file sets of a command's parameters: a parameter file of the node, or a plain file, flat or nested.

    A nested name is the parameter's own (`decision: {min_margin: 0.1}`) or its field's (`gate: {distance_m: 3}`).
    Parameters of the nodes that the command has no use for, and sections of other nodes, are passed over. Raises
    VprError as `chosen` does.
    """
    path, table = Path(path), parameters_of(command)
    nodes = {p.name for p in (*VPR_PARAMETERS, *RECORDER_PARAMETERS)}
    out: dict[str, Any] = {}
    leaves = list(_leaves(_read(path), (), path))
    if not leaves:
        raise VprError(f"{path} sets nothing for the node {_NODE}: its section is '/**:' or '{_NODE}:'.")
    for keys, value in leaves:
        name = _name(keys)
        if name is None or name not in nodes:
            if not set(keys) & set(_OF_ANY_NODE):
                raise VprError(_unknown(str(path), ".".join(keys), nodes))
            continue
        if name not in table:
            continue
        checked = table[name].checked(value, str(path))
        if out.setdefault(name, checked) != checked:
            raise VprError(f"{path}: {name} is given twice, as {out[name]} and as {checked}: keep one.")
    return out


def _assigned(text: str, command: Command) -> tuple[str, Any]:
    given, equals, value = text.partition("=")
    table, name = parameters_of(command), _name(tuple(given.strip().split(".")))
    if not equals:
        raise VprError(
            f"--set {text}: write NAME=VALUE, as in accept_probability=0.9; `vpr_ros parameters` lists them."
        )
    if name in table:
        return name, table[name].checked(value.strip(), "--set")
    known = {p.name: p for p in VPR_PARAMETERS}
    if name in known:
        others = " and ".join(f"`vpr_ros {other}`" for other in used_by(known[name]))
        whose = others or "the node"
        raise VprError(f"--set: {name} is a parameter of {whose} and does nothing here: leave it out.")
    raise VprError(_unknown("--set", given.strip(), set(table)))


def _unknown(where: str, name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.rpartition(".")[2], sorted(names), 1)
    hint = f"is {near[0]} meant?" if near else "`vpr_ros parameters` lists them."
    return f"{where}: there is no parameter '{name}': {hint}"


def _name(keys: tuple[str, ...]) -> str | None:
    """The parameter that a path of keys names: by its last key, or by the field that the end of the path names."""
    path = ".".join(keys)
    for p in VPR_PARAMETERS:
        if p.target and "." in p.target and (path == p.target or path.endswith(f".{p.target}")):
            return p.name
    return keys[-1] if keys else None


def _leaves(section: object, keys: tuple[str, ...], path: Path) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(section, dict):
        yield keys, section
        return
    entries = cast(dict[Any, Any], section)
    if _ROS in entries and keys and keys[-1].rpartition("/")[2] not in ("*", "**", _NODE):
        return
    if len(keys) > _DEEPEST:
        raise VprError(f"{path}: sections are nested more than {_DEEPEST} deep: this is no file of parameters.")
    for key, value in entries.items():
        if isinstance(value, dict) or value is not None:
            yield from _leaves(cast(object, value), keys if key == _ROS else (*keys, str(key)), path)
        else:
            raise VprError(f"{path}: '{key}' has no value: give it one, or leave the line out.")


def _read(path: Path) -> dict[Any, Any]:
    try:
        data = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VprError(f"the parameters '{path}' cannot be read: {reason}") from None
    if not isinstance(data, dict) or not data:
        raise VprError(f"'{path}' sets nothing: it needs lines `name: value`, or a node's parameter file.")
    return cast(dict[Any, Any], data)
