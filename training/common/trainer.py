"""Lightning's trainer with the settings of every run."""

import logging
import signal
import threading
import warnings
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from vpr_ros.errors import VprError
from vpr_ros.training.common.checkpoint_io import WholeCheckpointIO
from vpr_ros.training.common.run_folder import LAST


def silence_lightning() -> None:
    """Lightning's warnings on loggers, worker counts and folders do not apply to the runs of this package."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def make_trainer(out: Path, callbacks: list[Callback], **settings: Any) -> L.Trainer:
    """Lightning's trainer with the settings that all runs share; `last.ckpt` is written after all `callbacks`.

    VprError, in one sentence, for devices and precisions that this machine does not support.
    """
    last = ModelCheckpoint(
        out, filename=Path(LAST).stem, save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
    )
    try:
        return L.Trainer(
            default_root_dir=out,
            use_distributed_sampler=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            plugins=[WholeCheckpointIO()],
            callbacks=[*callbacks, last],
            **settings,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        keys = ("accelerator", "devices", "num_nodes", "strategy", "precision")
        wanted = ", ".join(f"{key} {settings[key]!r}" for key in keys if key in settings)
        raise VprError(f"training with {wanted} does not work here: {' '.join(str(error).split())}") from None


def fit(trainer: L.Trainer, module: L.LightningModule, out: Path, resume: bool, loader: Any = None) -> None:
    """Train, with `resume` from the folder's last complete epoch.

    KeyboardInterrupt, which says what is kept, where a signal ended the run.
    """
    last, on_interrupt = out / LAST, signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, loader, ckpt_path=str(last) if resume and last.exists() else None)
    except SystemExit:  # Lightning's answer to SIGINT and SIGTERM, without a word
        if not trainer.interrupted:
            raise
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, on_interrupt)  # Lightning ignores it from then on
    if trainer.interrupted:
        raise KeyboardInterrupt(_kept(last, trainer.current_epoch, trainer.max_epochs))


def _kept(last: Path, complete: int, epochs: int | None) -> str:
    """What an interrupt leaves, and how to go on."""
    if not complete or not last.exists():
        return "no epoch was complete, so nothing is kept; the same command begins again"
    return f"{complete} of {epochs} epochs are kept in {last}; the same command goes on from there"
