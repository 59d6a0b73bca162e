"""One training run as data: read from YAML, checked with reasons, written into the checkpoint it makes."""

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from vpr_ros.errors import VprError

from ..data.augment import AugmentConfig


@dataclass(frozen=True)
class TrainConfig:
    """Metric learning of a student on training-set folders (`vpr_ros render`, `vpr_ros convert`)."""

    student: str = "nano"  # a name of vpr_ros.student.CONFIGS
    train: tuple[str, ...] = ()  # training-set folders
    validation: tuple[str, ...] = ()  # folders of other cities: calibration and the curve, never test cities
    loss: str = "contrastive"  # or multi_similarity
    epochs: int = 20
    steps_per_epoch: int = 200
    places_per_batch: int = 24
    images_per_place: int = 4
    cities_per_batch: int = 2
    positive_m: float = 3.0
    negative_m: float = 15.0
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_fraction: float = 0.05
    ramp: tuple[float, float] = (0.1, 1.0)  # augmentation strength at the start and from `ramp_until` on
    ramp_until: float = 0.7
    image_sizes: tuple[int, ...] = ()  # sides in pixels over equal parts of the run; empty: the student's own size
    ema_decay: float = 0.0  # exponential moving average of the weights per step; 0 switches it off
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validate_every: int = 4  # epochs
    seed: int = 1
    workers: int = 0
    threads: int = 0  # torch threads; 0 keeps torch's own choice
    accelerator: str = "auto"
    precision: str = "32-true"
    projection_dim: int = 512
    whiten: float = 0.5  # power of the projection's whitening: 0 plain PCA, 1 equal variance


def read_config(path: str | Path, **overrides) -> TrainConfig:
    """The run of a YAML file, with `overrides` (those not None) on top; unknown keys and wrong types raise VprError."""
    return check(read_dataclass(TrainConfig, path, overrides))


def read_dataclass(cls, path: str | Path, overrides: dict):
    """A dataclass `cls` from the `key: value` lines of a YAML file, with `overrides` (those not None) on top."""
    try:
        raw = yaml.safe_load(Path(path).read_text()) or {}
    except OSError as error:
        raise VprError(f"cannot read the training configuration {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise VprError(f"{path} is not valid YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(raw, dict):
        raise VprError(f"{path} must hold `key: value` lines of a training run")
    raw |= {key: value for key, value in overrides.items() if value is not None}
    return _build(cls, raw, str(path))


def _build(cls, raw: dict, where: str):
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise VprError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return cls(**{key: _coerce(hints[key], value, f"{where}: {key}") for key, value in raw.items()})


def _coerce(hint, value, where: str):
    if dataclasses.is_dataclass(hint):
        return _build(hint, value or {}, where)
    if typing.get_origin(hint) is tuple:
        values = [value] if isinstance(value, (str, int, float)) else list(value)
        return tuple(_coerce(typing.get_args(hint)[0], v, where) for v in values)
    try:
        # YAML reads 1e-3 as a string; int("0.5") and float("fast") fail here with the key's name.
        return hint(value)
    except (TypeError, ValueError):
        raise VprError(f"{where} must be {hint.__name__}, not {value!r}") from None


def check(config: TrainConfig) -> TrainConfig:
    """Cross-field rules, each with its reason."""
    rules = [
        (bool(config.train), "train: name at least one training-set folder"),
        (
            config.images_per_place >= 2,
            "images_per_place must be 2 or more: a place with one image has no positive pair",
        ),
        (config.places_per_batch >= 2, "places_per_batch must be 2 or more: one place has no negative pair"),
        (config.negative_m > config.positive_m, "negative_m must exceed positive_m: no pair can be both"),
        (config.epochs >= 1 and config.steps_per_epoch >= 1, "epochs and steps_per_epoch must be 1 or more"),
        (all(side % 14 == 0 for side in config.image_sizes), "image_sizes must divide by 14, the patch size"),
        (
            not set(config.train) & set(config.validation),
            "a folder is in train and in validation: validate on other cities",
        ),
    ]
    for holds, reason in rules:
        if not holds:
            raise VprError(f"training configuration: {reason}")
    return config


def as_dict(config: TrainConfig) -> dict:
    """The effective configuration, ready for JSON."""
    return dataclasses.asdict(config)
