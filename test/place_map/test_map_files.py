"""Every wrong file is refused with one sentence that says what to do."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.schema import APPLICATION_ID, MIGRATIONS, POSE_COLUMNS, SCHEMA_VERSION


@pytest.fixture
def good(new_map, drive, tmp_path):
    """Path of a closed map of 200 keyframes, larger than a few pages."""
    place_map = new_map()
    drive(place_map, 200)
    place_map.close()
    return tmp_path / "a.vprmap"


def refusal(path, **settings) -> str:
    with pytest.raises(VprError) as caught:
        PlaceMap.open(path, **settings).keyframes()
    text = str(caught.value)
    assert "\n" not in text and str(path) in text and "Traceback" not in text
    return text


@pytest.mark.parametrize("writable", [False, True])
def test_no_map_at_all(tmp_path, writable):
    assert "does not exist" in refusal(tmp_path / "none.vprmap", writable=writable)
    assert "is a directory" in refusal(tmp_path, writable=writable)
    empty = tmp_path / "empty.vprmap"
    empty.touch()
    assert "zero bytes" in refusal(empty, writable=writable)
    text = tmp_path / "text.vprmap"
    text.write_text("this is no database\n" * 100)
    assert "not a place map" in refusal(text, writable=writable)
    foreign = tmp_path / "foreign.db3"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE topics (id)")
    db.close()
    before = foreign.read_bytes()
    assert "not a place map" in refusal(foreign, writable=writable)
    assert foreign.read_bytes() == before and {p.name for p in tmp_path.iterdir()} == {
        "empty.vprmap",
        "text.vprmap",
        "foreign.db3",
    }


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_truncated(good, part, writable):
    with open(good, "r+b") as stream:
        stream.truncate(int(good.stat().st_size * part))
    assert "cut short" in refusal(good, writable=writable)


def test_damaged_inside(good):
    size = good.stat().st_size
    with open(good, "r+b") as stream:
        for page in range(3, size // 4096):
            stream.seek(page * 4096)
            stream.write(b"\xff" * 64)
    assert "damaged" in refusal(good)


def test_damaged_image_or_descriptor_is_told_when_met(good):
    db = sqlite3.connect(good)
    db.execute("UPDATE descriptors SET vector = x'00' WHERE id = 5")
    db.commit()
    db.close()
    with pytest.raises(VprError, match="keyframe 5 .*redescribe"):
        PlaceMap.open(good)
    with PlaceMap.open(good, unchecked="descriptors") as place_map:
        with pytest.raises(VprError, match="keyframe 5 .*redescribe"):
            place_map.keyframes()
    db = sqlite3.connect(good)
    db.execute("DELETE FROM meta WHERE key = 'dim'")
    db.commit()
    db.close()
    assert "lacks dim" in refusal(good)


def test_newer_schema(good):
    db = sqlite3.connect(good)
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    text = refusal(good)
    assert f"version {SCHEMA_VERSION + 1}" in text and "update vpr_ros" in text


def test_unknown_older_schema(good):
    db = sqlite3.connect(good)
    db.execute("PRAGMA user_version=0")
    db.close()
    assert "unknown schema version 0" in refusal(good)


def test_other_model(good):
    text = refusal(good, fingerprint="e" * 64, model_name="small")
    assert "'nano' (ffffffffffff)" in text and "'small' (eeeeeeeeeeee)" in text
    assert "use the map's checkpoint" in text and "vpr_ros redescribe" in text
    text = refusal(good, fingerprint="f" * 64, dim=512)
    assert "16 numbers" in text and "512" in text and "redescribe" in text


def test_create_refuses(good, tmp_path):
    settings = dict(fingerprint="f", dim=4, preprocessing={}, place_radius_m=1.0)
    with pytest.raises(VprError, match="exists already"):
        PlaceMap.create(good, **settings)
    with pytest.raises(VprError, match="does not exist"):
        PlaceMap.create(tmp_path / "nowhere" / "a.vprmap", **settings)
    assert [p.name for p in tmp_path.iterdir()] == ["a.vprmap"]


def old_map(path) -> None:
    """A file of schema version 1: two keyframes, the second without poses."""
    poses = ", ".join(f"{column} REAL" for column in POSE_COLUMNS)
    db = sqlite3.connect(path)
    for statement in (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        "CREATE TABLE sessions (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, created TEXT NOT NULL)",
        "CREATE TABLE keyframes (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        f" session INTEGER NOT NULL REFERENCES sessions(id), stamp_ns INTEGER NOT NULL, {poses},"
        " UNIQUE (session, stamp_ns))",
        *(
            f"CREATE TABLE {table} (id INTEGER PRIMARY KEY REFERENCES keyframes(id) ON DELETE CASCADE,"
            f" {column} BLOB NOT NULL)"
            for table, column in (("descriptors", "vector"), ("thumbnails", "jpeg"), ("clouds", "points"))
        ),
        "INSERT INTO sessions VALUES (1, 'old drive', '2024-01-01')",
        "INSERT INTO keyframes VALUES (1, 1, 10, 0,0,0,0,0,0,1, 5,6,7,0,0,0,1)",
        "INSERT INTO keyframes (id, session, stamp_ns) VALUES (2, 1, 20)",
        f"PRAGMA application_id={APPLICATION_ID}",
        "PRAGMA user_version=1",
    ):
        db.execute(statement)
    for i in (1, 2):
        db.execute("INSERT INTO descriptors VALUES (?, ?)", (i, np.eye(4, dtype="<f2")[i].tobytes()))
    for key, value in dict(
        map_id="0123456789ab",
        version=3,
        fingerprint="f" * 64,
        dim=4,
        preprocessing={},
        place_radius_m=5.0,
        frame_id="map",
        datum=None,
        model_name="nano",
    ).items():
        db.execute("INSERT INTO meta VALUES (?, ?)", (key, json.dumps(value)))
    db.commit()
    db.close()


def test_older_schema_is_lifted(tmp_path):
    path = tmp_path / "old.vprmap"
    old_map(path)
    before = path.read_bytes()
    with PlaceMap.open(path) as place_map:  # reading lifts a copy only
        assert place_map.schema_version == SCHEMA_VERSION
        assert place_map.keyframes().T_map_base[0, :3, 3].tolist() == [5, 6, 7]
        assert place_map.covariance(1) is None and place_map.sessions()[0].source == ""
    assert path.read_bytes() == before
    with PlaceMap.open(path, writable=True) as place_map:
        new = place_map.add(1, 30, np.eye(4)[3], None, np.eye(4), np.eye(6))
        assert new == 3 and place_map.current_id("elsewhere", 1) is None
    with PlaceMap.open(path) as place_map:
        assert place_map.keyframes().ids.tolist() == [1, 2, 3]
        np.testing.assert_array_equal(place_map.covariance(3), np.eye(6))
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_a_failing_migration_leaves_the_old_file(tmp_path):
    path = tmp_path / "old.vprmap"
    old_map(path)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE origins (a)")  # in the migration's way, after it has altered two tables
    db.commit()
    db.close()
    with pytest.raises(VprError, match="could not write map"):
        PlaceMap.open(path, writable=True)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert "covariance" not in {row[1] for row in db.execute("PRAGMA table_info(keyframes)")}
    db.close()


def attempt(function):
    """The sentence that `function` raises, or its result."""
    try:
        return function()
    except VprError as error:
        return str(error)


def test_read_only_directory(good, public_dir, unprivileged):
    shelf = public_dir / "shelf"
    shelf.mkdir()
    path = shelf / "m.vprmap"
    shutil.copy(good, path)
    path.chmod(0o444)
    shelf.chmod(0o555)

    def read():
        with PlaceMap.open(path) as place_map:
            return len(place_map.keyframes())

    try:
        assert unprivileged(lambda: attempt(read)) == 200
        assert "cannot be written" in unprivileged(lambda: attempt(lambda: PlaceMap.open(path, writable=True)))
        settings = dict(fingerprint="f", dim=4, preprocessing={}, place_radius_m=1.0)
        words = unprivileged(lambda: attempt(lambda: PlaceMap.create(shelf / "new.vprmap", **settings)))
        assert "not writable" in words
        # copied away while mapping: a WAL header without its log
        shelf.chmod(0o755)
        path.chmod(0o644)
        db = sqlite3.connect(path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("SELECT 1 FROM meta").fetchone()
        shutil.copy(path, shelf / "copy.vprmap")
        db.close()
        (shelf / "copy.vprmap").replace(path)
        path.chmod(0o444)
        shelf.chmod(0o555)
        assert path.read_bytes()[18] == 2 and unprivileged(lambda: attempt(read)) == 200
        path.chmod(0)
        assert "may not be read" in unprivileged(lambda: attempt(read))
    finally:
        shelf.chmod(0o755)
    assert [p.name for p in shelf.iterdir()] == ["m.vprmap"]


def test_unclosed_map_on_read_only_media(new_map, drive, public_dir, unprivileged):
    place_map = new_map()
    shelf = public_dir / "shelf"
    shelf.mkdir()
    drive(place_map)
    for suffix in ("", "-wal"):  # as a killed mapper leaves it, less the -shm
        shutil.copy(f"{place_map.path}{suffix}", f"{shelf}/m.vprmap{suffix}")
        os.chmod(f"{shelf}/m.vprmap{suffix}", 0o444)
    shelf.chmod(0o555)
    try:
        words = unprivileged(lambda: attempt(lambda: len(PlaceMap.open(shelf / "m.vprmap"))))
    finally:
        shelf.chmod(0o755)
    assert "was not closed" in words and "-wal" in words


def test_a_killed_map_is_one_file_again_after_reading(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map)
    for suffix in ("", "-wal"):
        shutil.copy(f"{place_map.path}{suffix}", tmp_path / f"left.vprmap{suffix}")
    with PlaceMap.open(tmp_path / "left.vprmap") as reader:
        assert len(reader.keyframes()) == 10
    assert not (tmp_path / "left.vprmap-wal").exists()


_FILL = """
import signal, sys
import numpy as np
from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceMap
place_map = PlaceMap.open(sys.argv[1], writable=True)
place_map.commit_keyframes = 4
place_map.on_saved = lambda ids: print(*ids, flush=True)
session = place_map.start_session("fill")
try:
    for i in range(100_000):
        place_map.add(session, i, np.eye(16)[i % 16], thumbnail=bytes(5000))
