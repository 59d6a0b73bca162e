"""Launch files, parameter files and the documentation say the same as the declarations."""

import importlib
import re
import runpy
from pathlib import Path

import pytest
import yaml

from vpr_ros.nodes.launching.arguments import ARGUMENTS, COMMON
from vpr_ros.nodes.launching.arguments import markdown as launch_markdown
from vpr_ros.nodes.launching.description import RVIZ_TOPICS
from vpr_ros.runtime.parameters import documents
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
FILES = ("map", "localize", "record")
TABLES = {"vpr": VPR_PARAMETERS, "recorder": RECORDER_PARAMETERS}
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
SCRIPTS = dict(re.findall(r'"(\w+) = ([\w.]+:\w+)"', SETUP))
DOCS = (ROOT / "docs" / "ros.md").read_text(encoding="utf-8")


@pytest.fixture
def nodes(monkeypatch):
    """What each launch file starts, read without ROS."""
    monkeypatch.setattr("vpr_ros.nodes.launching.launch_description", lambda node: node)
    return {
        name: runpy.run_path(str(ROOT / "launch" / f"{name}.launch.py"))["generate_launch_description"]()
        for name in FILES
    }


def between(mark):
    return re.search(rf"<!-- {mark} -->\n(.*?)<!-- end -->", DOCS, re.DOTALL)[1]


@pytest.mark.parametrize("name", TABLES)
def test_the_shipped_file_has_every_parameter_at_its_default(name):
    text = (ROOT / "config" / f"{name}.yaml").read_text(encoding="utf-8")
    assert text == documents.yaml(TABLES[name]), f"python3 -m vpr_ros.nodes.parameters yaml {name}"
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert values == {p.name: p.default for p in TABLES[name]}
    assert {n: type(v) for n, v in values.items()} == {p.name: type(p.default) for p in TABLES[name]}
    assert max(len(line) for line in text.splitlines()) <= 120


@pytest.mark.parametrize("name", TABLES)
def test_the_documentation_lists_every_parameter(name):
    assert between(f"parameters {name}") == documents.markdown(TABLES[name])


def test_the_documentation_lists_every_launch_argument(nodes):
    assert between("launch arguments") == launch_markdown(nodes)


def test_launch_files_start_what_is_installed_and_configured(nodes):
    for name, node in nodes.items():
        assert node.executable in SCRIPTS, name
        declared = {p.name for p in TABLES[node.config.removesuffix(".yaml")]}
        assert set(node.parameters) <= declared
        own = {
            "map": "map_path",
            "output": "output",
            "mode": "mode",
            "checkpoint": "checkpoint",
            "device": "device",
            "verify": "verify",
            "pose_source": "pose_source",
        }
        assert {own[a] for a in node.arguments if a in own} <= declared
        assert all(description.endswith(".") for _, description in ARGUMENTS.values())
        assert set(node.arguments) <= set(ARGUMENTS) - set(COMMON)


def test_arguments_that_map_to_parameters_default_to_nothing(nodes):
    # A default would silently win over the user's parameter file.
    for name in ("mode", "checkpoint", "device", "verify", "compressed", "pose_source", "use_sim_time"):
        assert ARGUMENTS[name][0] == "", name


def test_launch_files_find_their_package_by_name():
    for file in [*(ROOT / "launch").glob("*.py"), *(ROOT / "vpr_ros" / "nodes" / "launching").glob("*.py")]:
        text = file.read_text(encoding="utf-8")
        assert "__file__" not in text and "/home" not in text


def test_every_executable_has_a_function():
    examples = {"loop_closure_example", "pose_graph_example", "amcl_handover"}
    assert set(SCRIPTS) == {"vpr_ros", "vpr_node", "recorder"} | examples
    for target in SCRIPTS.values():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))


def test_rviz_is_remapped_for_every_topic_that_it_shows():
    text = (ROOT / "config" / "vpr.rviz").read_text(encoding="utf-8")
    assert set(re.findall(r"Value: /vpr/([\w/]+)", text)) == set(RVIZ_TOPICS)


@pytest.mark.parametrize("file", FILES)
def test_every_argument_is_declared_with_its_description(file):
    pytest.importorskip("launch_ros")
    from launch import LaunchContext
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    description = get_launch_description_from_python_launch_file(str(ROOT / "launch" / f"{file}.launch.py"))
    declared = {argument.name: argument for argument in description.get_launch_arguments()}
    assert set(COMMON) < set(declared)
    for name, argument in declared.items():
        default, words = ARGUMENTS[name]
        assert argument.description == words
        assert "".join(part.perform(LaunchContext()) for part in argument.default_value) == default
