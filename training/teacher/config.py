"""One training run of a teacher as data: read from YAML, checked with reasons, written into the checkpoint it makes."""

from dataclasses import dataclass, field
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.training.common.yaml_config import read_dataclass
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
from vpr_ros.training.teacher.branches import BRANCHES
from vpr_ros.training.teachers import TEACHERS

LOSSES = ("triplet", "pairwise", "contrastive")


@dataclass(frozen=True)
class TeacherConfig:
    """Defaults are MinkLoc++'s (METHODS section 4.4); lengths of clouds are in the unit of the training set."""

    teacher: str = "minkloc++"  # a name of training.teachers.TEACHERS
    options: dict = field(default_factory=dict)  # of that teacher: planes, image_size, voxel_size ...
    init: str = ""  # "he": dense convolutions start by He's rule, which AdaFusion needs (see `he_start`)
    branch: str = ""  # AdaFusion only: train and rank by the pooled map of its "image" or its "cloud" branch alone
    train: tuple[str, ...] = ()  # training-set folders
    validation: tuple[str, ...] = ()  # folders of other cities; looked at, never chosen by; never test cities
    loss: str = "triplet"  # or pairwise, AdaFusion's own; or contrastive, on raw distances
    warmup_epochs: int = 0  # first epochs with the contrastive loss: from random weights hard triplets can collapse
    margin: float = 0.2  # of the triplets
    boundary: float = 25.0  # of the pairwise loss: L1 distance that parts positives from negatives
    pair_margin: float = 1.0
    head_weights: dict[str, float] = field(default_factory=lambda: {"final": 0.5, "cloud": 0.5, "image": 0.0})
    positive_m: float = 10.0
    non_negative_m: float = 50.0
    epochs: int = 60
    milestones: tuple[int, ...] = (40,)  # epochs after which both learning rates fall
    decay: float = 0.1
    learning_rate: float = 1e-3
    image_learning_rate: float = 1e-4  # of the image branch
    weight_decay: float = 1e-4
    amsgrad: bool = False
    areas_per_batch: int = 0  # areas that a batch is drawn from; 0: all
    batch_size: int = 8  # at the start
    batch_limit: int = 160
    batch_growth: float = 1.4
    batch_threshold: float = 0.7  # share of active triplets of the best head below which the batch grows
    cloud_augment: CloudAugmentConfig = field(default_factory=CloudAugmentConfig)
    image_augment: ImageAugmentConfig = field(default_factory=ImageAugmentConfig)
    validate_every: int = 5  # epochs
    validation_radius_m: float = 25.0
    cache: bool = False  # keep the samples in memory
    shrink_first: bool = False  # augment images at the network's size instead of their own: cheaper
    seed: int = 1
    workers: int = 0
    threads: int = 0  # torch threads; 0 keeps torch's own choice
    accelerator: str = "auto"
    sparse: str = "auto"  # backend of sparse convolutions


def read_teacher_config(path: str | Path, **overrides) -> TeacherConfig:
    """The run of a YAML file, with `overrides` (those not None) on top; unknown keys and wrong types raise VprError."""
    return check(read_dataclass(TeacherConfig, path, overrides))


def check(config: TeacherConfig) -> TeacherConfig:
    """Cross-field rules, each with its reason."""
    rules = [
        (config.teacher in TEACHERS, f"there is no teacher {config.teacher!r}; choose one of {', '.join(TEACHERS)}"),
        (config.branch in BRANCHES, f"branch is {config.branch!r}; choose image, cloud or nothing"),
        (not config.branch or config.teacher == "adafusion", "only adafusion has a branch: others have names for it"),
        (config.init in ("", "he"), f"init is {config.init!r}; choose he or nothing"),
        (config.loss in LOSSES, f"loss is {config.loss!r}; choose one of {', '.join(LOSSES)}"),
        (config.non_negative_m > config.positive_m, "non_negative_m must exceed positive_m: no pair can be both"),
        (config.epochs >= 1, "epochs must be 1 or more"),
        (4 <= config.batch_size <= config.batch_limit, "batch_size must be 4 (two pairs) to batch_limit"),
        (config.batch_growth >= 1, "batch_growth must be 1 or more: batches never shrink"),
        (0 <= config.warmup_epochs < config.epochs, "warmup_epochs must leave at least one epoch for the loss"),
        (config.validate_every >= 1, "validate_every must be 1 or more"),
        (any(_positive(w) for w in config.head_weights.values()), "head_weights: at least one must be above 0"),
        (
            not set(config.train) & set(config.validation),
            "a folder is in train and in validation: validate on other cities",
        ),
    ]
    for holds, reason in rules:
        if not holds:
            raise VprError(f"teacher training configuration: {reason}")
    return config


def _positive(weight) -> bool:
    if not isinstance(weight, (int, float)) or weight < 0:
        raise VprError(f"teacher training configuration: head_weights are numbers of at least 0, not {weight!r}")
    return weight > 0


def measure_of(config: TeacherConfig) -> str:
    """How embeddings of this training are compared: a name of `vpr_ros.evaluation.ranking.MEASURES`."""
    return "l1" if config.loss == "pairwise" else "euclidean"
