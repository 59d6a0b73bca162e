"""Configurations as dataclasses: read from YAML with every fault told by its key."""

import dataclasses
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from vpr_ros.errors import VprError


def read_dataclass(cls, path: str | Path, overrides: dict):
    """A dataclass `cls` from the `key: value` lines of a YAML file, with `overrides` (those not None) on top."""
    try:
        raw = yaml.safe_load(Path(path).read_text()) or {}
    except OSError as error:
        raise VprError(f"cannot read the training configuration {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise VprError(f"{path} is no text: the YAML file of a training is needed") from None
    except yaml.YAMLError as error:
        raise VprError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise VprError(f"{path} must hold `key: value` lines of a training run")
    raw |= {key: value for key, value in overrides.items() if value is not None}
    return build(cls, raw, str(path))


def build(cls, raw: dict, where: str):
    """`cls` with the fields that `raw` names; VprError for unknown keys and values of another type."""
    if not isinstance(raw, dict):
        raise VprError(f"{where} must hold `key: value` lines, not {raw!r}")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(str(key) for key in set(raw) - known)
    if unknown:
        raise VprError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return cls(**{key: _coerce(hints[key], value, f"{where}: {key}") for key, value in raw.items()})


def _coerce(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, types.UnionType):  # a section that may be absent
        return None if value is None else _coerce(typing.get_args(hint)[0], value, where)
    if dataclasses.is_dataclass(hint):
        return build(hint, {} if value is None else value, where)
    if value is None:
        raise VprError(f"{where} has no value: leave the line out for the default")
    of: Any = typing.get_origin(hint) or hint
    kinds = typing.get_args(hint)
    if of is tuple:
        return _several(kinds, value, where)
    if of is dict and kinds and isinstance(value, dict):
        return {str(key): _coerce(kinds[1], each, f"{where}: {key}") for key, each in value.items()}
    if isinstance(value, bool) != (of is bool) or (of is int and isinstance(value, float) and not value.is_integer()):
        raise VprError(f"{where} must be {_said(of)}, not {value!r}")
    make = typing.cast(Callable[[Any], Any], of)
    try:
        # YAML reads 1e-3 as a string; int("0.5") and float("fast") fail here with the key's name.
        return make(value)
    except (TypeError, ValueError):
        raise VprError(f"{where} must be {_said(of)}, not {value!r}") from None


def _several(kinds: tuple, value: Any, where: str) -> tuple:
    """A list in YAML, or a single value for it, as a tuple of any length, (int, ...), or of a fixed one."""
    if not isinstance(value, (str, int, float, list, tuple)):
        raise VprError(f"{where} must be a list, not {value!r}")
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if kinds[-1] is not ... and len(values) != len(kinds):
        raise VprError(f"{where} must be a list of {len(kinds)}, not {value!r}")
    return tuple(_coerce(kinds[0], each, where) for each in values)


def _said(kind: type) -> str:
    return {bool: "true or false", dict: "`key: value` lines"}.get(kind, kind.__name__)
