"""Lightning's trainer for a student: loggers, devices, early stopping and checkpoints."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from vpr_ros.errors import VprError
from vpr_ros.training.common.trainer import epoch_checkpoint, make_trainer
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training.student.config import OptimisationConfig, TrainConfig
from vpr_ros.training.student.progress import RECALL, StudentProgress

BEST = "best.ckpt"


class Patience(EarlyStopping):
    """Ends a run after `epochs` epochs without a better validation recall; a resume of such a run ends at once."""

    def __init__(self, epochs: int):
        super().__init__(RECALL, patience=epochs, mode="max", check_on_train_epoch_end=True, strict=False)

    def on_train_start(self, trainer, pl_module) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def student_trainer(config: TrainConfig, out: Path, validate: Callable[[], dict]) -> L.Trainer:
    """The trainer of a run. CSV files (one per start: the logger would truncate an old one) and TensorBoard get every
    tenth step."""
    loggers: list[Logger] = [CSVLogger(out, name="steps")]
    if config.optimisation.tensorboard and find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard"))
    hardware = config.hardware
    callbacks: list[Callback] = [StudentProgress(validate, config.optimisation.validate_every, out)]
    if config.optimisation.patience:
        callbacks.append(Patience(config.optimisation.patience))
    if config.optimisation.keep == "best":
        callbacks.append(epoch_checkpoint(out, "best", monitor=RECALL, mode="max"))
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


def check_validation(config: OptimisationConfig, validation: SampleSet | None) -> None:
    """VprError where patience or `keep: best` need a validation recall and the set has none."""
    if not config.patience and config.keep != "best":
        return
    if validation is None:
        raise VprError("patience and `keep: best` look at the validation recall: name a validation folder")
    # Any descriptors do: which queries have a true match does not depend on them.
    if "all" not in recall_by_condition(np.zeros((len(validation), 1), np.float32), validation):
        raise VprError(
            f"patience and `keep: best` look at the validation recall, and {validation.name} has no query: it needs "
            "two drives through the same places"
        )


def load_best(module: L.LightningModule, out: Path) -> int:
    """Fill the module with the weights of `best.ckpt`; returns their epoch, counted from 1."""
    found = torch.load(out / BEST, map_location="cpu", weights_only=True)
    module.load_state_dict(found["state_dict"])
    return int(found["epoch"]) + 1
