"""Configurations as dataclasses of groups: read from YAML and changed by path; every error names its key."""

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_yaml
from vpr_ros.training.common.former_keys import advice, regrouped

Config = TypeVar("Config")


class RunConfig:
    """Base of a run's configuration: a frozen dataclass whose fields are groups of settings.

    A setting is addressed by its path, e.g. `optimisation.epochs`. `FORMER_KEYS` maps the keys of files without groups
    to their paths, and `AFTERWARDS` names the settings of what becomes of the weights after the training.
    """

    FORMER_KEYS: ClassVar[Mapping[str, str]] = {}
    AFTERWARDS: ClassVar[frozenset[str]] = frozenset()


def read_dataclass(cls: type[Config], path: str | Path, overrides: Mapping[str, Any]) -> Config:
    """A `RunConfig` from a YAML file, with `overrides` by path (those not None) on top."""
    try:
        raw = parse_yaml(Path(path).read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise VprError(f"cannot read the training configuration {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VprError(f"{path} is no text: the YAML file of a training is needed") from None
    except ValueError as error:
        raise VprError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise VprError(f"{path} must hold `key: value` lines of a training run")
    return with_settings(build(cls, raw, str(path)), overrides, str(path))


def read_stored(cls: type[Config], raw: Any, where: str) -> Config:
    """A `RunConfig` from the JSON of a run's folder; settings that it lacks have their defaults."""
    former = getattr(cls, "FORMER_KEYS", {})
    return build(cls, regrouped(raw, former) if isinstance(raw, dict) else raw, where)


def build(cls: type[Config], raw: Any, where: str) -> Config:
    """`cls` with the fields that `raw` names; VprError for unknown keys and values of another type."""
    if not isinstance(raw, dict):
        raise VprError(f"{where} must hold `key: value` lines, not {raw!r}")
    hints = _hints(cls)
    unknown = sorted(str(key) for key in set(raw) - set(hints))
    if unknown and issubclass(cls, RunConfig) and (found := advice(raw, cls.FORMER_KEYS)):
        raise VprError(f"{where}: {found}")
    if unknown:
        raise VprError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(hints))}")
    return cls(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in raw.items()})


def with_settings(config: Config, settings: Mapping[str, Any], where: str = "training configuration") -> Config:
    """The configuration with settings by path (those not None) changed, e.g. `{"optimisation.epochs": 3}`."""
    for path, value in settings.items():
        if value is not None:
            config = _with_setting(config, path, value, where)
    return config


def _with_setting(config: Any, path: str, value: Any, where: str) -> Any:
    key, _, rest = path.partition(".")
    hints = _hints(type(config))
    if key not in hints:
        raise VprError(f"{where}: unknown key {key}; known are {', '.join(sorted(hints))}")
    if rest:
        changed = _with_setting(getattr(config, key), rest, value, f"{where}: {key}")
    elif dataclasses.is_dataclass(value):
        changed = value
    else:
        changed = _convert(hints[key], value, f"{where}: {key}")
    return dataclasses.replace(config, **{key: changed})


def check_choices(config: Any, where: str) -> None:
    """VprError for a value, also in a nested group, that is not among the choices of its `Literal`."""
    for key, hint in _hints(type(config)).items():
        value = getattr(config, key)
        if dataclasses.is_dataclass(value):
            check_choices(value, f"{where}: {key}")
        elif typing.get_origin(hint) is Literal:
            _check_choice(hint, value, f"{where}: {key}")


def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _check_choice(hint: Any, value: Any, where: str) -> Any:
    choices = typing.get_args(hint)
    if value not in choices:
        names = ", ".join(choice for choice in choices if choice) + (" or nothing" if "" in choices else "")
        raise VprError(f"{where} is {value!r}; choose {names}")
    return value


def _convert(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):  # a section that may be absent
        return None if value is None else _convert(typing.get_args(hint)[0], value, where)
    if dataclasses.is_dataclass(hint):
        return build(hint, {} if value is None else value, where)  # type: ignore[arg-type]
    if value is None:
        raise VprError(f"{where} has no value: leave the line out for the default")
    of: Any = typing.get_origin(hint) or hint
    kinds = typing.get_args(hint)
    if of is Literal:
        return _check_choice(hint, value, where)
    if of is tuple:
        return _convert_list(kinds, value, where)
    if of is dict and kinds and isinstance(value, dict):
        return {str(key): _convert(kinds[1], each, f"{where}: {key}") for key, each in value.items()}
    if isinstance(value, bool) != (of is bool) or (of is int and isinstance(value, float) and not value.is_integer()):
        raise VprError(f"{where} must be {_type_name(of)}, not {value!r}")
    make = typing.cast(Callable[[Any], Any], of)
    try:
        # YAML reads 1e-3 as a string; int("0.5") and float("fast") fail here with the key's name.
        return make(value)
    except (TypeError, ValueError):
        raise VprError(f"{where} must be {_type_name(of)}, not {value!r}") from None


def _convert_list(kinds: tuple, value: Any, where: str) -> tuple:
    """A list in YAML, or a single value for it, as a tuple of any length, (int, ...), or of a fixed one."""
    if not isinstance(value, (str, int, float, list, tuple)):
        raise VprError(f"{where} must be a list, not {value!r}")
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if kinds[-1] is not ... and len(values) != len(kinds):
        raise VprError(f"{where} must be a list of {len(kinds)}, not {value!r}")
    return tuple(_convert(kinds[0], each, where) for each in values)


def _type_name(kind: type) -> str:
    return {bool: "true or false", dict: "`key: value` lines"}.get(kind, kind.__name__)
