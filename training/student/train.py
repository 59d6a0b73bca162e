"""One training run of a student from configuration to checkpoint."""

import time
from dataclasses import dataclass
from pathlib import Path

from vpr_ros.student import D2VPR
from vpr_ros.training.common.curves import draw_curves
from vpr_ros.training.common.trainer import fit as fit_module
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training.export.runtime_checkpoint import CHECKPOINT, export_student
from vpr_ros.training.student.config import TrainConfig
from vpr_ros.training.student.networks import Student, save_student
from vpr_ros.training.student.prepare import PreparedRun, prepare
from vpr_ros.training.student.teacher_cache import TeacherLike
from vpr_ros.training.student.trainer import load_best, student_trainer

BATCH = 64


@dataclass(frozen=True)
class FittedStudent:
    """The student that a run keeps, in evaluation mode on the CPU, with its provenance."""

    student: Student
    provenance: dict


def train(
    config: TrainConfig,
    out: str | Path,
    *,
    resume: bool = True,
    samples: SampleSet | None = None,
    validation: SampleSet | None = None,
    teacher: TeacherLike | None = None,
    student: Student | None = None,
    weights_only: bool = False,
) -> Path:
    """Train with validation, write `<out>/student.safetensors` and return its path.

    `samples` and `validation` default to the configuration's folders, `teacher` to the checkpoint of its distillation
    section (embeddings (N, D) of the samples are accepted too), `student` to a new one. The checkpoint also gets its
    projection and calibration, which need training-set folders; with `weights_only` it holds the weights alone. `out`
    also gets `config.json`, `log.csv`, `steps/`, the teacher's embeddings and Lightning's `last.ckpt`; an interrupted
    run resumes from the last complete epoch and ends with the weights of an uninterrupted one (CPU, same thread count).
    """
    out = Path(out)
    run = prepare(config, out, resume=resume, samples=samples, validation=validation, teacher=teacher, student=student)
    fitted = fit(run, resume)
    path = out / CHECKPOINT
    if fitted is not None:
        export(run, fitted, path, weights_only)
    return path


def fit(run: PreparedRun, resume: bool) -> FittedStudent | None:
    """Train; None in all processes except the first."""
    trainer, module = student_trainer(run.config, run.out, lambda: validation_recalls(run)), run.module
    started = time.time()
    fit_module(trainer, module, run.out, resume, run.loader)
    if not trainer.is_global_zero:
        return None
    provenance = module.provenance | {
        "seconds": round(time.time() - started),
        "last_epoch": module.history[-1],
        "epoch": load_best(module, run.out) if run.config.optimisation.keep == "best" else module.history[-1]["epoch"],
    }
    return FittedStudent(module.best_student.cpu().eval(), provenance)


def validation_recalls(run: PreparedRun) -> dict:
    """Recall@1 of the validation set by condition; empty where there is none."""
    if run.validation is None:
        return {}
    descriptors = embed(run.module.best_student, run.validation.select(modalities=("image",)), BATCH)
    return recall_by_condition(descriptors, run.validation)


def export(run: PreparedRun, fitted: FittedStudent, path: Path, weights_only: bool) -> None:
    """Write the curves and the checkpoint, with projection and calibration for a D2-VPR student."""
    if not weights_only:
        draw_curves(run.module.history, run.out / "curves.png")
    if weights_only or not isinstance(fitted.student, D2VPR):
        save_student(path, fitted.student, fitted.provenance)
        return
    export_student(
        fitted.student,
        run.samples,
        run.validation,
        path,
        fitted.provenance,
        dim=run.config.export.projection_dim,
        whiten=run.config.export.whiten,
        seed=run.config.optimisation.seed,
        parts=run.config.export.reduction,
    )
