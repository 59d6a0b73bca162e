"""A student's configuration read and checked: which settings cannot work, or would do nothing, and why."""

from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.training.common.yaml_config import read_dataclass
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.data.augment.images import AugmentConfig
from vpr_ros.training.losses import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS
from vpr_ros.training.student.config import DistilConfig, TrainConfig
from vpr_ros.training.student.freezing import BATCH_NORMS, TRAINED
from vpr_ros.training.student.schedules import SCHEDULES
from vpr_ros.training.student.teacher_space import SPACES
from vpr_ros.training.teachers import TEACHERS

TASKS = ("contrastive", "multi_similarity", "triplet", "none")
HEADS = ("linear", "mlp", "none")
HEAD_FOR = ("all", "widths")
VIEWS = ("cached", "online", "frozen")
BATCHES = ("places", "pairs", "visits")
LAYOUTS = ("training-set", "gsv-cities")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed")  # descriptors are compared in 32 bits in any case

Rule = tuple[bool, str]  # whether it holds, and what to say where it does not


def read_config(path: str | Path, **overrides) -> TrainConfig:
    """The run of a YAML file, with `overrides` (those not None) on top; unknown keys and wrong types raise VprError."""
    return check(read_dataclass(TrainConfig, path, overrides))


def check(config: TrainConfig, *, folders: bool = True) -> TrainConfig:
    """The configuration itself; VprError with the reason where something in it cannot work."""
    for holds, reason in rules_of(config, folders=folders):
        if not holds:
            raise VprError(f"training configuration: {reason}")
    return config


def rules_of(config: TrainConfig, *, folders: bool = True) -> list[Rule]:
    """The rules in the order in which they are told; without `folders`, samples are handed over in Python."""
    train, validation = ({Path(one).resolve() for one in of} for of in (config.train, config.validation))
    return [
        (bool(config.train) or not folders, "train: name at least one training-set folder"),
        (not train & validation, "a folder is in train and in validation: validate on other cities"),
        *_choices(
            config,
            {
                "loss": TASKS,
                "batches": BATCHES,
                "layout": LAYOUTS,
                "trained": TRAINED,
                "batch_norm": BATCH_NORMS,
                "schedule": SCHEDULES,
                "optimiser": ("adamw", "adam"),
                "keep": ("last", "best"),
                "precision": PRECISIONS,
            },
        ),
        (config.loss != "none" or config.distil is not None, "loss none needs a distil section: nothing is learnt"),
        *_batches(config),
        *_course(config),
        *([] if config.distil is None else _distillation(config.distil)),
    ]


def _batches(config: TrainConfig) -> list[Rule]:
    """What a batch holds and how its pictures vary."""
    other = config.jitter or config.rand_augment
    return [
        (
            config.images_per_place >= 2,
            "images_per_place must be 2 or more: a place with one image has no positive pair",
        ),
        (config.places_per_batch >= 2, "places_per_batch must be 2 or more: one place has no negative pair"),
        (config.batch_size >= 4, "batch_size must be 4 or more: two pairs"),
        (config.cities_per_batch >= (config.batches == "places"), "cities_per_batch must be 1 or more; 0 is for pairs"),
        (config.positive_m > 0, "positive_m must be above 0"),
        (config.negative_m > config.positive_m, "negative_m must exceed positive_m: no pair can be both"),
        (
            config.layout != "gsv-cities" or config.batches == "visits",
            "layout gsv-cities needs batches: visits, since its places are numbers and not poses",
        ),
        (
            all(side > 0 and side % 14 == 0 for side in config.image_sizes),
            "image_sizes must divide by 14, the patch size",
        ),
        (config.jitter is None or config.rand_augment is None, "name one of jitter and rand_augment, not both"),
        (other is None or config.augment == AugmentConfig(), "jitter and rand_augment stand in place of augment"),
    ]


def _course(config: TrainConfig) -> list[Rule]:
    """Length, rates, and what a run looks at and keeps."""
    return [
        (config.epochs >= 1 and config.steps_per_epoch >= 1, "epochs and steps_per_epoch must be 1 or more"),
        (config.learning_rate > 0, "learning_rate must be above 0"),
        *(
            (getattr(config, key) >= 0, f"{key} must be 0 or more")
            for key in ("seed", "workers", "threads", "patience", "clip", "weight_decay", "task_weight", "margin")
        ),
        (0 <= config.ema_decay < 1, "ema_decay must lie between 0 and 1, below 1"),
        (0 <= config.warmup_fraction < 1, "warmup_fraction must lie between 0 and 1, below 1"),
        (bool(config.milestones) == (config.schedule == "steps"), "milestones and schedule: steps go together"),
        (
            config.batch_norm == "moving" or config.trained != "all",
            "batch_norm frozen is for frozen parts, and trained: all freezes none",
        ),
        (config.validate_every >= 1, "validate_every must be 1 or more"),
        (
            not config.patience or config.patience >= config.validate_every,
            "patience must be validate_every or more: a run would end before it is looked at again",
        ),
        (config.nodes >= 1, "nodes must be 1 or more"),
        (config.projection_dim >= 2, "projection_dim must be 2 or more"),
        (0 <= config.whiten <= 1, "whiten must lie between 0 (plain PCA) and 1 (equal variance)"),
    ]


def _distillation(distil: DistilConfig) -> list[Rule]:
    names = distil.losses
    unknown = [name for name in names if name not in DISTILLATION]
    terms = [term for name in names for term in DISTILLATION_WEIGHTS.get(name, ())]
    twice = sorted({term for term in terms if terms.count(term) > 1})
    absent = sorted(set(distil.weights) - set(terms))
    equal = not NEEDS_EQUAL_WIDTHS.isdisjoint(names)
    return [
        *_choices(
            distil,
            {
                "teacher": tuple(TEACHERS),
                "head": HEADS,
                "head_for": HEAD_FOR,
                "teacher_view": VIEWS,
                "teacher_space": SPACES,
            },
            "distil: ",
        ),
        (not unknown, f"distil: loss is {', '.join(unknown)}; choose of {', '.join(DISTILLATION)}"),
        (not twice, f"distil: the losses of {distil.loss} share the term {', '.join(twice)}: name one of them"),
        (not absent, f"distil: {distil.loss} has no term {', '.join(absent)}; it has {', '.join(terms)}"),
        (
            all(isinstance(weight, (int, float)) and weight >= 0 for weight in distil.weights.values()),
            "distil: weights are numbers of at least 0",
        ),
        (distil.scale > 0, "distil: scale must be above 0"),
        (not equal or not distil.head_dim, f"distil: head_dim must be 0 for {distil.loss}: it compares equal widths"),
        (distil.head_dim >= 0, "distil: head_dim must be 0 (the teacher's width) or more"),
        (distil.head != "none" or not distil.head_dim, "distil: head_dim is that of a head, and head is none"),
        (
            distil.teacher_view != "online" or distil.teacher_space == "raw",
            "distil: teacher_space must be raw for teacher_view online: its statistics are those of all samples",
        ),
        (
            distil.teacher_view != "cached" or distil.cloud_augment == CloudAugmentConfig(),
            "distil: cloud_augment is for teacher_view online and frozen; cached embeds clouds as they are",
        ),
    ]


def _choices(config, allowed: dict[str, tuple[str, ...]], section: str = "") -> list[Rule]:
    return [
        (getattr(config, key) in values, f"{section}{key} is {getattr(config, key)!r}; choose {', '.join(values)}")
        for key, values in allowed.items()
    ]
