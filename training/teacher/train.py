"""One training run of a teacher, from configuration to checkpoint."""

import time
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.run_pairs import run_pairs
from vpr_ros.training.common.checkpoint_io import WholeCheckpointIO
from vpr_ros.training.common.run_folder import claim, without_places
from vpr_ros.training.common.trainer import one_sentence, quiet, trainer_of
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.teacher.branches import AdaFusionBranch
from vpr_ros.training.teacher.config import TeacherConfig, measure_of
from vpr_ros.training.teacher.module import TeacherTraining
from vpr_ros.training.teacher.progress import TeacherProgress
from vpr_ros.training.teachers import Teacher, load_teacher, save_teacher

CHECKPOINT = "teacher.safetensors"


def build_teacher(config: TeacherConfig) -> Teacher:
    """A fresh teacher, its weights fixed by the seed; with `branch`, only that branch of it."""
    L.seed_everything(config.seed, verbose=False)
    teacher = load_teacher(config.teacher, sparse=config.sparse, **config.options)
    if config.init == "he":
        he_start(teacher)
    return AdaFusionBranch(teacher, config.branch) if config.branch else teacher


def he_start(teacher: nn.Module) -> None:
    """Dense convolutions start with He's variance (fan-in, ReLU) and no bias.

    AdaFusion has no normalisation before its last stage. With PyTorch's own start the difference between two samples
    shrinks a million-fold on the way there, below that layer's epsilon, and training stands still.
    """
    for module in teacher.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def train_teacher(
    config: TeacherConfig,
    out: str | Path,
    *,
    resume: bool = True,
    samples: SampleSet | None = None,
    validation: SampleSet | None = None,
) -> Path:
    """Train and write `<out>/teacher.safetensors` (the last model, for `load_teacher`); returns its path.

    `samples` and `validation` default to the configuration's folders. `out` also gets `config.json`, `log.csv` and
    Lightning's `last.ckpt`; a run that was cut off anywhere resumes from the last whole epoch and ends with the weights
    of an uninterrupted one (CPU, same thread count). VprError for folders of another run and for data without pairs.
    """
    out = Path(out)
    quiet()
    effective = claim(out, config, resume)
    if config.threads:
        torch.set_num_threads(config.threads)
    samples = samples if samples is not None else folder_samples(config.train, "train")
    if validation is None and config.validation:
        validation = folder_samples(config.validation, "validation")

    teacher = build_teacher(config)
    teacher.cloud_unit = samples.cloud_unit
    module = TeacherTraining(teacher, samples, config, lambda: validation_recalls(teacher, validation, config))
    last = out / "last.ckpt"
    trainer = trainer_of(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=1,
        logger=False,
        default_root_dir=out,
        log_every_n_steps=1,
        reload_dataloaders_every_n_epochs=1,  # the batch grows between epochs
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        plugins=[WholeCheckpointIO()],
        callbacks=[
            TeacherProgress(out),
            ModelCheckpoint(
                out, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
            ),
        ],
    )
    started = time.time()
    with one_sentence():
        trainer.fit(module, ckpt_path=str(last) if resume and last.exists() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    provenance = {
        "kind": "teacher training",
        "config": without_places(effective),
        "data": samples.name,
        "cloud_unit": samples.cloud_unit,
        "samples": len(samples),
        "seconds": round(time.time() - started),
        "last_epoch": module.history[-1],
    }
    path = out / CHECKPOINT
    save_teacher(path, teacher.network if isinstance(teacher, AdaFusionBranch) else teacher, provenance)
    return path


def folder_samples(folders: tuple[str, ...], what: str) -> SampleSet:
    """Training-set folders (`vpr_ros render`, the recorder, converters) as one sample set."""
    if not folders:
        raise VprError(f"{what}: name at least one training-set folder")
    return TrainingSetSamples(*folders)


def validation_recalls(teacher: Teacher, validation: SampleSet | None, config: TeacherConfig) -> dict[str, float]:
    """AR@1 and AR@1 % over run pairs of the validation set; nothing where there is none."""
    if validation is None:
        return {}
    found = run_pairs(
        embed(teacher, validation),
        np.asarray(validation.positions_m),
        np.asarray(validation.drives),
        np.asarray(validation.areas),
        radius_m=config.validation_radius_m,
        measure=measure_of(config),
    )
    return {"validation_ar1": found.ar1, "validation_ar1_percent": found.ar1_percent}
