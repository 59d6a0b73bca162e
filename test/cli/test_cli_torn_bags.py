"""Bags that are cut short at the command line: read as far as they are whole, said once, refused with --strict."""

import shutil

import pytest
from command_line import assert_sentence
from typer.main import get_command

from vpr_ros.cli.app import app

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 123456\n"


@pytest.fixture
def cut(bags, tmp_path):
    bag = shutil.copytree(bags["first"], tmp_path / "cut_bag")
    file = next(f for f in bag.iterdir() if f.suffix in (".mcap", ".db3"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 3 // 4])
    return bag


def said_once(result, words="was cut short"):
    assert result.exit_code in (0, 1), (result.output, result.exception)
    lines = [line for line in result.stderr.splitlines() if words in line]
    assert len(lines) == 1, result.stderr


@pytest.mark.parametrize(
    "names",
    [["doctor"], ["align"], ["map"], ["localize"], ["frames"], ["calibrate"], ["project"], ["eval", "run"]],
    ids=" ".join,
)
def test_every_command_that_reads_bags_has_the_option(names):
    command = get_command(app)
    for name in names:
        command = command.commands[name]
    assert "--strict" in {option for parameter in command.params for option in parameter.opts}


def test_doctor(vpr, cut):
    said_once(vpr("doctor", cut))
    assert "WARN  recording: " in vpr("doctor", cut).stdout
    assert_sentence(vpr("doctor", cut, "--strict"), "was cut short", "without --strict")
    said_once(vpr("doctor", cut))  # the option of one call is none of the next


def test_map_and_localize(vpr, cut, first_map, checkpoint, tmp_path):
    out = tmp_path / "out.vpr"
    assert_sentence(vpr("map", cut, "-o", out, "-c", checkpoint, "--strict"), "was cut short")
    assert not out.exists()
    said_once(vpr("map", cut, "-o", out, "-c", checkpoint))
    assert out.exists()
    run = tmp_path / "run"
    call = ("localize", cut, "--map", first_map, "-o", run, "-c", checkpoint, "--no-report")
    assert_sentence(vpr(*call, "--strict"), "was cut short")
    assert not run.exists()
    said_once(vpr(*call))


def test_frames_project_and_align(vpr, cut, bags, checkpoint, tmp_path):
    for call in (
        ("frames", cut, "-o", tmp_path / "set"),
        ("project", cut, "-o", tmp_path / "p.safetensors", "-c", checkpoint, "--dim", "2", "--global-dim", "0"),
        ("align", bags["first"], cut, "-o", tmp_path / "a.tum", "--method", "gnss"),
    ):
        assert_sentence(vpr(*call, "--strict"), "was cut short")


def test_git_lfs_pointers_of_bags_maps_and_checkpoints(vpr, bags, first_map, checkpoint, tmp_path):
    pointers = {}
    for name in ("x.mcap", "x.vpr", "x.safetensors"):
        pointers[name] = tmp_path / name
        pointers[name].write_bytes(POINTER)
    told = ("is a Git LFS pointer", "git lfs pull")
    assert_sentence(vpr("doctor", pointers["x.mcap"]), *told, "not the bag itself")
    assert_sentence(vpr("info", pointers["x.vpr"]), *told, "not the map itself")
    call = ("map", bags["first"], "-o", tmp_path / "m.vpr", "-c", pointers["x.safetensors"])
    assert_sentence(vpr(*call), *told, "not the checkpoint itself")
    assert_sentence(vpr("info", pointers["x.safetensors"]), *told)
