"""Lightning's trainer for a student: loggers, devices, early stopping and checkpoints."""

import logging
from importlib.util import find_spec
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from vpr_ros.errors import VprError
from vpr_ros.training.common.keeping import BestWeights, Patience
from vpr_ros.training.common.trainer import make_trainer
from vpr_ros.training.student.config import OptimisationConfig, TrainConfig
from vpr_ros.training.student.validation.progress import RECALLED, StudentProgress
from vpr_ros.training.student.validation.start import Validation

log = logging.getLogger(__name__)


def student_trainer(config: TrainConfig, out: Path, progress: StudentProgress) -> L.Trainer:
    """The trainer of a run. `progress` is its first callback: others look at its rows. CSV files (one per start: the
    logger would truncate an old one) and TensorBoard get every tenth step."""
    loggers: list[Logger] = [CSVLogger(out, name="steps")]
    if config.optimisation.tensorboard and find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard"))
    hardware = config.hardware
    callbacks: list[Callback] = [progress]
    if config.optimisation.patience:
        callbacks.append(Patience(config.optimisation.patience, RECALLED))
    if config.optimisation.keep == "best":
        callbacks.append(BestWeights(out, RECALLED))
    return make_trainer(
        out,
        callbacks,
        max_epochs=config.optimisation.epochs,
        accelerator=hardware.accelerator,
        devices=hardware.devices or ("auto" if hardware.accelerator != "cpu" else 1),
        num_nodes=hardware.nodes,
        strategy=hardware.strategy,
        sync_batchnorm=hardware.sync_batchnorm,
        precision=hardware.precision,
        logger=loggers,
        log_every_n_steps=10,
        gradient_clip_val=config.optimisation.clip or None,
    )


def check_validation(config: OptimisationConfig, validation: Validation | None) -> Validation | None:
    """The validation set where it has a query, else None with a warning; VprError for patience and `keep: best`, which
    need one."""
    if validation is not None and len(validation.queries):
        return validation
    without = "there is no validation set" if validation is None else f"{validation.called} has no query"
    if config.patience or config.keep == "best":
        remedy = "name a validation folder" if validation is None else "it needs two drives through the same places"
        raise VprError(f"patience and `keep: best` look at the validation recall, and {without}: {remedy}")
    log.warning("%s: nothing can tell whether the result is better than the start", without)
    return None
