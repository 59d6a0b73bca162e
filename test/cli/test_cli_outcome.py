"""How commands end: outputs that are kept, replaced or brought back, and interrupts by signal."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import assert_sentence

from vpr_ros.atomic import held
from vpr_ros.cli.outcome.interrupts import interrupts_say
from vpr_ros.cli.outcome.outputs import MARK, fresh, growing
from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceMap

ROOT = Path(__file__).resolve().parents[2]


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def fill(folder, text):
    (folder / "run.json").write_text("{}")
    (folder / "matches.jsonl").write_text(text)


def grow(path, text, force=False, error=None):
    """Write a run of these lines; `error` is raised at its end."""
    with growing(path, force, "matches.jsonl", "`vpr_ros report run` shows it") as folder:
        assert MARK in names(folder)
        fill(folder, text)
        if error is not None:
            raise error


@pytest.mark.parametrize("error", [VprError("the disk is full."), OSError(28, "No space left on device")])
def test_a_folder_with_answers_stays_and_one_without_goes(tmp_path, error):
    path = tmp_path / "run"
    with pytest.raises(VprError) as caught:
        grow(path, "", error=error)
    assert names(tmp_path) == [] and "stands in" not in str(caught.value)
    with pytest.raises(VprError, match=rf"full|space.*; what was made until then stands in '{path}'; `vpr_ros report"):
        grow(path, "one\ntwo\n", error=error)
    assert names(path) == sorted([MARK, "matches.jsonl", "run.json"])
    with pytest.raises(VprError) as caught:
        grow(path, "three\n")
    assert "It has matches.jsonl (2 lines), run.json; `vpr_ros report run` shows it" in str(caught.value)
    assert "add --force to begin again" in str(caught.value) and (path / "matches.jsonl").read_text() == "one\ntwo\n"
    grow(path, "three\n", force=True)
    assert names(path) == ["matches.jsonl", "run.json"] and names(tmp_path) == ["run"]


def test_a_former_output_comes_back_where_nothing_was_made_and_is_named_where_something_was(tmp_path):
    path = tmp_path / "run"
    grow(path, "former\n")
    with pytest.raises(VprError, match="exists already: choose another name, or add --force to replace it"):
        grow(path, "new\n")
    with pytest.raises(VprError, match="bad bag$"):
        grow(path, "", force=True, error=VprError("bad bag"))
    assert (path / "matches.jsonl").read_text() == "former\n" and names(tmp_path) == ["run"]
    former = tmp_path / ".run.former"
    with pytest.raises(VprError, match=f"stands in '{path}', the former one in '{former}'"):
        grow(path, "new\n", force=True, error=VprError("full"))
    assert (former / "matches.jsonl").read_text() == "former\n" and (path / "matches.jsonl").read_text() == "new\n"
    with pytest.raises(KeyboardInterrupt, match="what was made until then stands in"):
        grow(path, "newer\n", force=True, error=KeyboardInterrupt())
    assert (former / "matches.jsonl").read_text() == "former\n", "of a whole output and a part, the whole one is kept"
    grow(path, "newest\n", force=True)
    assert (path / "matches.jsonl").read_text() == "newest\n" and names(tmp_path) == ["run"]


def test_a_kill_between_setting_aside_and_beginning_is_undone(tmp_path):
    path = tmp_path / "run"
    grow(path, "former\n")
    path.rename(tmp_path / ".run.former")
    with pytest.raises(VprError, match="exists already"):
        grow(path, "new\n")
    assert (path / "matches.jsonl").read_text() == "former\n" and names(tmp_path) == ["run"]


def test_a_folder_that_another_process_writes_is_left_alone(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(VprError):
        grow(path, "one\n", error=VprError("full"))
    with held(path / MARK), pytest.raises(VprError, match="is being written by another process"):
        grow(path, "two\n", force=True)
    assert (path / "matches.jsonl").read_text() == "one\n"


def test_a_file_changes_only_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / "map.csv"
    path.write_text("former")
    with pytest.raises(VprError, match="exists already"), fresh(path, force=False):
        pass
    with pytest.raises(VprError, match=rf"^cannot write {path}: full$"), fresh(path, force=True) as draft:
        draft.write_text("half")
        assert path.read_text() == "former"
        raise VprError(f"cannot write {draft}: full")
    with pytest.raises(KeyboardInterrupt, match=f"'{path}' is as it was"), fresh(path, force=True) as draft:
        raise KeyboardInterrupt
    assert path.read_text() == "former" and names(tmp_path) == ["map.csv"]
    with pytest.raises(KeyboardInterrupt, match="was not made"), fresh(tmp_path / "new", force=False) as draft:
        raise KeyboardInterrupt
    with fresh(path, force=True) as draft:
        draft.write_text("whole")
    assert path.read_text() == "whole" and names(tmp_path) == ["map.csv"]


def test_an_interrupt_says_what_the_innermost_knows():
    with pytest.raises(KeyboardInterrupt, match="^epochs are kept$"), interrupts_say("run it again"):
        with interrupts_say("epochs are kept"):
            raise KeyboardInterrupt
    with pytest.raises(ValueError), interrupts_say("run it again"):
        raise ValueError


WAITING = """
import signal, time
from vpr_ros.cli import app, main
from vpr_ros.cli.outcome.interrupts import interrupts_say

