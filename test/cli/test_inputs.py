"""What a call names is looked at before its command begins, for every command of the application."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer
from command_line import assert_sentence
from typer.testing import CliRunner

from vpr_ros.cli.app import app
from vpr_ros.cli.inputs import LARGEST_COUNT, Kind, look_at
from vpr_ros.errors import VprError

READ = ("BAG", "DRIVE", "MAP", "FILE", "FOLDER", "PATH")
FREE = ("NAME=VALUE", "NAME")  # kinds that are looked at by the command itself


def commands():
    """{words of a command: the command} of the whole application."""
    found, waiting = {}, [((), typer.main.get_command(app))]
    while waiting:
        words, command = waiting.pop()
        children = getattr(command, "commands", {})
        waiting += [((*words, name), child) for name, child in children.items()]
        if not children:
            found[words] = command
    return found


COMMANDS = commands()


def is_switch(parameter) -> bool:
    return getattr(parameter, "is_flag", False)


def valued(words):
    """The arguments and options of a command that take a value."""
    return [p for p in COMMANDS[words].params if not is_switch(p) and p.name != "help"]


def call(folder: Path, words, given):
    """The words of a call with `given` {parameter: text}, and with something of its kind for what else is required."""
    folder.mkdir(exist_ok=True)
    (folder / "a.vpr").write_bytes(b"SQLite format 3\0" + bytes(100))
    (folder / "a.txt").write_text("1\n", encoding="utf-8")
    (folder / "f").mkdir(exist_ok=True)
    (folder / "f" / "1.jpg").touch()
    right = {
        **dict.fromkeys(("BAG", "DRIVE", "FOLDER", "PATH"), folder / "f"),
        **{"MAP": folder / "a.vpr", "FILE": folder / "a.txt", "OUT": folder / "out.safetensors"},
        **{"CHECKPOINT": "nano", "TEXT": "names", "NAME": folder / "a.vpr"},
    }
    out = list(words)
    for parameter in COMMANDS[words].params:
        if parameter.name in given or parameter.required or parameter.param_type_name == "argument":
            value = str(given.get(parameter.name, right.get(parameter.metavar)))
            out += [value] if parameter.param_type_name == "argument" else [f"{max(parameter.opts, key=len)}={value}"]
    return out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_value_has_a_kind_that_is_looked_at(words):
    for parameter in valued(words):
        kind = parameter.metavar
        assert kind in get_args(Kind) or "|" in kind or kind in FREE, (words, parameter.name, kind)


WRONG = {
    **dict.fromkeys(READ, "no/such/place"),
    "CHECKPOINT": "no/such/place",
    "DEVICE": "abacus",
    "OUT": "/proc/version/out.safetensors",
    "NUMBER": "inf",
    "COUNT": str(10**30),
}


def test_no_command_loads_torch_for_a_value_that_cannot_be_right(tmp_path):
    """One process walks through all commands and all their values; the first import of torch ends it."""
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "import test_inputs as t\n"
        "tried = 0\n"
        "for words in t.COMMANDS:\n"
        "    for parameter in t.valued(words):\n"
        "        kind = parameter.metavar\n"
        "        wrong = 'bogus' if '|' in kind else t.WRONG.get(kind)\n"
        "        if wrong is None: continue\n"
        "        result = t.CliRunner().invoke(t.app, t.call(Path(sys.argv[1]), words, {parameter.name: wrong}))\n"
        "        assert result.exit_code == 2, (words, parameter.name, result.output, result.exception)\n"
        "        text = result.stderr.strip()\n"
        "        assert text.startswith('error: ') and '\\n' not in text, (words, parameter.name, text)\n"
        "        assert wrong in text or kind in ('NUMBER', 'COUNT', 'OUT'), (words, parameter.name, text)\n"
        "        assert 'torch' not in sys.modules, (words, parameter.name)\n"
        "        tried += 1\n"
        "assert not {'cv2', 'scipy', 'rosbags'} & set(sys.modules)\n"
        "print(tried)\n"
    )
    here, support = Path(__file__).parent, Path(__file__).parents[1] / "support"
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "work"), str(here), str(support)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert int(run.stdout) > 100


def test_neither_does_a_file_of_another_kind(tmp_path):
    program = (
        "import sys; from pathlib import Path; from typer.testing import CliRunner; from vpr_ros.cli import app\n"
        "text, empty, folder = (Path(sys.argv[1]) / name for name in ('a.txt', 'b.vpr', 'folder'))\n"
        "text.write_text('x' * 100), empty.touch(), folder.mkdir(), (folder / '1.jpg').touch()\n"
        "bad = [['map', text, '-o', 'x'], ['frames', text, '-o', 'x'], \n"
        "  ['localize', folder, '--map', text, '-o', 'x'],\n"
        "  ['localize', folder, '--map', empty, '-o', 'x'], ['redescribe', text], ['calibrate', text],\n"
        "  ['doctor', folder, '--map', text], ['align', text, text, '-o', 'x'], ['merge', text, '-o', 'x']]\n"
        "for words in bad:\n"
        "    result = CliRunner().invoke(app, [str(word) for word in words])\n"
        "    assert result.exit_code == 2 and result.stderr.startswith('error: '), (words, result.output)\n"
        "    assert result.stderr.count('\\n') == 1 and ('a.txt' in result.stderr or 'b.vpr' in result.stderr), words\n"
        "    assert 'torch' not in sys.modules, words\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]


def test_a_name_like_the_missing_one_is_offered(vpr, tmp_path):
    (tmp_path / "first").mkdir()
    assert_sentence(vpr("doctor", tmp_path / "frist"), f"is '{tmp_path / 'first'}' meant?")
    with pytest.raises(VprError, match=r"does not exist\.$"):
        look_at(tmp_path / "zzzz", "BAG")


@pytest.mark.parametrize(
    "arguments", [("doctor",), ("info",), ("map", "-o", "x"), ("frames", "-o", "x"), ("project", "-o", "x.safetensors")]
)
def test_devices_and_pipes_are_no_bags_and_maps(vpr, tmp_path, arguments):
    os.mkfifo(tmp_path / "pipe")
    command, *rest = arguments
    for path in ("/dev/zero", "/dev/null", tmp_path / "pipe"):
        assert_sentence(vpr(command, path, *rest), path)


def test_a_text_may_come_through_a_pipe_but_not_from_a_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    look_at(tmp_path / "pipe", "FILE")
    for kind, path in (("FILE", "/dev/zero"), ("MAP", tmp_path / "pipe")):
        with pytest.raises(VprError, match="no (file|map)"):
            look_at(Path(path), kind, "--option")


def test_a_file_is_no_folder_and_a_folder_no_file(tmp_path):
    (tmp_path / "file").write_text("text")
    for kind, path in (
        ("FILE", tmp_path),
        ("MAP", tmp_path),
        ("FOLDER", tmp_path / "file"),
        ("MAP", tmp_path / "file"),
    ):
        with pytest.raises(VprError, match="folder|place map"):
            look_at(path, kind)


@pytest.mark.parametrize("value", ["1e-300", "inf", "1e15", "nan", "-1", "0"])
def test_rates_that_no_camera_has_are_refused(vpr, tmp_path, value):
    (tmp_path / "pictures").mkdir()
    result = vpr("bag", tmp_path / "pictures", "-o", tmp_path / "bag", f"--rate-hz={value}")
    assert_sentence(result, "--rate-hz")
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e10, LARGEST_COUNT + 1, -(10**30)])
def test_numbers_are_finite_and_not_absurd(value):
    with pytest.raises(VprError, match="--spacing-m cannot be"):
        look_at(value, "NUMBER", "--spacing-m")
    look_at(1e9, "NUMBER")
    look_at(LARGEST_COUNT, "COUNT")


def test_a_wrong_call_is_one_sentence_that_names_the_help(vpr):
    for arguments in (
        ("map",),
        ("mop",),
        ("map", "--bog"),
        ("--bog",),
        ("prune", "x", "--max-keyframes", "0"),
        ("models", "lst"),
    ):
        result = vpr(*arguments)
        assert_sentence(result, "--help`")


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=" ".join)
def test_help_is_free_of_the_names_of_types(words):
    text = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, "--help"]).output
    assert not re.search(r"<\w+|list\[|\bPath\b|range\b", text), text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_begins_its_paragraphs_at_the_edge(words):
    assert COMMANDS[words].help and not re.search(r"\n\n +\S", COMMANDS[words].help)


def test_words_and_values_are_completed_by_the_shell():
    runner = CliRunner()

    def completed(words):
        environment = {"_VPR_ROS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return runner.invoke(app, [], prog_name="vpr_ros", env=environment).output.split()

    assert completed("vpr_ros loc") == ["localize"]
    assert completed("vpr_ros bag x --storage ") == ["mcap", "sqlite3"]
    assert "--map" in completed("vpr_ros localize --m")
