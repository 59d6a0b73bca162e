"""Around a run: whose folder it is, and Lightning's trainer with its logs and callbacks."""

import json
import logging
import os
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger

from vpr_ros.errors import VprError

from .config import TrainConfig, as_dict
from .keeping import keepers
from .progress import RunProgress
from .teacher_checkpoint import WholeCheckpointIO


def quiet() -> None:
    """Lightning's advice on loggers, worker counts and folders that a resumed run must share is not the reader's."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def claim(out: Path, config: TrainConfig, resume: bool) -> dict:
    """Write the effective configuration and return it; VprError for a folder that holds a run of another one.

    Keys that a stored configuration lacks have had their defaults.
    """
    written, effective = out / "config.json", json.loads(json.dumps(as_dict(config)))
    if resume and written.exists():
        try:
            stored = json.loads(written.read_text())
        except ValueError:
            stored = None
        defaults = json.loads(json.dumps(as_dict(TrainConfig())))
        if not isinstance(stored, dict) or defaults | stored != effective:
            raise VprError(f"{out} holds a run of another configuration; choose another folder or remove it")
    partial = out / f".config.{os.getpid()}.json"
    partial.write_text(json.dumps(effective, indent=1))
    os.replace(partial, written)
    return effective


def without_places(effective: dict) -> dict:
    """The configuration with bare names of files: where they lay on the training machine is nobody's business."""
    told = effective | {key: [Path(p).name for p in effective[key]] for key in ("train", "validation")}
    told["start"] = Path(effective["start"]).name
    told["options"] = {k: Path(v).name if isinstance(v, str) else v for k, v in effective["options"].items()}
    if effective["distil"] is not None:
        told["distil"] = effective["distil"] | {"checkpoint": Path(effective["distil"]["checkpoint"]).name}
    return told


def make_trainer(config: TrainConfig, out: Path, validate: Callable[[], dict]) -> L.Trainer:
    """Lightning's trainer for the run; `metrics.csv` and TensorBoard get every tenth step."""
    loggers: list[Logger] = [CSVLogger(out, name="", version="")]
    if config.tensorboard and find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(out, name="", version="tensorboard"))
    return L.Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=config.devices or ("auto" if config.accelerator != "cpu" else 1),
        num_nodes=config.nodes,
        strategy=config.strategy,
        sync_batchnorm=config.sync_batchnorm,
        precision=config.precision,  # type: ignore[arg-type]
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
