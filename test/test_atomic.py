"""Whole files or none, whatever happens while they are written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vpr_ros.atomic import (
    held,
    in_use,
    is_draft,
    lasting_lines,
    move_whole,
    whole_entry,
    whole_file,
    whole_text,
    write_whole,
)
from vpr_ros.errors import VprError

ROOT = Path(__file__).resolve().parents[1]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("durable", [True, False])
def test_bytes_and_text_round_trip_and_replace(tmp_path, durable):
    path = tmp_path / "a.bin"
    write_whole(path, b"\x00\xff" * 1000, durable=durable)
    assert path.read_bytes() == b"\x00\xff" * 1000
    write_whole(str(path), "Straße\n", durable=durable)
    assert path.read_bytes() == "Straße\n".encode() and names(tmp_path) == ["a.bin"]


def test_text_keeps_the_writers_line_ends(tmp_path):
    with whole_text(tmp_path / "a.csv") as stream:
        stream.write("a,b\r\n")
        stream.write("ü\n")
    assert (tmp_path / "a.csv").read_bytes() == "a,b\r\nü\n".encode()


def test_the_name_appears_only_at_the_end(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    with whole_file(path) as draft:
        draft.write_text("half")
        assert not path.exists() and draft.parent == path.parent
        assert is_draft(draft.name) and names(path.parent) == [draft.name]
    assert path.read_text() == "half" and names(path.parent) == ["a.txt"]


@pytest.mark.parametrize(("name", "draft"), [(".a.csv.12.part", True), ("a.part", False), (".a.csv", False)])
def test_drafts_are_known_by_their_names(name, draft):
    assert is_draft(name) is draft


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_the_former_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(error), whole_file(path) as draft:
        draft.write_text("half")
        raise error
    assert path.read_text() == "before" and names(tmp_path) == ["a.txt"]


KILLED = """
import os, signal, sys
from vpr_ros.atomic import whole_file
with whole_file(sys.argv[1]) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_the_former_file_and_a_draft(tmp_path):
    path = tmp_path / "a.txt"
    for before in (None, "before"):
        if before:
            path.write_text(before)
        run = subprocess.run([sys.executable, "-c", KILLED, str(path)], cwd=ROOT)
        assert run.returncode == -signal.SIGKILL
        assert path.exists() == bool(before) and (not before or path.read_text() == before)
        left = [name for name in names(tmp_path) if name != "a.txt"]
        assert left and all(is_draft(name) for name in left)


def test_without_replace_a_file_in_its_place_stays(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path, replace=False) as draft:
        draft.write_text("first")
    with pytest.raises(FileExistsError), whole_file(path, replace=False) as draft:
        draft.write_text("second")
    assert path.read_text() == "first" and names(tmp_path) == ["a.txt"]
    other = tmp_path / "b.txt"
    with pytest.raises(FileExistsError), whole_file(other, replace=False) as draft:
        draft.write_text("second")
        other.write_text("made in between")
    assert other.read_text() == "made in between" and names(tmp_path) == ["a.txt", "b.txt"]


def test_a_missing_folder_is_made_unless_it_must_be_there(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "x")
    with pytest.raises(VprError, match="No such file"), whole_file(tmp_path / "no" / "a", make_folder=False) as draft:
        draft.write_text("x")
    assert names(tmp_path) == ["new"]


def test_what_stands_in_the_way_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(VprError, match=r"cannot write .*file/a\.txt: .*; choose another output folder"):
        write_whole(tmp_path / "file" / "a.txt", "y")
    (tmp_path / "folder").mkdir()
    with pytest.raises(VprError, match="cannot write .*folder: Is a directory"):
        write_whole(tmp_path / "folder", "y")
    with pytest.raises(VprError, match="told by the caller: Is a directory"):
        write_whole(tmp_path / "folder", "y", explain=lambda error: VprError(f"told by the caller: {error.strerror}"))
    assert names(tmp_path) == ["file", "folder"]


FULL = """
import resource, signal, sys
from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(sys.argv[1], b"x" * 5000)
except VprError as error:
    print(error)
"""


