"""What the weights before a run's first step recognise of its validation set, and what their teacher does."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vpr_ros.student import AnyProjection
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.retrieval import Queries, recall_by_condition
from vpr_ros.training.student.networks import Student
from vpr_ros.training.teachers import Teacher

BATCH = 64
log = logging.getLogger(__name__)


class Validation:
    """A validation set with its queries; `called` is what sentences call it: the names of its folders."""

    def __init__(self, samples: SampleSet, folders: tuple[str, ...] = ()):
        self.samples, self.queries = samples, Queries(samples)
        self.called = " and ".join(Path(folder).name for folder in folders) or samples.name

    def describe(self, student: Student) -> np.ndarray:
        """Descriptors (N, D) of all its frames, without a projection."""
        return embed(student, self.samples.select(modalities=("image",)), BATCH)


@dataclass(frozen=True)
class Start:
    """Which queries (Q,) the start answers right, and the recalls by condition of the teacher.

    `raw` is by the network's own descriptors, as epochs are measured; `run` as a robot runs the start, with the
    projection of its checkpoint: the same where it has none. `teacher` is empty where there is none to measure.
    """

    raw: np.ndarray
    run: np.ndarray
    projected: bool  # whether it has a projection
    teacher: dict[str, float]

    def row(self, queries: Queries) -> dict[str, float]:
        """The columns of epoch 0."""
        row = queries.recalls(self.raw)
        if self.projected:
            row["with_projection"] = queries.recalls(self.run)["all"]
        return row | ({"teacher": self.teacher["all"]} if self.teacher else {})

    def stored(self) -> dict[str, Any]:
        """As plain values and tensors, for the checkpoints of the run."""
        return {**vars(self), "raw": torch.from_numpy(self.raw), "run": torch.from_numpy(self.run)}

    @classmethod
    def read(cls, stored: dict[str, Any]) -> "Start":
        """What `stored` gave."""
        return cls(**stored | {name: stored[name].numpy() for name in ("raw", "run")})


def measure_start(
    validation: Validation, student: Student, own: AnyProjection | None, teacher: Teacher | None, device: torch.device
) -> Start:
    """Measure the student, with its `own` projection too, and its teacher; warn of a teacher that is below it."""
    descriptors, queries = validation.describe(student), validation.queries
    raw = queries.right(descriptors)
    run = raw if own is None else queries.right(own.apply(descriptors))
    taught = {} if teacher is None else _teacher_recalls(validation, descriptors, teacher, device)
    return Start(raw, run, own is not None, taught)


def _teacher_recalls(
    validation: Validation, descriptors: np.ndarray, teacher: Teacher, device: torch.device
) -> dict[str, float]:
    """The teacher's recalls among the frames that hold what it sees, by the student's measure; empty where none do."""
    seen = validation.samples.holding(teacher.inputs.modalities)
    samples = validation.samples.select(seen, teacher.inputs.modalities)
    student = recall_by_condition(descriptors[seen], samples)
    if not student:
        return {}
    before = teacher.device
    taught = recall_by_condition(embed(teacher.to(device), samples), samples, teacher.measure)
    teacher.to(before)
    if taught["all"] < student["all"]:
        log.warning(
            "the teacher recognises %.3f of %s's queries, the student %.3f before its first step: it can hardly teach "
            "it; train the teacher longer, or leave the distillation out",
            *(taught["all"], validation.called, student["all"]),
        )
    return taught
