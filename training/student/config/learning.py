"""Settings of a student's losses: the task and the distillation."""

from dataclasses import dataclass, field
from typing import Literal

from vpr_ros.training.common.rules import Rule
from vpr_ros.training.data.augment.clouds import CloudAugmentConfig
from vpr_ros.training.losses import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS
from vpr_ros.training.student.teaching.space import Space
from vpr_ros.training.teachers import TEACHERS

TaskLoss = Literal["contrastive", "multi_similarity", "triplet", "none"]
Head = Literal["linear", "mlp", "none"]
TeacherView = Literal["cached", "online", "frozen"]
Confidence = Literal["none", "match"]


@dataclass(frozen=True)
class TaskConfig:
    """Metric learning by places."""

    loss: TaskLoss = "contrastive"  # triplet: of raw embeddings
    weight: float = 1.0  # beside a distillation; DistilVPR's is 0.5 (METHODS section 3.3)
    margin: float = 0.2  # of the triplets

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        return [
            (self.weight >= 0, "task: weight must be 0 or more"),
            (self.margin >= 0, "task: margin must be 0 or more"),
        ]


@dataclass(frozen=True)
class DistillationConfig:
    """Distillation from a teacher, whose embeddings are compared with the student's through a head or directly.

    `teacher_view`: `cached` embeds every sample once, without augmentation; `online` embeds the augmented sample that
    the student gets, at every step; `frozen` embeds one random augmentation of every sample once, as DistilVPR's
    released code does (METHODS section 3.2). Except for `online`, a set may hold samples without a cloud for a teacher
    that needs clouds: on these, the task's loss alone is minimised.
    """

    teacher: str = "minkloc++"  # a name of training.teachers.TEACHERS
    checkpoint: str = ""  # its weights; empty where it has none, and where the teacher is passed in Python
    options: dict = field(default_factory=dict)  # of the teacher, for published files of another size
    loss: str = "distilvpr-sc"  # a name of training.losses.DISTILLATION, or several joined by +
    weights: dict[str, float] = field(default_factory=dict)  # of single terms by name, in place of the loss's defaults
    scale: float = 1.0  # of the weighted sum
    head: Head = "linear"  # trained on top of the student, not exported; none: for equal widths
    head_for: Literal["all", "widths"] = "all"  # widths: only losses that need equal widths, others get the descriptor
    head_dim: int = 0  # its output; 0: the teacher's width
    teacher_space: Space = "raw"  # see `teaching/space.py`
    teacher_view: TeacherView = "cached"
    confidence: Confidence = "none"  # weight of a sample; match: how much nearer its best match is than its median one
    full_cloud: int = 0  # points; samples with fewer weigh less in proportion; 0: all alike
    cloud_augment: CloudAugmentConfig = field(default_factory=CloudAugmentConfig)  # of online and frozen views
    sparse: str = "auto"  # backend of the teacher's sparse convolutions

    @property
    def losses(self) -> tuple[str, ...]:
        """The names that `loss` joins."""
        return tuple(name.strip() for name in self.loss.split("+"))

    def rules(self) -> list[Rule]:
        """The conditions on the settings."""
        names = self.losses
        unknown = [name for name in names if name not in DISTILLATION]
        terms = [term for name in names for term in DISTILLATION_WEIGHTS.get(name, ())]
        twice = sorted({term for term in terms if terms.count(term) > 1})
        absent = sorted(set(self.weights) - set(terms))
        equal = not NEEDS_EQUAL_WIDTHS.isdisjoint(names)
        rules = [
            (self.teacher in TEACHERS, f"teacher is {self.teacher!r}; choose {', '.join(TEACHERS)}"),
            (not unknown, f"loss is {', '.join(unknown)}; choose of {', '.join(DISTILLATION)}"),
            (not twice, f"the losses of {self.loss} share the term {', '.join(twice)}: name one of them"),
            (not absent, f"{self.loss} has no term {', '.join(absent)}; it has {', '.join(terms)}"),
            (
                all(isinstance(weight, (int, float)) and weight >= 0 for weight in self.weights.values()),
                "weights are numbers of at least 0",
            ),
            (self.scale > 0, "scale must be above 0"),
            (not equal or not self.head_dim, f"head_dim must be 0 for {self.loss}: it compares equal widths"),
            (self.head_dim >= 0, "head_dim must be 0 (the teacher's width) or more"),
            (self.head != "none" or not self.head_dim, "head_dim is that of a head, and head is none"),
            (
                self.teacher_view != "online" or self.teacher_space == "raw",
                "teacher_space must be raw for teacher_view online: its statistics are those of all samples",
            ),
            (self.full_cloud >= 0, "full_cloud must be 0 (clouds weigh alike) or more points"),
            (
                self.teacher_view != "online" or (self.confidence == "none" and not self.full_cloud),
                "confidence and full_cloud are for teacher_view cached and frozen, which embed all samples first",
            ),
            (
                self.teacher_view != "cached" or self.cloud_augment == CloudAugmentConfig(),
                "cloud_augment is for teacher_view online and frozen; cached embeds clouds as they are",
            ),
        ]
        return [(holds, f"distillation: {reason}") for holds, reason in rules]
