"""docs/datasets.md: its commands use the data sets, its settings are read."""

import shlex
from pathlib import Path

from page_commands import blocks

from vpr_ros.training.teacher.config import read_teacher_config
from vpr_ros.training.teachers.registry import load_teacher

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")

LINES = [line for block in blocks(PAGE, "bash") for line in block.splitlines()]
COMMANDS = [line.split(" #")[0] for line in LINES if line.startswith("vpr_ros")]


def test_the_page_has_commands():
    used = {shlex.split(line)[1] for line in COMMANDS}
    assert used >= {"convert", "map", "localize", "eval", "train", "frames", "doctor"}


def test_settings_are_read(tmp_path):
    (block,) = blocks(PAGE, "yaml")
    (tmp_path / "boreas.yaml").write_text(block)
    config = read_teacher_config(tmp_path / "boreas.yaml", {"data.train": ["sets"]})
    inputs = load_teacher(config.model.teacher, sparse="torch", **config.model.options).inputs
    assert (inputs.voxel_size, inputs.cloud_points, inputs.image_size) == (1.0, 4096, (256, 306))
