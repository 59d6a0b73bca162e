"""The complete configuration of a student's run, read and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from vpr_ros.student.parts import ReductionConfig
from vpr_ros.training.common.former_keys import STUDENT_KEYS
from vpr_ros.training.common.rules import Rule, require
from vpr_ros.training.common.yaml_config import RunConfig, check_choices, read_dataclass
from vpr_ros.training.student.config.data import AugmentationConfig, DataConfig
from vpr_ros.training.student.config.learning import DistillationConfig, TaskConfig
from vpr_ros.training.student.config.model import ModelConfig
from vpr_ros.training.student.config.optimisation import OptimisationConfig, StudentHardwareConfig

WHAT = "training configuration"


@dataclass(frozen=True)
class ExportConfig:
    """The run's final checkpoint: its projection, and whether it is written at all."""

    projection: Literal["best", "fitted"] = "best"  # best: the start's own where validation gains nothing by another
    projection_dim: int = 512  # of the fitted one
    whiten: float = 0.5  # power of the projection's whitening: 0 plain PCA, 1 equal variance
    global_dim: int = ReductionConfig.global_dim  # of a student's global vector; 0 leaves it
    global_whiten: float = ReductionConfig.global_whiten
    cell_dim: int = ReductionConfig.cell_dim  # of every region alone, by one matrix, before the projection; 0: not
    cell_whiten: float = ReductionConfig.cell_whiten
    keep_worse: bool = False  # write a result that recognises less of the validation set than the start

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            (self.projection_dim >= 2, "projection_dim must be 2 or more"),
            (0 <= self.whiten <= 1, "whiten must lie between 0 (plain PCA) and 1 (equal variance)"),
            (min(self.global_dim, self.cell_dim) >= 0, "global_dim and cell_dim must be 0 or more"),
            (
                0 <= min(self.global_whiten, self.cell_whiten) and max(self.global_whiten, self.cell_whiten) <= 1,
                "global_whiten and cell_whiten must lie between 0 and 1",
            ),
        ]

    @property
    def reduction(self) -> ReductionConfig:
        """The settings of all parts of a descriptor."""
        return ReductionConfig(
            *(self.projection_dim, self.whiten, self.global_dim, self.global_whiten, self.cell_dim, self.cell_whiten)
        )


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Metric learning of a student and, with a `distillation` section, distillation from a teacher.

    The weighted sum of both is minimised: the task's weight times its loss, plus the distillation's terms. A run's
    folder and its checkpoints store the configuration.
    """

    FORMER_KEYS: ClassVar[Mapping[str, str]] = STUDENT_KEYS
    AFTERWARDS: ClassVar[frozenset[str]] = frozenset({"export.keep_worse"})

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    task: TaskConfig = field(default_factory=TaskConfig)
    distillation: DistillationConfig | None = None
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    hardware: StudentHardwareConfig = field(default_factory=StudentHardwareConfig)
    export: ExportConfig = field(default_factory=ExportConfig)

    def rules(self, *, folders: bool = True) -> list[Rule]:
        """The conditions in the order in which they are reported; without `folders`, samples are passed in Python."""
        has_loss = self.task.loss != "none" or self.distillation is not None
        sees_all = self.distillation is not None and self.distillation.teacher_view != "online"
        return [
            *self.data.rules(folders=folders),
            (has_loss, "loss none needs a distillation section: nothing is learnt"),
            (
                sees_all or not self.data.nominated,
                "batches of unlabelled frames need a distillation section with teacher_view cached or frozen: the "
                "teacher says which frames go together",
            ),
            *self.augmentation.rules(),
            *self.optimisation.rules(),
            *self.model.rules(),
            *self.task.rules(),
            *self.hardware.rules(),
            *self.export.rules(),
            *([] if self.distillation is None else self.distillation.rules()),
        ]


def read_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """The run of a YAML file, with `overrides` by path (those not None) on top.

    VprError for unknown keys, wrong types and settings that cannot work.
    """
    return check(read_dataclass(TrainConfig, path, overrides or {}))


def check(config: TrainConfig, *, folders: bool = True) -> TrainConfig:
    """The configuration itself; VprError with the reason where something in it cannot work."""
    check_choices(config, WHAT)
    require(config.rules(folders=folders), WHAT)
    return config
