"""The rules of the house: which room may import which, what stands in one module only, and what every module has."""

import ast
import importlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import vpr_ros

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = sorted(p for p in (ROOT / "vpr_ros").rglob("*.py") if not p.is_relative_to(ROOT / "vpr_ros" / "training"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
LONGEST = 350
MOST_MODULES = 16  # in one folder, without __init__.py

# Rooms from the ground up: a room imports only rooms that stand before it. Rooms joined in one line do not import one
# another.
LAYERS = (
    ("errors", "observation", "configuration", "colours", "idle_threads", "lazy", "plain_pickles"),
    ("lfs",),
    ("geometry", "atomic", "pictures", "plain_files"),
    ("tensor_files", "lidar"),
    ("sensors", "student"),
    ("local_features",),
    ("place_map",),
    ("recognition", "verification"),
    ("calibration",),
    ("training_set",),
    ("evaluation",),
    ("runtime",),
    ("offline",),
    ("training.losses", "training.sparse", "training.synthetic"),
    ("training.data",),
    ("training.teachers",),
    ("training.evaluation",),
    ("training.common",),
    ("training.export",),
    ("training.student", "training.teacher"),
    ("training.adapt",),
    ("cli", "nodes"),
)
# Only the named module may call these.
ONE_HOME = {
    "vpr_ros/atomic.py": r"\bos\.(replace|rename|link)\(",
    "vpr_ros/plain_files.py": r"\bnp\.load\(",
    "vpr_ros/runtime/opening.py": r"\bDescriptorExtractor\.from_checkpoint\(",
    "vpr_ros/pictures/codecs.py": r"\bcv2\.(imdecode|imencode|imread|imwrite)\b",
}


def imported_modules(node: ast.AST):
    """Absolute names that an import statement reaches for, `from a import b` counted as a and a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def only_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def imports(path: Path, only_at_import_time: bool):
    """Names imported by a module; with `only_at_import_time`, function bodies are left out."""
    found, waiting = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        found |= imported_modules(node)
        if only_at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if not only_for_type_checkers(node):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def reaches(names, package):
    return any(name == package or name.startswith(package + ".") for name in names)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("vpr_ros", *parts) if parts[0] == "training" else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(name: str) -> str:
    """The room of a module of the package: `sensors` of vpr_ros.sensors.images, `training.data` of its like."""
    parts = name.split(".")[1:]
    return ".".join(parts[:2] if parts[:1] == ["training"] else parts[:1])


def own_imports(path: Path, only_at_import_time: bool) -> set[str]:
    """Modules of this package that a module imports; the package itself where the name is not one of its modules."""
    known = {module_name(p) for p in RUNTIME + TRAINING}
    found = set()
    for name in imports(path, only_at_import_time):
        parent = name.rpartition(".")[0]
        if name in known:
            found.add(name)
        elif parent in known:
            found.add(parent)
    # `from vpr_ros.a import b` reaches vpr_ros.a as well, where b is a module: what counts is b.
    return {name for name in found if not any(other.startswith(name + ".") for other in found)} - {module_name(path)}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a loop, the first also at the end; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_the_finder_sees_imports_inside_and_outside_functions(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "import a.b\nfrom c import d\nclass K:\n    import e\n\ndef f():\n    import g\n"
        "if TYPE_CHECKING:\n    import h\n",
        encoding="utf-8",
    )
    assert imports(module, only_at_import_time=True) == {"a.b", "c", "c.d", "e"}
    assert imports(module, only_at_import_time=False) == {"a.b", "c", "c.d", "e", "g"}


def test_the_finder_sees_circles():
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_modules_do_not_import_each_other_in_circles():
    assert circle({module_name(p): own_imports(p, only_at_import_time=False) for p in RUNTIME + TRAINING}) == []


def test_every_room_stands_in_the_layers_once():
    listed = [room for layer in LAYERS for room in layer]
    assert sorted(listed) == sorted({room_of(module_name(p)) for p in RUNTIME + TRAINING} - {"", "training"})


@pytest.mark.parametrize("path", RUNTIME + TRAINING, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_only_rooms_below_them(path):
    height = {room: number for number, layer in enumerate(LAYERS) for room in layer}
    own = room_of(module_name(path))
    for name in own_imports(path, only_at_import_time=False):
        room = room_of(name)
        if own in height and room in height and room != own:
            assert height[room] < height[own], f"{path.relative_to(ROOT)} imports {name}, which is not below it"


@pytest.mark.parametrize("package", ["rclpy", "tf2_ros", "launch_ros", "cv_bridge"])
def test_ros_is_imported_by_the_nodes_only(package):
    outside = [p for p in RUNTIME + TRAINING if not p.is_relative_to(ROOT / "vpr_ros" / "nodes")]
    assert outside
    assert [str(p) for p in outside if reaches(imports(p, False), package)] == []


def test_production_imports_no_example():
    examples = ROOT / "vpr_ros" / "nodes" / "examples"
    others = [p for p in RUNTIME + TRAINING if not p.is_relative_to(examples)]
    assert [str(p) for p in others if reaches(imports(p, False), "vpr_ros.nodes.examples")] == []


def test_commands_import_training_when_they_run_and_nothing_else_does():
    for path in RUNTIME:
        assert not reaches(imports(path, True), "vpr_ros.training"), f"{path} imports training at import time"
        if not path.is_relative_to(ROOT / "vpr_ros" / "cli"):
            assert not reaches(imports(path, False), "vpr_ros.training"), f"{path} imports training"


@pytest.mark.parametrize("home", ONE_HOME)
def test_one_module_writes_whole_files_and_one_reads_pictures(home):
    assert re.search(ONE_HOME[home], (ROOT / home).read_text(encoding="utf-8"))
    others = [p for p in RUNTIME + TRAINING if p != ROOT / home]
    assert [str(p) for p in others if re.search(ONE_HOME[home], p.read_text(encoding="utf-8"))] == []


def test_heavy_libraries_are_imported_where_they_are_used():
    for path in RUNTIME + TRAINING:
        names = imports(path, True)
        assert not reaches(names, "open3d"), f"{path} imports open3d at import time"
        if not path.is_relative_to(ROOT / "vpr_ros" / "evaluation"):
            assert not reaches(names, "matplotlib"), f"{path} imports matplotlib at import time"


def test_every_training_module_imports_without_open3d_faiss_and_rosbags():
    modules = ["vpr_ros.training"]
    for path in TRAINING:
        if path.name == "minkowski_backend.py":
            continue  # imported only where MinkowskiEngine was asked for
        parts = path.relative_to(ROOT / "training").with_suffix("").parts
        modules.append(".".join(["vpr_ros.training", *(p for p in parts if p not in ("__init__", "__main__"))]))
    assert len(modules) > 1
    program = "\n".join(
        [
            "import importlib, sys",
            "for name in ('open3d', 'faiss', 'rosbags', 'rclpy'): sys.modules[name] = None",
            f"for name in {sorted(set(modules))!r}: importlib.import_module(name)",
        ]
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_help_does_not_load_the_heavy_libraries():
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom vpr_ros.cli import app\n"
        "result = CliRunner().invoke(app, ['map', '--help'])\nassert result.exit_code == 0, result.output\n"
        "heavy = {'numpy', 'scipy', 'torch', 'timm', 'faiss', 'cv2', 'rosbags', 'matplotlib', 'open3d'}\n"
        "heavy &= set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("path", RUNTIME + TRAINING, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_stays_short(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert len(text.splitlines()) <= LONGEST, f"{path} is longer than {LONGEST} lines"


@pytest.mark.parametrize("path", RUNTIME + TRAINING, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_is_written_in_one_style(path):
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert not [n.lineno for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level], "imports are absolute"
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = [ast.get_docstring(n) or "" for n in ast.walk(tree) if isinstance(n, documented)]
    assert not any("``" in docstring for docstring in docstrings), "names stand in single backticks"


def test_no_folder_holds_more_modules_than_a_person_can_overlook():
    counts = {}
    for path in RUNTIME + TRAINING:
        counts[path.parent] = counts.get(path.parent, 0) + (path.name != "__init__.py")
    assert {str(folder): n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_every_path_that_contributing_names_exists():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:vpr_ros|training|test|config|launch|docs|benchmarks)/[\w./-]*)`", page))
    assert len(paths) > 30
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_version_is_the_same_everywhere():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.findtext("version") == vpr_ros.__version__
    assert package.findtext("name") == "vpr_ros"
    maintainer = package.find("maintainer")
    assert maintainer is not None
    assert re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", maintainer.get("email", ""))


def test_imported_ros_packages_are_declared():
    declared = {e.text for e in ElementTree.parse(ROOT / "package.xml").getroot().iter("exec_depend")}
    ros_packages = ("rclpy", "launch", "launch_ros", "tf2_ros", "diagnostic_updater", "sensor_msgs_py")
    used = set()
    for path in [*(ROOT / "vpr_ros" / "nodes").rglob("*.py"), *(ROOT / "launch").glob("*.py")]:
        tops = {name.split(".")[0] for name in imports(path, False)}
        used |= {top for top in tops if top in ros_packages or top.endswith(("_msgs", "_srvs", "_interfaces"))}
    assert used <= declared


def test_entry_point_resolves():
    module, function = re.search(r"vpr_ros = ([\w.]+):(\w+)", (ROOT / "setup.py").read_text(encoding="utf-8")).groups()
    assert callable(getattr(importlib.import_module(module), function))