def test_a_disk_that_takes_no_more_keeps_the_former_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    run = subprocess.run([sys.executable, "-c", FULL, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout == f"cannot write {path}: File too large; choose another output folder\n", run.stderr
    assert path.read_text() == "before" and names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_told_in_a_sentence(tmp_path):
    with pytest.raises(VprError, match="No space left on device"), whole_file(tmp_path / "a.txt") as draft:
        draft.symlink_to("/dev/full")
        draft.write_text("x")
    assert names(tmp_path) == []


FORBIDDEN = """
import os, sys
from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
os.chdir(sys.argv[1])
if os.getuid() == 0:  # no permission bit stops root
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    write_whole("a.txt", "x")
except VprError as error:
    print(error)
"""


def test_a_folder_without_rights_is_told_in_a_sentence(tmp_path):
    tmp_path.chmod(0o555)
    try:
        command = [sys.executable, "-c", FORBIDDEN, str(tmp_path)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    finally:
        tmp_path.chmod(0o755)
    assert run.stdout == "cannot write a.txt: Permission denied; choose another output folder\n", run.stderr
    assert names(tmp_path) == []


def test_a_finished_file_is_moved_to_its_name(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a").write_text("done")
    move_whole(tmp_path / "work" / "a", tmp_path / "a")
    assert (tmp_path / "a").read_text() == "done" and names(tmp_path / "work") == []


# Lines that stay, and outputs under their own name


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_lines_stay_whatever_happens_after_them(tmp_path, error):
    path = tmp_path / "new" / "lines.jsonl"
    with pytest.raises(error), lasting_lines(path) as append:
        append("one")
        assert path.read_text() == "one\n"
        append("zwölf")
        raise error
    assert path.read_text() == "one\nzwölf\n"


LINES = """
import os, resource, signal, sys
from vpr_ros.atomic import lasting_lines
from vpr_ros.errors import VprError
if sys.argv[2] == "full":
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with lasting_lines(sys.argv[1]) as append:
        for number in range(40):
            append(f"{number:04d} " + "x" * 54)
            if sys.argv[2] == "killed" and number == 9:
                os.kill(os.getpid(), signal.SIGKILL)
except VprError as error:
    print(error)
"""


def test_lines_stay_when_the_process_is_killed_and_when_the_disk_is_full(tmp_path):
    path = tmp_path / "lines.txt"
    killed = subprocess.run([sys.executable, "-c", LINES, str(path), "killed"], cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL and len(path.read_text().splitlines()) == 10
    command = [sys.executable, "-c", LINES, str(path), "full"]
    full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert full.stdout == f"cannot write {path}: File too large; choose another output folder\n", full.stderr
    # 16 lines of 60 bytes are whole; of the seventeenth the disk took 40 bytes, which are gone again
    assert [line[:4] for line in path.read_text().splitlines()] == [f"{number:04d}" for number in range(16)]


def test_an_output_under_its_own_name_replaces_the_former_one_at_the_end(tmp_path):
    path = tmp_path / "deep" / "bag"
    for content in ("first", "second"):
        with whole_entry(path) as draft:
            assert draft.name == "bag" and path.exists() == (content == "second")
            draft.mkdir()
            (draft / "a.txt").write_text(content)
        assert (path / "a.txt").read_text() == content and names(path.parent) == ["bag"]
    with whole_entry(path) as draft:  # a file for a folder, and the reverse
        draft.write_text("file")
    assert path.read_text() == "file"
    with pytest.raises(RuntimeError), whole_entry(path) as draft:
        draft.mkdir()
        raise RuntimeError
    assert path.read_text() == "file" and names(path.parent) == ["bag"]
    with pytest.raises(FileNotFoundError), whole_entry(path):
        pass
    assert path.read_text() == "file" and names(path.parent) == ["bag"]


KILLED_ENTRY = """
import os, signal, sys
from pathlib import Path
from vpr_ros.atomic import whole_entry
with whole_entry(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_but_not_what_a_living_one_writes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("before")
    run = subprocess.run([sys.executable, "-c", KILLED_ENTRY, str(path)], cwd=ROOT)
    assert run.returncode == -signal.SIGKILL and path.read_text() == "before" and len(names(tmp_path)) == 2
    other = tmp_path / ".a.csv.7.part"
    other.mkdir()
    with held(other):
        assert in_use(other)
        with whole_entry(path) as draft:
            assert sorted(names(tmp_path)) == sorted([".a.csv.7.part", draft.parent.name, "a.csv"])
            draft.write_text("after")
    assert not in_use(other) and path.read_text() == "after" and names(tmp_path) == [".a.csv.7.part", "a.csv"]
