"""One training run of a teacher, from configuration to checkpoint."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.evaluation.protocols.run_pairs import run_pairs
from vpr_ros.training.common.keeping import BestWeights, best_row, load_best
from vpr_ros.training.common.run_folder import open_run_folder, without_folders
from vpr_ros.training.common.trainer import fit as fit_module
from vpr_ros.training.common.trainer import make_trainer, silence_lightning
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.teacher.branches import AdaFusionBranch
from vpr_ros.training.teacher.build import build_teacher
from vpr_ros.training.teacher.config import TeacherConfig
from vpr_ros.training.teacher.module import TeacherTraining
from vpr_ros.training.teacher.progress import TeacherProgress
from vpr_ros.training.teachers import Teacher, save_teacher

CHECKPOINT = "teacher.safetensors"
RECALLED = "validation_ar1"  # the column that `keep: best` looks at
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to train; `effective` is its configuration as plain values."""

    config: TeacherConfig
    out: Path
    effective: dict
    samples: SampleSet
    module: TeacherTraining

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best epoch are kept, not the last ones."""
        return self.config.optimisation.keep == "best"


def train_teacher(
    config: TeacherConfig,
    out: str | Path,
    *,
    resume: bool = True,
    samples: SampleSet | None = None,
    validation: SampleSet | None = None,
) -> Path:
    """Train and write `<out>/teacher.safetensors` (the last or best model, for `load_teacher`); returns its path.

    `samples` and `validation` default to the configuration's folders. `out` also gets `config.json`, `log.csv` and
    Lightning's `last.ckpt`; an interrupted run resumes from the last complete epoch and ends with the weights of an
    uninterrupted one (CPU, same thread count). VprError for folders of another run and for data without pairs.
    """
    run = prepare(config, Path(out), resume=resume, samples=samples, validation=validation)
    seconds = fit(run, resume)
    return export(run, seconds)


def prepare(
    config: TeacherConfig, out: Path, *, resume: bool, samples: SampleSet | None, validation: SampleSet | None
) -> PreparedRun:
    """Open the folder and build samples and teacher; arguments that are None are made from the configuration."""
    silence_lightning()
    effective = open_run_folder(out, config, resume)
    if config.hardware.threads:
        torch.set_num_threads(config.hardware.threads)
    samples = samples if samples is not None else folder_samples(config.data.train, "train")
    if validation is None and config.data.validation:
        validation = folder_samples(config.data.validation, "validation")
    if validation is None and config.optimisation.keep == "best":
        raise VprError("`keep: best` looks at the validation recall: name a validation folder")
    teacher = build_teacher(config)
    teacher.cloud_unit = samples.cloud_unit
    module = TeacherTraining(teacher, samples, config, lambda: validation_recalls(teacher, validation, config))
    return PreparedRun(config, out, effective, samples, module)


def fit(run: PreparedRun, resume: bool) -> int:
    """Train; returns the seconds."""
    trainer = make_trainer(
        run.out,
        [TeacherProgress(run.out), *([BestWeights(run.out, RECALLED)] if run.keeps_best else [])],
        max_epochs=run.config.optimisation.epochs,
        accelerator=run.config.hardware.accelerator,
        devices=1,
        logger=False,
        log_every_n_steps=1,
        reload_dataloaders_every_n_epochs=1,  # the batch grows between epochs
    )
    started = time.time()
    fit_module(trainer, run.module, run.out, resume)
    return round(time.time() - started)


def export(run: PreparedRun, seconds: int) -> Path:
    """Write the model that the run keeps with its provenance."""
    teacher, path, row = run.module.teacher, run.out / CHECKPOINT, run.module.history[-1]
    best = best_row(run.module.history, RECALLED) if run.keeps_best else None
    if best is not None:
        load_best(run.module, run.out)
        row = best
        if not row["epoch"]:
            log.warning("no epoch of the teacher recognises more than its untrained weights, which are kept")
    elif run.keeps_best:
        log.warning("the validation set has no query, so the last epoch of the teacher is kept")
    provenance = {
        "kind": "teacher training",
        "config": without_folders(run.effective),
        "data": run.samples.name,
        "cloud_unit": run.samples.cloud_unit,
        "samples": len(run.samples),
        "seconds": seconds,
        "last_epoch": run.module.history[-1],
        "epoch": row["epoch"],
    }
    save_teacher(path, teacher.network if isinstance(teacher, AdaFusionBranch) else teacher, provenance)
    return path


def folder_samples(folders: tuple[str, ...], what: str) -> SampleSet:
    """Training-set folders (`vpr_ros render`, the recorder, converters) as one sample set."""
    if not folders:
        raise VprError(f"{what}: name at least one training-set folder")
    return TrainingSetSamples(*folders)


def validation_recalls(teacher: Teacher, validation: SampleSet | None, config: TeacherConfig) -> dict[str, float]:
    """AR@1 and AR@1 % over run pairs of the validation set; empty where there is no set, or no query in it."""
    if validation is None:
        return {}
    found = run_pairs(
        embed(teacher, validation),
        np.asarray(validation.positions_m),
        np.asarray(validation.drives),
        np.asarray(validation.areas),
        radius_m=config.data.validation_radius_m,
        measure=config.task.measure,
        truth=validation.nearness.truth(config.data.validation_radius_m),
    )
    if np.isnan(found.ar1):
        return {}
    return {RECALLED: found.ar1, "validation_ar1_percent": found.ar1_percent}
