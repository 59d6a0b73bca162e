"""Settings of the network that is trained."""

from dataclasses import dataclass, field

from vpr_ros.training.common.rules import Rule
from vpr_ros.training.student.freezing import BatchNorm, TrainedParts


@dataclass(frozen=True)
class ModelConfig:
    """Which student, its initial weights, and which of them are trained."""

    student: str = "nano"  # a name of vpr_ros.student.CONFIGS, or an image network of training.teachers.TEACHERS
    options: dict = field(default_factory=dict)  # fields of that configuration to change
    start: str = ""  # weights to start from: a runtime checkpoint or a published file; empty: random ones
    trained: TrainedParts = "all"  # d2vpr-stage2: METHODS section 1.8; heads: not the backbone; offsets: these alone
    trained_blocks: int = 0  # last blocks, or stages of a trunk, that are trained besides the heads
    batch_norm: BatchNorm = "moving"  # frozen: statistics of frozen parts are not updated

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            (self.trained_blocks >= 0, "trained_blocks must be 0 or more"),
            (
                self.batch_norm == "moving" or self.trained != "all",
                "batch_norm frozen is for frozen parts, and trained: all freezes none",
            ),
        ]
