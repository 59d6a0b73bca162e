"""Configurations as dataclasses: read from YAML with every fault told by its key."""

import dataclasses
import types
import typing
from pathlib import Path

import yaml

from vpr_ros.errors import VprError


def read_dataclass(cls, path: str | Path, overrides: dict):
    """A dataclass `cls` from the `key: value` lines of a YAML file, with `overrides` (those not None) on top."""
    try:
        raw = yaml.safe_load(Path(path).read_text()) or {}
    except OSError as error:
        raise VprError(f"cannot read the training configuration {path}: {error.strerror}") from None
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


def _coerce(hint, value, where: str):
    if isinstance(hint, types.UnionType):  # a section that may be absent
        return None if value is None else _coerce(typing.get_args(hint)[0], value, where)
    if dataclasses.is_dataclass(hint):
        return build(hint, {} if value is None else value, where)
    if typing.get_origin(hint) is tuple:
        values = [value] if isinstance(value, (str, int, float)) else list(value)
        return tuple(_coerce(typing.get_args(hint)[0], v, where) for v in values)
    if hint is bool and not isinstance(value, bool):
        raise VprError(f"{where} must be true or false, not {value!r}")
    try:
        # YAML reads 1e-3 as a string; int("0.5") and float("fast") fail here with the key's name.
        return hint(value)
    except (TypeError, ValueError):
        raise VprError(f"{where} must be {hint.__name__}, not {value!r}") from None
