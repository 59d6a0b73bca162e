"""Teachers: networks that embed images, clouds or both, for the distillation of a student."""

from vpr_ros.training.teachers.checkpoints import save_teacher
from vpr_ros.training.teachers.inputs import TeacherInputs, collate
from vpr_ros.training.teachers.registry import TEACHERS, TeacherEntry, load_teacher
from vpr_ros.training.teachers.teacher import Teacher, check_unit

__all__ = [
    "TEACHERS",
    "Teacher",
    "TeacherEntry",
    "TeacherInputs",
    "check_unit",
    "collate",
    "load_teacher",
    "save_teacher",
]
