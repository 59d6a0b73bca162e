"""One training run from configuration to runtime checkpoint."""

import json
import logging
import time
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from vpr_ros.errors import VprError
from vpr_ros.student import CONFIGS, D2VPR

from ..data import PlaceBatchSampler, TrainingFrames, read_frame_table
from ..retrieval import describe_frames, recall_by_condition
from .config import TrainConfig, as_dict
from .finish import finish_student
from .module import MetricLearning
from .progress import RunProgress


def build_student(config: TrainConfig) -> D2VPR:
    """A fresh student of the configured size, its weights fixed by the seed."""
    if config.student not in CONFIGS:
        raise VprError(f"student: no configuration {config.student!r}; known are {', '.join(CONFIGS)}")
    L.seed_everything(config.seed, verbose=False)
    return D2VPR(CONFIGS[config.student])


def train(config: TrainConfig, out: str | Path, *, resume: bool = True) -> Path:
    """Train, validate after every epoch, write `<out>/student.safetensors`; returns its path.

    `out` also gets `config.json`, `metrics.csv` and Lightning's `last.ckpt`; a run that was cut off resumes from the
    last whole epoch and ends with the weights of an uninterrupted one (CPU, same thread count).
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    # Lightning's advice on loggers, worker counts and folders that a resumed run must share is not the reader's
    # concern.
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    written = out / "config.json"
    effective = json.loads(json.dumps(as_dict(config)))
    if resume and written.exists() and json.loads(written.read_text()) != effective:
        raise VprError(f"{out} holds a run of another configuration; choose another folder or remove it")
    written.write_text(json.dumps(effective, indent=1))
    if config.threads:
        torch.set_num_threads(config.threads)

    student = build_student(config)
    table = read_frame_table(*config.train)
    validation = read_frame_table(*config.validation) if config.validation else None
    side = max(config.image_sizes, default=0)
    size = (side, side) if side else student.config.image_size
    module = MetricLearning(student, table, config)
    sampler = PlaceBatchSampler(
        table,
        config.places_per_batch,
        config.images_per_place,
        config.steps_per_epoch,
        config.epochs,
        seed=config.seed,
        cities_per_batch=config.cities_per_batch,
        positive_m=config.positive_m,
        negative_m=config.negative_m,
        ramp=config.ramp,
        ramp_until=config.ramp_until,
    )
    loader = DataLoader(
        TrainingFrames(table, size, config.augment),
        batch_sampler=sampler,
        num_workers=config.workers,
        persistent_workers=False,
    )

    def validate() -> dict:
        return recall_by_condition(*describe_frames(module.best_student, validation)) if validation else {}

    trainer = L.Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices="auto" if config.accelerator != "cpu" else 1,
        precision=config.precision,  # type: ignore[arg-type]
        logger=CSVLogger(out, name="", version=""),
        log_every_n_steps=10,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        gradient_clip_val=1.0,
        callbacks=[
            RunProgress(validate, config.validate_every),
            ModelCheckpoint(
                out, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
            ),
        ],
    )
    last = out / "last.ckpt"
    started = time.time()
    trainer.fit(module, loader, ckpt_path=str(last) if resume and last.exists() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    provenance = {
        "kind": "metric learning",
        # the folders' names: where they lay on the training machine is nobody's business
        "config": effective | {key: [Path(p).name for p in effective[key]] for key in ("train", "validation")},
        "seconds": round(time.time() - started),
        "frames": len(table),
    }
    path = out / "student.safetensors"
    finish_student(
        module.best_student.cpu().eval(),
        table,
        validation,
        path,
        provenance,
        dim=config.projection_dim,
        whiten=config.whiten,
        seed=config.seed,
    )
    return path
