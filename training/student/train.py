"""One training run of a student from configuration to checkpoint."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.student import D2VPR
from vpr_ros.training.common.curves import draw_curves
from vpr_ros.training.common.keeping import best_row, load_best
from vpr_ros.training.common.run_folder import BEST, LAST
from vpr_ros.training.common.trainer import fit as fit_module
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.export.runtime_checkpoint import CHECKPOINT, export_student
from vpr_ros.training.student.config import TrainConfig
from vpr_ros.training.student.networks import Student, save_student
from vpr_ros.training.student.prepare import PreparedRun, prepare
from vpr_ros.training.student.teacher_cache import TeacherLike
from vpr_ros.training.student.trainer import student_trainer
from vpr_ros.training.student.validation.progress import RECALLED, StudentProgress
from vpr_ros.training.student.validation.result import compare, recalls_of_run
from vpr_ros.training.student.validation.start import Start, measure_start

log = logging.getLogger(__name__)


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
    tell: Callable[[str], None] = log.info,
) -> Path:
    """Train with validation, write `<out>/student.safetensors` and return its path.

    `samples` and `validation` default to the configuration's folders, `teacher` to the checkpoint of its distillation
    section (embeddings (N, D) of the samples are accepted too), `student` to a new one. The checkpoint also gets its
    projection and calibration, which need training-set folders; with `weights_only` it holds the weights alone. `out`
    also gets `config.json`, `log.csv`, `steps/`, the teacher's embeddings and Lightning's `last.ckpt`; an interrupted
    run resumes from the last complete epoch and ends with the weights of an uninterrupted one (CPU, same thread count).
    `tell` gets sentences on the result. VprError, and no checkpoint, where it recognises less of the validation set
    than the start did, unless the configuration says `keep_worse`.
    """
    out = Path(out)
    run = prepare(config, out, resume=resume, samples=samples, validation=validation, teacher=teacher, student=student)
    fitted = fit(run, resume, tell)
    path = out / CHECKPOINT
    if fitted is not None:
        export(run, fitted, path, weights_only, tell)
    return path


def fit(run: PreparedRun, resume: bool, tell: Callable[[str], None]) -> FittedStudent | None:
    """Train; None in all processes except the first."""
    optimisation, module = run.config.optimisation, run.module
    progress = StudentProgress(
        lambda: measured_start(run), lambda: validation_recalls(run), optimisation.validate_every, run.out
    )
    trainer = student_trainer(run.config, run.out, progress)
    started = time.time()
    fit_module(trainer, module, run.out, resume, run.loader)
    if not trainer.is_global_zero:
        return None
    row = module.history[-1]
    if optimisation.keep == "best" and (best := best_row(module.history, RECALLED)) is not None:
        load_best(module, run.out)
        row = best
        if not row["epoch"] and run.measured is not None:
            tell(f"no epoch recognises more of {run.measured.called}'s queries than the start: its weights are kept")
    provenance = module.provenance | {
        "seconds": round(time.time() - started),
        "last_epoch": module.history[-1],
        "epoch": row["epoch"],
    }
    return FittedStudent(module.best_student.cpu().eval(), provenance)


def measured_start(run: PreparedRun) -> tuple[Start, dict] | None:
    """What the weights before the first step recognise, and the columns of epoch 0; None without a validation set."""
    if run.measured is None:
        return None
    teacher = None if run.teacher is None else run.teacher.network
    start = measure_start(run.measured, run.module.best_student, run.own, teacher, run.module.device)
    return start, start.row(run.measured.queries)


def validation_recalls(run: PreparedRun) -> dict:
    """Recall@1 of the validation set by condition; empty where there is none."""
    if run.measured is None:
        return {}
    queries = run.measured.queries
    return queries.recalls(queries.right(run.measured.describe(run.module.best_student)))


def export(
    run: PreparedRun, fitted: FittedStudent, path: Path, weights_only: bool, tell: Callable[[str], None]
) -> None:
    """Write the curves and the checkpoint, with projection and calibration for a D2-VPR student.

    VprError, and no checkpoint, where it is worse than the start and the configuration does not keep such a one.
    """
    settings, start = run.config.export, run.module.start
    kept = BEST if run.config.optimisation.keep == "best" else LAST
    refusal = "" if settings.keep_worse else f"nothing was written; --keep-worse writes it, {kept} holds the weights"

    def accept(right: np.ndarray, before: np.ndarray | None) -> dict:
        """The provenance of a result that answers these queries (Q,), against a start that answered those."""
        assert run.measured is not None
        if before is not None:
            compare(run.measured, right, before, tell, refusal)
        return {"recalls": recalls_of_run(run.measured, start, right)}

    if not weights_only:
        draw_curves(run.module.history, run.out / "curves.png")
    if weights_only or not isinstance(fitted.student, D2VPR):
        provenance = fitted.provenance
        if run.measured is not None:
            right = run.measured.queries.right(run.measured.describe(fitted.student))
            provenance |= accept(right, None if start is None else start.raw)
        save_student(path, fitted.student, provenance)
        return
    exported = export_student(
        fitted.student,
        run.samples,
        run.validation,
        path,
        fitted.provenance,
        dim=settings.projection_dim,
        whiten=settings.whiten,
        seed=run.config.optimisation.seed,
        projection=settings.projection,
        own=run.own,
        parts=settings.reduction,
        accept=lambda right: accept(right, None if start is None else start.run),
    )
    tell(exported.sentence)
