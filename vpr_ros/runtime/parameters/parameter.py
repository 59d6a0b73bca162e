"""One parameter, of a node and of the offline commands alike."""

import math
from dataclasses import dataclass
from typing import Any, cast

from vpr_ros.errors import VprError

LARGE = 1e9  # the upper end of a range that has none


@dataclass(frozen=True)
class Parameter:
    """One parameter; its type is that of its default."""

    name: str
    default: Any
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    read_only: bool = False  # fixed at start
    dynamic: bool = False  # takes effect at once; all others take effect at the next configure
    target: str = ""  # the field that it sets, as a path from PipelineConfig; empty: none of its fields
    none: Any = None  # the value that stands for None in that field

    @property
    def type_name(self) -> str:
        """The type as ROS tools spell it."""
        return {bool: "bool", int: "integer", float: "double", str: "string"}[type(self.default)]

    @property
    def when(self) -> str:
        """When a change takes effect."""
        return "at start only" if self.read_only else "at once" if self.dynamic else "at the next configure"

    @property
    def allowed(self) -> str:
        """The values that are accepted, in words; empty where anything of the type is."""
        if self.choices:
            return ", ".join(self.choices)
        if self.minimum is None and self.maximum is None:
            return ""
        low = "" if self.minimum is None else f"{self.minimum:g}"
        return f"{low} to {self.maximum:g}" if self.maximum is not None else f"at least {low}"

    def field_value(self, value: Any) -> Any:
        """What the field `target` gets for a value of the parameter."""
        return None if self.none is not None and value == self.none else value

    def checked(self, value: Any, where: str) -> Any:
        """A value of a file or an option, of the parameter's type and within its range.

        Text is read as the parameter's type, since that is how options come and how YAML gives 1e-3. Raises VprError
        that begins with `where` and names the parameter, the value and what is allowed.
        """
        kind = cast(type[object], type(self.default))
        result: Any = _read(value, kind) if isinstance(value, str) and kind is not str else value
        if kind is float and isinstance(result, int) and not isinstance(result, bool) and abs(result) <= LARGE:
            result = float(result)
        if str(value) in self.choices:  # YAML reads 90 as a number
            result = str(value)
        allowed = f", {self.allowed}" if self.allowed else ""
        if type(result) is not kind:
            raise VprError(
                f"{where}: {self.name} cannot be {value!r}: its type is {self.type_name}{allowed}, as in "
                f"{self.name}={str(self.default).lower() if kind is bool else self.default}."
            )
        if self.choices and result not in self.choices:
            raise VprError(f"{where}: {self.name} cannot be {result!r}: it is one of {self.allowed}.")
        if isinstance(result, (int, float)) and kind is not bool:
            low = -math.inf if self.minimum is None else self.minimum
            high = LARGE if self.maximum is None else self.maximum
            if not low <= result <= high:
                raise VprError(f"{where}: {self.name} cannot be {result!r}: it is {self.allowed or 'a finite number'}.")
        return result


def _read(text: str, kind: type[Any]) -> Any:
    """Text as a bool, an int or a float; the text itself where it is none."""
    if kind is bool:
        return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(
            text.strip().lower(), text
        )
    try:
        return kind(text)
    except ValueError:
        return text
