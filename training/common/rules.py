"""Rules of a configuration's groups, and the hardware settings that all trainings share."""

from collections.abc import Iterable
from dataclasses import dataclass

from vpr_ros.errors import VprError

Rule = tuple[bool, str]  # whether it holds, and the error's reason where it does not


def require(rules: Iterable[Rule], what: str) -> None:
    """VprError with the reason of the first rule that does not hold."""
    for holds, reason in rules:
        if not holds:
            raise VprError(f"{what}: {reason}")


@dataclass(frozen=True)
class HardwareConfig:
    """The hardware of a run."""

    accelerator: str = "auto"  # Lightning's: auto, cpu or gpu
    workers: int = 0  # processes that load samples
    threads: int = 0  # torch threads; 0 keeps torch's default

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [(self.workers >= 0, "workers must be 0 or more"), (self.threads >= 0, "threads must be 0 or more")]
