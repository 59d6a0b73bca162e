"""Teachers: networks that see images, clouds or both, and embed them for the student to learn from."""

from .files import save_teacher
from .inputs import TeacherInputs, collate
from .registry import TEACHERS, TeacherEntry, load_teacher
from .teacher import Teacher, check_unit

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
