"""Keys of configurations without groups, with the path of each in the groups: for old run folders and messages."""

from collections.abc import Mapping
from typing import Any

STUDENT_KEYS = {
    "student": "model.student",
    "options": "model.options",
    "start": "model.start",
    "trained": "model.trained",
    "batch_norm": "model.batch_norm",
    "layout": "data.layout",
    "train": "data.train",
    "validation": "data.validation",
    "batches": "data.batches",
    "places_per_batch": "data.places_per_batch",
    "images_per_place": "data.images_per_place",
    "cities_per_batch": "data.cities_per_batch",
    "batch_size": "data.batch_size",
    "redraw": "data.redraw",
    "positive_m": "data.positive_m",
    "negative_m": "data.negative_m",
    "image_sizes": "data.image_sizes",
    "cache": "data.cache",
    "augment": "augmentation.images",
    "jitter": "augmentation.jitter",
    "rand_augment": "augmentation.rand_augment",
    "ramp": "augmentation.ramp",
    "ramp_until": "augmentation.ramp_until",
    "loss": "task.loss",
    "task_weight": "task.weight",
    "margin": "task.margin",
    "distil": "distillation",
    "epochs": "optimisation.epochs",
    "steps_per_epoch": "optimisation.steps_per_epoch",
    "optimiser": "optimisation.optimiser",
    "learning_rate": "optimisation.learning_rate",
    "weight_decay": "optimisation.weight_decay",
    "clip": "optimisation.clip",
    "schedule": "optimisation.schedule",
    "milestones": "optimisation.milestones",
    "decay": "optimisation.decay",
    "warmup_fraction": "optimisation.warmup_fraction",
    "ema_decay": "optimisation.ema_decay",
    "validate_every": "optimisation.validate_every",
    "patience": "optimisation.patience",
    "keep": "optimisation.keep",
    "seed": "optimisation.seed",
    "tensorboard": "optimisation.tensorboard",
    "workers": "hardware.workers",
    "threads": "hardware.threads",
    "accelerator": "hardware.accelerator",
    "devices": "hardware.devices",
    "nodes": "hardware.nodes",
    "strategy": "hardware.strategy",
    "sync_batchnorm": "hardware.sync_batchnorm",
    "precision": "hardware.precision",
    "projection_dim": "export.projection_dim",
    "whiten": "export.whiten",
}

TEACHER_KEYS = {
    "teacher": "model.teacher",
    "options": "model.options",
    "init": "model.init",
    "branch": "model.branch",
    "sparse": "model.sparse",
    "train": "data.train",
    "validation": "data.validation",
    "validation_radius_m": "data.validation_radius_m",
    "positive_m": "data.positive_m",
    "non_negative_m": "data.non_negative_m",
    "areas_per_batch": "data.areas_per_batch",
    "batch_size": "data.batch_size",
    "batch_limit": "data.batch_limit",
    "batch_growth": "data.batch_growth",
    "batch_threshold": "data.batch_threshold",
    "cache": "data.cache",
    "cloud_augment": "augmentation.clouds",
    "image_augment": "augmentation.images",
    "shrink_first": "augmentation.shrink_first",
    "loss": "task.loss",
    "warmup_epochs": "task.warmup_epochs",
    "margin": "task.margin",
    "boundary": "task.boundary",
    "pair_margin": "task.pair_margin",
    "head_weights": "task.head_weights",
    "epochs": "optimisation.epochs",
    "milestones": "optimisation.milestones",
    "decay": "optimisation.decay",
    "learning_rate": "optimisation.learning_rate",
    "image_learning_rate": "optimisation.image_learning_rate",
    "weight_decay": "optimisation.weight_decay",
    "amsgrad": "optimisation.amsgrad",
    "validate_every": "optimisation.validate_every",
    "seed": "optimisation.seed",
    "workers": "hardware.workers",
    "threads": "hardware.threads",
    "accelerator": "hardware.accelerator",
}


def regrouped(raw: Mapping[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    """A configuration with its former keys moved into their groups; other keys are unchanged."""
    groups = {key: value for key, value in raw.items() if key not in former}
    for key in raw.keys() & former.keys():
        group, _, name = former[key].partition(".")
        if name:
            groups[group] = {**groups.get(group, {}), name: raw[key]}
        else:
            groups[group] = raw[key]
    return groups


def advice(raw: Mapping[str, Any], former: Mapping[str, str]) -> str:
    """One sentence with the new paths of the former keys in a file; empty where it has none."""
    moved: dict[str, list[str]] = {}
    for key in (key for key in raw if key in former):
        group, _, name = former[key].partition(".")
        moved.setdefault(group, []).append(f"{name}: …" if name else "")
    if not moved:
        return ""
    keys = [f"'{key}'" for key in raw if key in former]
    lines = [f"'{group}: {{{', '.join(names)}}}'" if names[0] else f"'{group}: …'" for group, names in moved.items()]
    if len(keys) > 1:
        return f"the keys {', '.join(keys)} now stand in groups: write {', '.join(lines)}"
    (group, (name,)), key = next(iter(moved.items())), keys[0]
    return f"{key} now stands under {group}: write {lines[0]}" if name else f"{key} is now called '{group}'"
