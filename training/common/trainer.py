"""Lightning's trainer for a run, with its logs and callbacks."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from vpr_ros.errors import VprError
from vpr_ros.training.common.checkpoint_io import WholeCheckpointIO
from vpr_ros.training.common.progress import RunProgress
from vpr_ros.training.student.checkpointing import keepers
from vpr_ros.training.student.config import TrainConfig


def quiet() -> None:
    """Lightning's advice on loggers, worker counts and folders that a resumed run must share is not the reader's."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


@contextmanager
def one_sentence() -> Iterator[None]:
    """Bad input that a loader's process found is told as it told it, without the traceback that torch puts around."""
    try:
        yield
    except VprError as error:
        raise VprError(str(error).strip().splitlines()[-1].removeprefix("vpr_ros.errors.VprError: ")) from None


def make_trainer(config: TrainConfig, out: Path, validate: Callable[[], dict]) -> L.Trainer:
    """Lightning's trainer for the run; CSV files (one per start: the logger would empty an old one) and TensorBoard get
    every tenth step."""
    loggers: list[Logger] = [CSVLogger(out, name="steps")]
    if config.tensorboard and find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard"))
    return trainer_of(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=config.devices or ("auto" if config.accelerator != "cpu" else 1),
        num_nodes=config.nodes,
        strategy=config.strategy,
        sync_batchnorm=config.sync_batchnorm,
        precision=config.precision,
        logger=loggers,
        default_root_dir=out,
        log_every_n_steps=10,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        gradient_clip_val=config.clip or None,
        plugins=[WholeCheckpointIO()],
        callbacks=[RunProgress(validate, config.validate_every, out), *keepers(config, out)],
    )


def trainer_of(**settings: Any) -> L.Trainer:
    """Lightning's trainer; VprError, in one sentence, for devices and precisions that this machine does not have."""
    try:
        return L.Trainer(**settings)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        keys = ("accelerator", "devices", "num_nodes", "strategy", "precision")
        asked = ", ".join(f"{key} {settings[key]!r}" for key in keys if key in settings)
        raise VprError(f"training with {asked} does not work here: {' '.join(str(error).split())}") from None
