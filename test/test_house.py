"""The rules of the house: who may import whom, and what every module has."""

import ast
import importlib
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import vpr_ros

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = sorted(p for p in (ROOT / "vpr_ros").rglob("*.py") if not p.is_relative_to(ROOT / "vpr_ros" / "training"))
TRAINING = sorted((ROOT / "training").rglob("*.py"))
LONGEST = 350


def imported_modules(node: ast.AST):
    """Absolute names that an import statement reaches for, `from a import b` counted as a and a.b."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def imports(path: Path, only_at_import_time: bool):
    """Names imported by a module; with `only_at_import_time`, function bodies are left out."""
    found, waiting = set(), [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        found |= imported_modules(node)
        if only_at_import_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        waiting.extend(ast.iter_child_nodes(node))
    return found


def reaches(names, package):
    return any(name == package or name.startswith(package + ".") for name in names)


def test_the_finder_sees_imports_inside_and_outside_functions(tmp_path):
    module = tmp_path / "module.py"
    module.write_text(
        "import a.b\nfrom c import d\nclass K:\n    import e\n\ndef f():\n    import g\n", encoding="utf-8"
    )
    assert imports(module, only_at_import_time=True) == {"a.b", "c", "c.d", "e"}
    assert imports(module, only_at_import_time=False) == {"a.b", "c", "c.d", "e", "g"}


@pytest.mark.parametrize("package", ["rclpy", "tf2_ros", "launch_ros", "cv_bridge"])
def test_ros_is_imported_by_the_nodes_only(package):
    outside = [p for p in RUNTIME + TRAINING if not p.is_relative_to(ROOT / "vpr_ros" / "nodes")]
    assert outside
    assert [str(p) for p in outside if reaches(imports(p, False), package)] == []


def test_runtime_never_imports_training_but_for_commands():
    for path in RUNTIME:
        assert not reaches(imports(path, True), "vpr_ros.training"), f"{path} imports training at import time"
        # The recorder is to ROS what a training command is to the command line.
        if not path.is_relative_to(ROOT / "vpr_ros" / "cli") and path.name != "recorder.py":
            assert not reaches(imports(path, False), "vpr_ros.training"), f"{path} imports training"


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
        "heavy = {'torch', 'timm', 'faiss', 'cv2', 'rosbags', 'matplotlib', 'open3d'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("path", RUNTIME + TRAINING, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is_and_stays_short(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{path} has no docstring"
    assert len(text.splitlines()) <= LONGEST, f"{path} is longer than {LONGEST} lines"


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
