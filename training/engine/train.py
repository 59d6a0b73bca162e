"""One training run of a student from configuration to checkpoint."""

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

from ..data.frames import FrameBatches, TrainingFrames
from ..data.gsv_cities import GSVCities
from ..data.sample import FrameTableSamples, SampleSet, seeing
from ..data.training_set import read_frame_table
from ..evaluation.embedding import embed
from ..retrieval import recall_by_condition
from .batches import StudentBatches
from .config import TrainConfig, as_dict, check
from .finish import finish_student
from .module import MetricLearning
from .progress import RunProgress
from .students import Student, build_student, freeze, image_size_of, save_student
from .teacher_cache import RunTeacher, TeacherLike, cached_embeddings, find_teacher
from .teacher_checkpoint import WholeCheckpointIO

CHECKPOINT = "student.safetensors"
DESCRIBED_AT_ONCE = 64


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = True,
    samples: SampleSet | None = None,
    validation: SampleSet | None = None,
    teacher: TeacherLike | None = None,
    student: Student | None = None,
    finish: bool = True,
) -> Path:
    """Train, validate now and then, write `<out>/student.safetensors`; returns its path.

    `samples` and `validation` default to the configuration's folders, `teacher` to the checkpoint of its distil section
    (embeddings (N, D) of the samples do as well), `student` to a fresh one. With `finish` the checkpoint also gets its
    projection and calibration, which need training-set folders; without, it holds the weights alone. `out` also gets
    `config.json`, `log.csv`, `metrics.csv`, the teacher's embeddings and Lightning's `last.ckpt`; a run that was cut
    off resumes from the last whole epoch and ends with the weights of an uninterrupted one (CPU, same thread count).
    """
    check(config, folders=samples is None)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    _quiet()
    effective = _claim(out, config, resume)
    if config.threads:
        torch.set_num_threads(config.threads)
    student = build_student(config) if student is None else student
    freeze(student, config)
    samples = samples if samples is not None else _samples(config)
    if validation is None and config.validation:
        validation = FrameTableSamples(read_frame_table(*config.validation), "validation", ("image",))
    source = None
    if config.distil is not None:
        source = find_teacher(config.distil, teacher, samples)
        L.seed_everything(config.seed, verbose=False)  # loading a teacher draws numbers, handing one over does not
    module, loader = _assemble(config, student, samples, source, out)

    def validate() -> dict:
        if validation is None:
            return {}
        return recall_by_condition(
            embed(module.best_student, seeing(validation, ("image",)), DESCRIBED_AT_ONCE), validation
        )

    trainer = _trainer(config, out, validate)
    last = out / "last.ckpt"
    started = time.time()
    trainer.fit(module, loader, ckpt_path=str(last) if resume and last.exists() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    provenance = {
        "kind": "metric learning" if source is None else "distillation",
        # the folders' names: where they lay on the training machine is nobody's business
        "config": effective | {key: [Path(p).name for p in effective[key]] for key in ("train", "validation")},
        "seconds": round(time.time() - started),
        "frames": len(samples),
    }
    if source is not None and module.distilling is not None:
        provenance["teacher"] = source.provenance | {"weights": dict(module.distilling.weights)}
    path = out / CHECKPOINT
    trained = module.best_student.cpu().eval()
    if not finish:
        save_student(path, trained, provenance)
        return path
    _finish(config, trained, samples, validation, path, provenance)
    return path


def _finish(config: TrainConfig, student: Student, samples, validation, path: Path, provenance: dict) -> None:
    if not isinstance(samples, FrameTableSamples):
        save_student(path, student, provenance)
        return
    finish_student(
        student,
        samples.table,
        None if validation is None else validation.table,
        path,
        provenance,
        dim=config.projection_dim,
        whiten=config.whiten,
        seed=config.seed,
    )


def _quiet() -> None:
    """Lightning's advice on loggers, worker counts and folders that a resumed run must share is not the reader's."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")


def _claim(out: Path, config: TrainConfig, resume: bool) -> dict:
    """Write the effective configuration; VprError for a folder that holds a run of another one."""
    written, effective = out / "config.json", json.loads(json.dumps(as_dict(config)))
    if resume and written.exists() and json.loads(written.read_text()) != effective:
        raise VprError(f"{out} holds a run of another configuration; choose another folder or remove it")
    written.write_text(json.dumps(effective, indent=1))
    return effective


def _samples(config: TrainConfig) -> SampleSet:
    if config.layout == "gsv-cities":
        if len(config.train) > 1:
            raise VprError("train: name one GSV-Cities folder, which holds all its cities")
        return GSVCities(config.train[0])
    return FrameTableSamples(read_frame_table(*config.train), "+".join(Path(folder).name for folder in config.train))


def _assemble(
    config: TrainConfig, student: Student, samples: SampleSet, source: RunTeacher | None, out: Path
) -> tuple[MetricLearning, DataLoader]:
    """The module and its batches."""
    side = max(config.image_sizes, default=0)
    size = (side, side) if side else image_size_of(student)
    distil = config.distil
    online = source is not None and distil is not None and distil.teacher_view == "online"
    inputs = source.network.inputs if online and source is not None and source.network is not None else None
    cloud = None if distil is None else distil.cloud_augment
    frames = TrainingFrames(samples, size, config.augment, teacher=inputs, cloud=cloud, cache=config.cache)
    if config.workers:
        frames.fill_cache()
    batches = StudentBatches(samples, config)
    loader = DataLoader(
        frames,
        batch_sampler=batches,
        num_workers=config.workers,
        persistent_workers=False,
        collate_fn=FrameBatches(inputs, cloud),
    )

    def embeddings(teacher: RunTeacher):
        assert distil is not None
        return cached_embeddings(
            teacher, samples, distil, config.augment, out, seed=config.seed, workers=config.workers
        )

    module = MetricLearning(student, samples, config, source, embeddings, len(batches))
    return module, loader


def _trainer(config: TrainConfig, out: Path, validate) -> L.Trainer:
    return L.Trainer(
        max_epochs=config.epochs,
        accelerator=config.accelerator,
        devices=config.devices or ("auto" if config.accelerator != "cpu" else 1),
        num_nodes=config.nodes,
        strategy=config.strategy,
        precision=config.precision,  # type: ignore[arg-type]
        logger=CSVLogger(out, name="", version=""),
        log_every_n_steps=10,
        use_distributed_sampler=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        gradient_clip_val=config.clip or None,
        plugins=[WholeCheckpointIO()],
        callbacks=[
            RunProgress(validate, config.validate_every, out),
            ModelCheckpoint(
                out, filename="last", save_top_k=1, enable_version_counter=False, save_on_train_epoch_end=True
            ),
        ],
    )