except VprError as error:
    print("refused:", error, flush=True)
try:
    place_map.close()
except VprError:
    pass
"""


def fill_until_refused(path, limit_bytes=None) -> tuple[list[int], str]:
    """Map into `path` until it is refused; returns the ids reported as saved and the sentence."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        if limit_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    root = Path(__file__).parents[2]
    output = subprocess.run(
        [sys.executable, "-c", _FILL, str(path)], preexec_fn=limit, cwd=root, capture_output=True, text=True, timeout=60
    )
    assert output.returncode == 0, output.stderr
    *saved, sentence = output.stdout.splitlines()
    return [int(word) for line in saved for word in line.split()], sentence


def test_no_more_room(new_map):
    place_map = new_map()
    place_map.close()
    saved, sentence = fill_until_refused(place_map.path, limit_bytes=600_000)
    assert sentence.startswith("refused: could not save") and "free" in sentence
    assert len(saved) > 20
    with PlaceMap.open(place_map.path, writable=True) as again:
        assert set(saved) <= set(again.keyframes().ids.tolist())


def test_full_disk_keeps_what_was_reported_and_goes_on_when_there_is_room(new_map):
    place_map = new_map()
    place_map.commit_keyframes = 4
    saved = []
    place_map.on_saved = saved.extend
    session = place_map.start_session("drive")
    pages = place_map._db.execute("PRAGMA page_count").fetchone()[0]
    place_map._db.execute(f"PRAGMA max_page_count={pages + 20}")  # SQLite's own "database or disk is full"
    with pytest.raises(VprError, match="disk is full: free some space"):
        for i in range(1000):
            place_map.add(session, i, np.eye(16)[i % 16], thumbnail=bytes(5000))
    assert place_map.keyframes().ids.tolist() == saved and len(saved) >= 8
    place_map._db.execute("PRAGMA max_page_count=1000000")
    new = place_map.add(session, 10**6, np.eye(16)[0])
    place_map.flush()
    assert saved[-1] == new