@app.command()
def wait():
    with interrupts_say("half of it is kept"):
        print("waiting", flush=True)
        time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)]
)
def test_each_signal_has_its_exit_code_and_a_sentence(number, code):
    command = [sys.executable, "-c", WAITING, "wait"]

    def heed():  # the tests may run under nohup, which children inherit
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)

    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=ROOT, preexec_fn=heed, **pipes)
    assert process.stdout.readline() == "waiting\n"
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said == ("" if number == signal.SIGKILL else "error: interrupted: half of it is kept\n")


def interrupted(*_, **__):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("patched", "arguments", "words"),
    [
        (
            "vpr_ros.training.synthetic.render_training_set",
            ("render", "OUT"),
            "finished drives are kept in OUT; the same",
        ),
        (
            "vpr_ros.training.data.convert.robotcar.convert_robotcar",
            ("convert", "robotcar", "FOLDER", "-o", "OUT"),
            "finished parts are kept in OUT; the same command goes on from there",
        ),
        (
            "vpr_ros.training.data.convert.boreas.convert_boreas",
            ("convert", "boreas", "FOLDER", "-o", "OUT"),
            "finished parts are kept in OUT; the same command goes on from there",
        ),
        ("vpr_ros.sensors.folder_to_bag", ("bag", "FOLDER", "-o", "OUT"), "'OUT' was not made"),
        ("vpr_ros.place_map.merge", ("merge", "MAP", "MAP", "-o", "OUT"), "'OUT' was not made"),
        ("vpr_ros.place_map.redescribe", ("redescribe", "MAP", "-c", "CHECKPOINT"), "MAP has its former descriptors"),
        (
            "vpr_ros.offline.calibrate_map.calibrate_from_map",
            ("calibrate", "MAP", "-c", "CHECKPOINT"),
            "MAP has its former calibration",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_interrupted_commands_say_what_is_kept(
    patched, arguments, words, first_map, checkpoint, vpr, tmp_path, monkeypatch
):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.jpg").write_bytes(b"not looked at")
    names = {"OUT": tmp_path / "out", "FOLDER": tmp_path / "pictures", "MAP": first_map, "CHECKPOINT": checkpoint}
    monkeypatch.setattr(patched, interrupted)
    before = first_map.read_bytes()
    result = vpr(*(names.get(argument, argument) for argument in arguments))
    for name, path in names.items():
        words = words.replace(name, str(path))
    assert result.exit_code == 130 and words in result.stderr and result.stderr.count("\n") == 1, result.output
    assert not (tmp_path / "out").exists()
    with PlaceMap.open(first_map) as place_map:
        assert len(place_map) == 30 and len(before) == first_map.stat().st_size


def test_a_demo_that_fails_at_its_report_keeps_bags_map_and_run(vpr, tmp_path, monkeypatch):
    pytest.importorskip("open3d")
    out = tmp_path / "demo"

    def failing(folder, *_):
        (folder / "town.vpr").write_text("a map")
        raise VprError("cannot write report.html: No space left on device")

    monkeypatch.setattr("vpr_ros.cli.demo._main_job", failing)
    assert_sentence(vpr("demo", "--out", out), f"No space left on device; what was made until then stands in '{out}'")
    assert names(out) == ["town.vpr", MARK]
    assert_sentence(vpr("demo", "--out", out), "failed or was killed. It has town.vpr;", "--force")
