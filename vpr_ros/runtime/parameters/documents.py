"""A table of parameters as documentation and as a parameter file."""

import textwrap
from collections.abc import Iterable
from typing import Any

from vpr_ros.runtime.parameters.parameter import Parameter


def markdown(table: Iterable[Parameter]) -> str:
    """A table for the documentation."""
    rows = ["| parameter | type | default | allowed | effect | meaning |", "|---|---|---|---|---|---|"]
    for p in table:
        rows.append(
            f"| `{p.name}` | {p.type_name} | `{yaml_value(p.default)}` | {p.allowed} | {p.when} | {p.description} |"
        )
    return "\n".join(rows) + "\n"


def yaml(table: Iterable[Parameter]) -> str:
    """A parameter file that sets every parameter to its default, for any node name and namespace."""
    lines = ["/**:", "  ros__parameters:"]
    for p in table:
        comment = f"{p.description} ({p.allowed})" if p.allowed else p.description
        lines += textwrap.wrap(comment, 118, initial_indent="    # ", subsequent_indent="    # ")
        lines.append(f"    {p.name}: {yaml_value(p.default)}")
    return "\n".join(lines) + "\n"


def yaml_value(value: Any) -> str:
    """A value as it is written in a parameter file."""
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else repr(value)
