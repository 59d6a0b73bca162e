"""docs/datasets.md: its commands exist with these options, its Python imports, its settings are read."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from vpr_ros.cli import app
from vpr_ros.training.engine.teacher_config import read_teacher_config
from vpr_ros.training.teachers.registry import load_teacher

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


LINES = [line for block in blocks("bash") for line in block.splitlines()]
COMMANDS = [line.split(" #")[0] for line in LINES if line.startswith("vpr_ros")]


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_take_these_arguments(line):
    command, arguments = typer.main.get_command(app), shlex.split(line)[1:]
    context = command.make_context("vpr_ros", [], resilient_parsing=True)
    while hasattr(command, "get_command"):
        name = arguments.pop(0)
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
        context = typer.Context(command, parent=context, info_name=name)
    command.make_context(context.info_name, arguments)  # unknown options and missing arguments raise


def test_the_page_has_commands():
    used = {shlex.split(line)[1] for line in COMMANDS}
    assert used >= {"convert", "map", "localize", "eval", "train", "frames", "doctor"}


@pytest.mark.parametrize("block", blocks("python"))
def test_python_imports(block):
    exec("\n".join(line for line in block.splitlines() if line.startswith(("from ", "import "))), {})


def test_settings_are_read(tmp_path):
    (block,) = blocks("yaml")
    (tmp_path / "boreas.yaml").write_text(block)
    config = read_teacher_config(tmp_path / "boreas.yaml", train=["sets"])
    inputs = load_teacher(config.teacher, sparse="torch", **config.options).inputs
    assert (inputs.voxel_size, inputs.cloud_points, inputs.image_size) == (1.0, 4096, (256, 306))


def test_links_lead_somewhere():
    titles = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (Path(__file__).resolve().parents[2] / "docs" / target).exists(), target
