"""What README.md, CONTRIBUTING.md, BENCHMARK.md and docs/ name exists: commands, options, files, modules, topics."""

import importlib
import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer
from page_commands import blocks, check_arguments

from vpr_ros.cli.app import app
from vpr_ros.nodes.launching.arguments import ARGUMENTS, argument_names
from vpr_ros.runtime.parameters.tables import RECORDER_PARAMETERS, VPR_PARAMETERS

ROOT = Path(__file__).resolve().parents[1]
NAMES = (
    "README.md",
    "CONTRIBUTING.md",
    "BENCHMARK.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
FENCED = re.compile(r"```.*?```", re.DOTALL)
ROOMS = ("vpr_ros", "training", "test", "benchmarks", "config", "docs", "launch")  # first folders of our paths
NOT_OURS = {"--help", "--symlink-install", "--show-args"}  # options of click, colcon and ros2 in running text


def spans(page):
    """Code in running text."""
    return sorted({" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", page))})


def shell_lines(page):
    """Commands of the shell blocks, one each, without comments."""
    text = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    parts = [part.split(" #")[0].strip() for line in text.splitlines() for part in line.split("&&")]
    return [part for part in parts if part and not part.startswith("#")]


def options_of(command):
    return {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def all_options(command):
    return options_of(command).union(*(all_options(child) for child in getattr(command, "commands", {}).values()))


SHELL = sorted({line for page in PAGES.values() for line in shell_lines(page)})
SPANS = sorted({span for page in PAGES.values() for span in spans(page)})
CALLS = SHELL + SPANS
COMMAND = typer.main.get_command(app)
LAUNCHES = [call for call in CALLS if call.startswith("ros2 launch vpr_ros ")]
SETUP = (ROOT / "setup.py").read_text(encoding="utf-8")
PUBLISHED = (ROOT / "vpr_ros/nodes/outputs/publishers.py").read_text(encoding="utf-8")
SERVED = "".join(
    (ROOT / f"vpr_ros/nodes/{name}.py").read_text(encoding="utf-8") for name in ("vpr", "map_node", "queries")
)


@pytest.mark.parametrize("line", [line for line in SHELL if line.startswith("vpr_ros ")])
def test_commands_take_these_arguments(line):
    check_arguments(line)


@pytest.mark.parametrize("span", [span for span in SPANS if span.startswith("vpr_ros ")])
def test_commands_of_running_text_exist(span):
    command, words = COMMAND, shlex.split(span)[1:]
    while words and hasattr(command, "commands") and re.fullmatch("[a-z]+", words[0]):
        assert words[0] in command.commands
        command = command.commands[words.pop(0)]
    given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert given <= options_of(command) | NOT_OURS


@pytest.mark.parametrize("name", PAGES)
def test_options_of_running_text_exist(name):
    """An option that stands alone belongs to some command, on the page of measurements to some measurement."""
    known = all_options(COMMAND) | NOT_OURS
    known |= {option for path in (ROOT / "benchmarks").glob("*.py") for option in benchmark_options(path)}
    given = {word for span in spans(PAGES[name]) if span.startswith("--") for word in span.split() if word[:2] == "--"}
    assert given - known - {"--ros-args", "--logdir"} == set()


def benchmark_options(path):
    return set(re.findall(r'add_argument\(\s*"(--[\w-]+)"', path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("call", [call for call in CALLS if re.search(r"\bbenchmarks/\w+\.py", call)])
def test_measurements_take_these_options(call):
    path = ROOT / re.search(r"benchmarks/\w+\.py", call)[0]
    assert path.is_file()
    assert set(re.findall(r"(?<=\s)--[\w-]+", call)) <= benchmark_options(path)


@pytest.mark.parametrize("name", PAGES)
def test_files_and_folders_exist(name):
    words = {
        word for span in [*spans(PAGES[name]), *shell_lines(PAGES[name])] for word in re.split(r"[\s\"'>:=]+", span)
    }
    ours = {word for word in words if re.fullmatch(rf"({'|'.join(ROOMS)})/[\w./-]*", word)}
    tests = {f"test/{word}" for word in words if re.fullmatch(r"test_\w+\.py", word)}
    absent = {word for word in ours if not (ROOT / word).exists()}
    absent |= {word for word in tests if not list((ROOT / "test").rglob(Path(word).name))}
    assert absent == set()


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[name]):
        file, _, anchor = target.partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), target
        titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}, target


def test_modules_import():
    text = " ".join(SPANS + SHELL)
    for dotted in sorted(set(re.findall(r"\bvpr_ros(?:\.\w+)+", text))):
        importlib.import_module(dotted)
    for page in PAGES.values():
        for block in blocks(page, "python"):
            lines = re.findall(r"^(?:from|import) vpr_ros.*$", block, re.MULTILINE)
            exec("\n".join(lines), {})


@pytest.mark.parametrize("call", LAUNCHES)
def test_launch_files_take_these_arguments(call, monkeypatch):
    monkeypatch.setattr("vpr_ros.nodes.launching.launch_description", lambda node: node)
    node = runpy.run_path(str(ROOT / "launch" / call.split()[3]))["generate_launch_description"]()
    assert set(re.findall(r"(\w+):=", call)) <= set(argument_names(node))


def test_executables_and_their_parameters_exist():
    runs = [call for call in CALLS if call.startswith("ros2 run vpr_ros ")]
    assert runs
    for call in runs:
        name = call.split()[3]
        assert re.search(rf'"{name} = ', SETUP), call
        if name == "vpr_node":
            assert set(re.findall(r"-p (\w+):=", call)) <= {one.name for one in VPR_PARAMETERS}


def test_parameters_and_launch_arguments_of_running_text_exist():
    known = {one.name for one in (*VPR_PARAMETERS, *RECORDER_PARAMETERS)} | set(ARGUMENTS)
    page = PAGES["docs/ros.md"]
    known |= {"max_std_m", "frames"}  # of the two examples
    known |= {"success", "bond_timeout"}  # of a service's answer, of nav2
    given = {name for span in spans(page) for name in re.findall(r"^(?:-p )?([a-z_]+): ?=? ?\S", span)}
    assert given <= known


def test_topics_and_services_are_those_of_the_node():
    published = set(re.findall(r'^    "([\w/]+)": \(', PUBLISHED, re.MULTILINE))
    served = set(re.findall(r'"~/([\w/]+)"', SERVED))  # services, and the topic that stands for one
    assert published and served
    table = {name for row in PAGES["docs/ros.md"].splitlines() for name in re.findall(r"^\| `~/([\w/]+)` \|", row)}
    assert table == published | served
    named = {name for span in SPANS for name in re.findall(r"^~/([\w/]+)$", span)}
    assert named <= published | served


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    variables = set(re.findall(r"^([A-Z]+) \?=|\$\(([A-Z]+)\)", makefile, re.MULTILINE))
    variables = {name for pair in variables for name in pair if name}
    for call in CALLS:
        if re.match(r"make\b(?! \w+ \w)", call):
            for word in shlex.split(call)[1:]:
                name, is_setting, _ = word.partition("=")
                assert name in variables if is_setting else re.search(rf"^{name}:", makefile, re.MULTILINE), call
