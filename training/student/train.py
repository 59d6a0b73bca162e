"""One training run of a student from configuration to checkpoint."""

import logging
import time
from pathlib import Path

import lightning as L
import torch
from torch.utils.data import DataLoader

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR
from vpr_ros.training.common.curves import draw_curves
from vpr_ros.training.common.run_folder import claim, without_places
from vpr_ros.training.common.trainer import make_trainer, one_sentence, quiet
from vpr_ros.training.data.datasets.gsv_cities import GSVCities
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.disjoint import check_apart
from vpr_ros.training.data.frames import FrameBatches, TrainingFrames
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training.export.runtime_checkpoint import CHECKPOINT, finish_student
from vpr_ros.training.student.batches import StudentBatches
from vpr_ros.training.student.checkpointing import check_judged, load_best
from vpr_ros.training.student.config import TrainConfig
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.networks import Student, build_student, freeze, image_size_of, save_student
from vpr_ros.training.student.rules import check
from vpr_ros.training.student.teacher_cache import RunTeacher, TeacherLike, cached_embeddings, find_teacher

DESCRIBED_AT_ONCE = 64
log = logging.getLogger(__name__)


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
    `config.json`, `log.csv`, `steps/`, the teacher's embeddings and Lightning's `last.ckpt`; a run that was cut
    off resumes from the last whole epoch and ends with the weights of an uninterrupted one (CPU, same thread count).
    """
    check(config, folders=samples is None)
    out = Path(out)
    quiet()
    effective = claim(out, config, resume)
    if config.threads:
        torch.set_num_threads(config.threads)
    student = build_student(config) if student is None else student
    freeze(student, config)
    samples = samples if samples is not None else _samples(config)
    if validation is None and config.validation:
        validation = TrainingSetSamples(*config.validation, name="validation")
    check_judged(config, validation)
    if validation is not None:
        _warn_of_shared(samples, validation)
    source = None
    if config.distil is not None:
        source = find_teacher(config.distil, teacher, samples)
        L.seed_everything(config.seed, verbose=False)  # loading a teacher draws numbers, handing one over does not
        _warn_of_unseen(source, samples, config)
    module, loader = _assemble(config, student, samples, source, out)
    module.provenance = _provenance(effective, samples, source, module)

    def validate() -> dict:
        if validation is None:
            return {}
        described = embed(module.best_student, validation.select(sees=("image",)), DESCRIBED_AT_ONCE)
        return recall_by_condition(described, validation)

    trainer = make_trainer(config, out, validate)
    last = out / "last.ckpt"
    started = time.time()
    with one_sentence():
        trainer.fit(module, loader, ckpt_path=str(last) if resume and last.exists() else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    path = out / CHECKPOINT
    if not trainer.is_global_zero:
        return path
    provenance = module.provenance | {
        "seconds": round(time.time() - started),
        "last_epoch": module.history[-1],
        "epoch": load_best(module, out) if config.keep == "best" else module.history[-1]["epoch"],
    }
    trained = module.best_student.cpu().eval()
    if finish:
        draw_curves(module.history, out / "curves.png")
        _finish(config, trained, samples, validation, path, provenance)
    else:
        save_student(path, trained, provenance)
    return path


def _provenance(effective: dict, samples: SampleSet, source: RunTeacher | None, module: MetricLearning) -> dict:
    """What is known of the run from its start, for every checkpoint."""
    known = {"kind": "metric learning", "config": without_places(effective), "data": samples.name}
    known["frames"] = len(samples)
    if source is None or module.distilling is None:
        return known
    taught = source.provenance | {"weights": dict(module.distilling.weights)}
    return known | {"kind": "distillation", "teacher": taught}


def _warn_of_shared(samples: SampleSet, validation: SampleSet) -> None:
    shared = check_apart(samples, validation)
    if shared:
        log.warning(
            "training and validation both have the area %s: if these are the same streets, the figures and the "
            "probabilities will be too good",
            ", ".join(shared),
        )


def _warn_of_unseen(source: RunTeacher, samples: SampleSet, config: TrainConfig) -> None:
    """The user should know what share of the set the teacher teaches; the online view refuses such samples."""
    if source.network is None or (config.distil is not None and config.distil.teacher_view == "online"):
        return
    unseen = len(samples) - len(samples.holding(source.network.inputs.sees))
    if 0 < unseen < len(samples):
        log.warning("%d of %d training samples have no cloud: there the task alone teaches", unseen, len(samples))


def _finish(
    config: TrainConfig,
    student: Student,
    samples: SampleSet,
    validation: SampleSet | None,
    path: Path,
    provenance: dict,
) -> None:
    """Projection and calibration where the network is one that a robot runs; else the weights."""
    if not isinstance(student, D2VPR):
        save_student(path, student, provenance)
        return
    finish_student(
        student,
        samples,
        validation,
        path,
        provenance,
        dim=config.projection_dim,
        whiten=config.whiten,
        seed=config.seed,
    )


def _samples(config: TrainConfig) -> SampleSet:
    if config.layout == "gsv-cities":
        root, *more = config.train
        if more:
            raise VprError("train: name one GSV-Cities folder, which holds all its cities")
        return GSVCities(root)
    return TrainingSetSamples(*config.train)


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
    frames = TrainingFrames(samples, size, config.variation, teacher=inputs, cloud=cloud, cache=config.cache)
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
            teacher, samples, distil, config.variation, out, seed=config.seed, workers=config.workers
        )

    module = MetricLearning(student, samples, config, source, embeddings, len(batches))
    return module, loader
