"""Settings of a student's optimisation, with validation and checkpoints, and of the hardware."""

from dataclasses import dataclass
from typing import Literal

from vpr_ros.training.common.rules import HardwareConfig, Rule
from vpr_ros.training.student.schedules import Schedule

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


@dataclass(frozen=True)
class OptimisationConfig:
    """The optimiser and its schedule, and which weights are kept."""

    epochs: int = 20
    steps_per_epoch: int = 200  # of `batches: places`; the others go through the whole set
    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05  # adamw: of matrices alone; adam: of everything, as the papers' code
    clip: float = 1.0  # largest norm of the gradient; 0: no limit
    schedule: Schedule = "cosine"
    milestones: tuple[int, ...] = ()  # epochs, of `steps`
    decay: float = 0.1
    warmup_fraction: float = 0.05
    ema_decay: float = 0.0  # exponential moving average of the weights per step; 0 switches it off
    validate_every: int = 4  # epochs
    patience: int = 0  # epochs without a better validation recall after which the run ends; 0: never
    keep: Literal["last", "best"] = "last"  # best: by validation recall
    seed: int = 1
    tensorboard: bool = True  # also log for TensorBoard, where it is installed

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        at_least_0 = {
            "seed": self.seed,
            "patience": self.patience,
            "clip": self.clip,
            "weight_decay": self.weight_decay,
        }
        return [
            (self.epochs >= 1 and self.steps_per_epoch >= 1, "epochs and steps_per_epoch must be 1 or more"),
            (self.learning_rate > 0, "learning_rate must be above 0"),
            *((value >= 0, f"{key} must be 0 or more") for key, value in at_least_0.items()),
            (0 <= self.ema_decay < 1, "ema_decay must lie between 0 and 1, below 1"),
            (0 <= self.warmup_fraction < 1, "warmup_fraction must lie between 0 and 1, below 1"),
            (bool(self.milestones) == (self.schedule == "steps"), "milestones and schedule: steps go together"),
            (self.validate_every >= 1, "validate_every must be 1 or more"),
            (
                not self.patience or self.patience >= self.validate_every,
                "patience must be validate_every or more: a run would end before it is looked at again",
            ),
        ]


@dataclass(frozen=True)
class StudentHardwareConfig(HardwareConfig):
    """The hardware of a run; several devices and machines share a batch."""

    devices: str = ""  # Lightning's: a number, "0,1" or auto; empty: all GPUs, or one process on a CPU
    nodes: int = 1
    strategy: str = "auto"  # Lightning's, e.g. ddp
    sync_batchnorm: bool = False  # batch statistics over all GPUs
    precision: Precision = "32-true"  # descriptors are compared in 32 bits in any case

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [*super().rules(), (self.nodes >= 1, "nodes must be 1 or more")]
