"""docs/training.md: its commands exist with these options, its settings are read, its names are those of the code."""

import dataclasses
import re
import shlex
import typing
from pathlib import Path

import pytest
import yaml
from page_commands import blocks, check_arguments

from vpr_ros.training.losses import DISTILLATION, NEEDS_EQUAL_WIDTHS
from vpr_ros.training.student.config import TrainConfig, read_config
from vpr_ros.training.teacher.config import TeacherConfig, read_teacher_config
from vpr_ros.training.teachers.registry import TEACHERS, load_teacher

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")


COMMANDS = [line for block in blocks(PAGE, "bash") for line in block.splitlines() if line.startswith("vpr_ros")]
COMMANDS += [one for one in re.findall(r"`(vpr_ros [a-z]+ [^`]+)`", PAGE) if "-" in one]
TEACHER, STUDENT, UNLABELLED, DEVICES = blocks(PAGE, "yaml")


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_take_these_arguments(line):
    check_arguments(line)


def test_the_page_goes_the_short_way_and_the_whole_one():
    used = [shlex.split(line)[1] for line in COMMANDS]
    short, way = ["adapt", "map", "localize"], ["doctor", "frames", "train", "export", "map", "calibrate", "localize"]
    assert used[: len(short)] == short
    whole = used[len(short) :]
    assert [whole.index(name) for name in way] == sorted(whole.index(name) for name in way)


def test_the_settings_are_read(tmp_path):
    for name, text in (("teacher", TEACHER), ("student", STUDENT), ("unlabelled", UNLABELLED), ("devices", DEVICES)):
        (tmp_path / f"{name}.yaml").write_text(text)
    teacher = read_teacher_config(tmp_path / "teacher.yaml")
    assert load_teacher(teacher.model.teacher, sparse="torch", **teacher.model.options).inputs.voxel_size == 1.0
    student = read_config(tmp_path / "student.yaml")
    assert student.distillation is not None and student.distillation.teacher == teacher.model.teacher
    assert student.optimisation.keep == "best" and student.data.validation
    unlabelled = read_config(tmp_path / "unlabelled.yaml")
    assert unlabelled.data.nominated and unlabelled.distillation is not None
    assert unlabelled.distillation.confidence == "match"
    assert read_config(tmp_path / "devices.yaml").hardware.devices == "4"


def keys_of(config):
    """Names of the settings of a configuration class and of its groups, at any depth."""
    hints = typing.get_type_hints(config)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(config)}
    kinds = [kind for hint in fields.values() for kind in (hint, *typing.get_args(hint))]
    groups = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    return set(fields).union(*(keys_of(group) for group in groups))


def test_keys_that_are_spoken_of_exist():
    keys = keys_of(TrainConfig) | keys_of(TeacherConfig)
    # `voxel_size: 1.0` and the like: what a reader would put into a file
    named = {one for line in re.findall(r"`([a-z_]+): [^`]+`", PAGE) for one in [line]}
    assert named <= keys, named - keys


def test_every_distillation_loss_is_in_the_table_with_its_widths():
    rows = [line for line in PAGE.splitlines() if re.match(r"\| `[a-z-]+`.*\| (equal|any) \|", line)]
    listed = {name: row.split("|")[3].strip() for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert {name for name in DISTILLATION if not name.endswith("-released")} == set(listed)
    assert {name for name, widths in listed.items() if widths == "equal"} == NEEDS_EQUAL_WIDTHS & set(listed)
    for name in DISTILLATION:
        assert f"`{name}`" in PAGE, name


def test_teachers_of_the_table_exist():
    table = PAGE[PAGE.index("| teacher | sees") : PAGE.index("* Published settings")]
    names = re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)
    assert names and set(names) <= set(TEACHERS)


def test_recipes_that_it_names_are_there():
    for name in re.findall(r"config/training/[\w.]+\.yaml", PAGE):
        assert isinstance(yaml.safe_load((ROOT / name).read_text()), dict), name
