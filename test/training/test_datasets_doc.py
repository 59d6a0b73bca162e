"""docs/datasets.md: its commands exist with these options, its Python imports, its settings are read."""

import re
import shlex
from pathlib import Path

import pytest
from page_commands import blocks, check_arguments

from vpr_ros.training.teacher.config import read_teacher_config
from vpr_ros.training.teachers.registry import load_teacher

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")

LINES = [line for block in blocks(PAGE, "bash") for line in block.splitlines()]
COMMANDS = [line.split(" #")[0] for line in LINES if line.startswith("vpr_ros")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_take_these_arguments(line):
    check_arguments(line)


def test_the_page_has_commands():
    used = {shlex.split(line)[1] for line in COMMANDS}
    assert used >= {"convert", "map", "localize", "eval", "train", "frames", "doctor"}


@pytest.mark.parametrize("block", blocks(PAGE, "python"))
def test_python_imports(block):
    exec("\n".join(line for line in block.splitlines() if line.startswith(("from ", "import "))), {})


def test_settings_are_read(tmp_path):
    (block,) = blocks(PAGE, "yaml")
    (tmp_path / "boreas.yaml").write_text(block)
    config = read_teacher_config(tmp_path / "boreas.yaml", {"data.train": ["sets"]})
    inputs = load_teacher(config.model.teacher, sparse="torch", **config.model.options).inputs
    assert (inputs.voxel_size, inputs.cloud_points, inputs.image_size) == (1.0, 4096, (256, 306))


def test_links_lead_somewhere():
    titles = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (Path(__file__).resolve().parents[2] / "docs" / target).exists(), target
