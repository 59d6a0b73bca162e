"""One parameter of a node."""

from dataclasses import dataclass
from typing import Any

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
