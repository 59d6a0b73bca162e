"""The configuration of a teacher's training run: groups of settings, each with its rules, read from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from vpr_ros.errors import VprError
from vpr_ros.training.common.former_keys import TEACHER_KEYS
from vpr_ros.training.common.rules import HardwareConfig, Rule, require
from vpr_ros.training.common.yaml_config import RunConfig, check_choices, read_dataclass
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.teacher.branches import Branch
from vpr_ros.training.teachers import TEACHERS

WHAT = "teacher training configuration"


@dataclass(frozen=True)
class TeacherModelConfig:
    """Which teacher, and its initial weights."""

    teacher: str = "minkloc++"  # a name of training.teachers.TEACHERS
    options: dict = field(default_factory=dict)  # of that teacher: planes, image_size, voxel_size ...
    init: Literal["", "he"] = ""  # he: He's rule for dense convolutions, which AdaFusion needs (see `initialise_he`)
    branch: Branch = ""  # AdaFusion only: train and rank by the pooled map of its image or its cloud branch alone
    sparse: str = "auto"  # backend of sparse convolutions

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            (self.teacher in TEACHERS, f"there is no teacher {self.teacher!r}; choose one of {', '.join(TEACHERS)}"),
            (
                self.teacher not in TEACHERS or TEACHERS[self.teacher].trained,
                f"{self.teacher} has no weights: there is nothing to train, use it as it is",
            ),
            (not self.branch or self.teacher == "adafusion", "only adafusion has a branch: others have names for it"),
        ]


@dataclass(frozen=True)
class TeacherDataConfig:
    """The sets, and batches of pairs that grow as fewer triplets are active."""

    train: tuple[str, ...] = ()  # training-set folders
    validation: tuple[str, ...] = ()  # folders of other cities: reported, and for `keep: best`; never test cities
    validation_radius_m: float = 25.0
    positive_m: float = 10.0
    non_negative_m: float = 50.0
    areas_per_batch: int = 0  # areas that a batch is drawn from; 0: all
    batch_size: int = 8  # at the start
    batch_limit: int = 160
    batch_growth: float = 1.4
    batch_threshold: float = 0.7  # share of active triplets of the best head below which the batch grows
    cache: bool = False  # keep the samples in memory

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            (self.non_negative_m > self.positive_m, "non_negative_m must exceed positive_m: no pair can be both"),
            (4 <= self.batch_size <= self.batch_limit, "batch_size must be 4 (two pairs) to batch_limit"),
            (self.batch_growth >= 1, "batch_growth must be 1 or more: batches never shrink"),
            (
                not set(self.train) & set(self.validation),
                "a folder is in train and in validation: validate on other cities",
            ),
        ]


@dataclass(frozen=True)
class TeacherAugmentationConfig:
    """How clouds and images vary; lengths of clouds are in the unit of the training set."""

    clouds: CloudAugmentConfig = field(default_factory=CloudAugmentConfig)
    images: ImageAugmentConfig = field(default_factory=ImageAugmentConfig)
    shrink_first: bool = False  # augment images at the network's size instead of their own: cheaper


@dataclass(frozen=True)
class TeacherTaskConfig:
    """The loss of the heads."""

    loss: Literal["triplet", "pairwise", "contrastive"] = "triplet"  # pairwise: AdaFusion's; all on raw distances
    warmup_epochs: int = 0  # first epochs with the contrastive loss: hard triplets can collapse from random weights
    margin: float = 0.2  # of the triplets
    boundary: float = 25.0  # of the pairwise loss: L1 distance between positives and negatives
    pair_margin: float = 1.0
    head_weights: dict[str, float] = field(default_factory=lambda: {"final": 0.5, "cloud": 0.5, "image": 0.0})

    @property
    def measure(self) -> Literal["l1", "euclidean"]:
        """How embeddings of this training are compared: a name of `vpr_ros.evaluation.ranking.MEASURES`."""
        return "l1" if self.loss == "pairwise" else "euclidean"

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [(any(_positive(w) for w in self.head_weights.values()), "head_weights: at least one must be above 0")]


@dataclass(frozen=True)
class TeacherOptimisationConfig:
    """Adam with two learning rates that decay at milestones."""

    epochs: int = 60
    milestones: tuple[int, ...] = (40,)  # epochs after which both learning rates decay
    decay: float = 0.1
    learning_rate: float = 1e-3
    image_learning_rate: float = 1e-4  # of the image branch
    weight_decay: float = 1e-4
    amsgrad: bool = False
    validate_every: int = 5  # epochs
    keep: Literal["last", "best"] = "last"  # best: by validation AR@1
    seed: int = 1

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            (self.epochs >= 1, "epochs must be 1 or more"),
            (self.validate_every >= 1, "validate_every must be 1 or more"),
        ]


@dataclass(frozen=True)
class TeacherConfig(RunConfig):
    """Defaults are MinkLoc++'s (METHODS section 4.4)."""

    FORMER_KEYS: ClassVar[Mapping[str, str]] = TEACHER_KEYS

    model: TeacherModelConfig = field(default_factory=TeacherModelConfig)
    data: TeacherDataConfig = field(default_factory=TeacherDataConfig)
    augmentation: TeacherAugmentationConfig = field(default_factory=TeacherAugmentationConfig)
    task: TeacherTaskConfig = field(default_factory=TeacherTaskConfig)
    optimisation: TeacherOptimisationConfig = field(default_factory=TeacherOptimisationConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            *self.model.rules(),
            *self.optimisation.rules(),
            (
                0 <= self.task.warmup_epochs < self.optimisation.epochs,
                "warmup_epochs must leave at least one epoch for the loss",
            ),
            *self.data.rules(),
            *self.task.rules(),
            *self.hardware.rules(),
        ]


def read_teacher_config(path: str | Path, overrides: Mapping[str, Any] | None = None) -> TeacherConfig:
    """The run of a YAML file, with `overrides` by path (those not None) on top.

    VprError for unknown keys, wrong types and settings that cannot work.
    """
    return check(read_dataclass(TeacherConfig, path, overrides or {}))


def check(config: TeacherConfig) -> TeacherConfig:
    """The configuration itself; VprError with the reason where something in it cannot work."""
    check_choices(config, WHAT)
    require(config.rules(), WHAT)
    return config


def _positive(weight: Any) -> bool:
    if not isinstance(weight, (int, float)) or weight < 0:
        raise VprError(f"{WHAT}: head_weights are numbers of at least 0, not {weight!r}")
    return weight > 0
