"""Which files make up a bag: split parts, compressed and unfinished ones, leftovers of a crash, and what is none."""

import os
import shutil
import sqlite3

import numpy as np
import pytest
import yaml
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vpr_ros.errors import VprError
from vpr_ros.sensors import Bag, BagWriter, make, reading_bags
from vpr_ros.sensors.bags.kinds import kind_of
from vpr_ros.sensors.bags.messages import typestore

TOPIC = "/log"
TEXTS = [f"message {i:04d}" for i in range(40)]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 123456\n"


def message(text):
    return make("std_msgs/msg/String", data=text)


def write(path, storage="sqlite3", texts=TEXTS, first=0):
    with BagWriter(path, storage) as writer:
        for i, text in enumerate(texts):
            writer.write(TOPIC, message(text), first + i + 1)
    return path


def write_ros1(path, texts, first):
    store = get_typestore(Stores.ROS1_NOETIC)
    with Writer1(path) as writer:
        log = writer.add_connection(TOPIC, "std_msgs/msg/String", typestore=store)
        for i, text in enumerate(texts):
            raw = store.serialize_ros1(store.types["std_msgs/msg/String"](text), "std_msgs/msg/String")
            writer.write(log, first + i + 1, raw)
    return path


def write_packed(path, plugin, mode, texts=TEXTS):
    writer = Writer(path, version=8, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        log = writer.add_connection(TOPIC, "std_msgs/msg/String", typestore=typestore())
        for i, text in enumerate(texts):
            writer.write(log, i + 1, typestore().serialize_cdr(message(text), "std_msgs/msg/String"))
    return path


def read(path, strict=False):
    told = []
    with reading_bags(strict, told.append), Bag(path) as bag:
        return [m.data for _, _, m in bag.messages([TOPIC])], told


def refused(path, match, strict=False):
    with reading_bags(strict), pytest.raises(VprError, match=match) as caught:
        Bag(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_compressed_bags_without_metadata(tmp_path, plugin, mode):
    path = write_packed(tmp_path / "bag", plugin, mode)
    assert read(path, strict=True) == (TEXTS, [])
    (path / "metadata.yaml").unlink()
    assert read(path, strict=True) == (TEXTS, [])
    assert read(next(path.iterdir()), strict=True) == (TEXTS, [])


def test_a_compressed_file_that_was_cut(tmp_path):
    texts = [np.random.default_rng(i).bytes(3000).hex() for i in range(200)]
    path = write_packed(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.FILE, texts)
    file = next(path.glob("*.zstd"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found, told = read(path)
    assert found == texts[: len(found)] and len(found) > 20 and any("as much as decompresses" in t for t in told)
    refused(path, "as much as decompresses", strict=True)


def test_an_sqlite_bag_cut_anywhere_gives_messages_that_were_written(tmp_path):
    texts = [f"{i:04d}" + "y" * 5000 for i in range(60)]
    file = next(write(tmp_path / "bag", texts=texts).glob("*.db3"))
    data, found = file.read_bytes(), []
    alone = tmp_path / "cut.db3"
    for pages in range(1, len(data) // 4096, 7):
        for cut in (pages * 4096 - 1, pages * 4096, pages * 4096 + 1):
            alone.write_bytes(data[:cut])
            try:
                got, told = read(alone)
            except VprError as error:
                assert "\n" not in str(error) and not any(found)
                continue
            assert got == [t for t in texts if t in set(got)] and told
            found.append(len(got))
        if found:
            refused(alone, "cut short|damaged", strict=True)
    assert found == sorted(found) and found[-1] >= 50


def test_a_damaged_page_of_an_sqlite_bag_costs_its_own_messages(tmp_path):
    texts = [f"{i:04d}" + "y" * 1500 for i in range(60)]
    file = next(write(tmp_path / "bag", texts=texts).glob("*.db3"))
    data = bytearray(file.read_bytes())
    page = data.index(texts[30].encode()) // 4096 * 4096
    data[page : page + 200] = os.urandom(200)
    data[page] = 99  # no kind of page
    file.write_bytes(data)
    got, told = read(file)
    assert 40 <= len(got) < 60 and got == [t for t in texts if t in set(got)] and got[-1] == texts[-1]
    assert len(told) >= 1 and "the others are left out" in told[0]


def test_a_write_ahead_log_that_a_crash_left_is_read_and_nothing_is_written(tmp_path):
    """rosbag2's resilient preset: the messages lie in the -wal until the recorder closes the file."""
    whole = next(write(tmp_path / "bag").glob("*.db3"))
    source = tmp_path / "live.db3"
    with sqlite3.connect(whole) as db:
        script = list(db.iterdump())
    db = sqlite3.connect(source)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript("\n".join(script))
    folder = tmp_path / "crashed"
    folder.mkdir()
    for end in ("", "-wal"):
        shutil.copy(f"{source}{end}", folder / f"crashed_0.db3{end}")
    db.close()
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    for path in (folder, folder / "crashed_0.db3"):
        texts, told = read(path)
        assert texts == TEXTS and len(told) == 1 and "crashed_0.db3-wal beside it" in told[0]
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    shutil.copy(whole, tmp_path / "empty.db3")
    (tmp_path / "empty.db3-wal").touch()
    (tmp_path / "empty.db3-shm").touch()
    assert read(tmp_path / "empty.db3", strict=True) == (TEXTS, [])


def test_a_rollback_journal_is_played_back_on_a_copy(tmp_path):
    file = next(write(tmp_path / "bag").glob("*.db3"))
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA cache_size = 2")  # so that changed pages are written before the end
    db.execute("BEGIN")
    db.execute("UPDATE messages SET data = zeroblob(3000)")
    crashed = tmp_path / "crashed.db3"
    for end in ("", "-journal"):
        shutil.copy(f"{file}{end}", f"{crashed}{end}")
    db.execute("ROLLBACK")
    db.close()
    before = crashed.read_bytes()
    assert bytes(2000) in before
    texts, told = read(crashed)
    assert texts == TEXTS and "crashed.db3-journal beside it is played back on a copy" in told[0]
    assert crashed.read_bytes() == before


def split(tmp_path, names):
    folder = tmp_path / "drive"
    folder.mkdir()
    for i, name in enumerate(names):
        write_ros1(tmp_path / "part.bag", TEXTS[i * 10 : i * 10 + 10], i * 10)
        (tmp_path / "part.bag").rename(folder / name)
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ["drive_0.bag", "drive_1.bag", "drive_2.bag"],
        ["a_2026-01-02-10-00-00_0.bag", "a_2026-01-02-10-01-00_1.bag", "a_2026-01-02-10-02-00_2.bag"],
        ["2026-01-02-10-00-00_0.bag", "2026-01-02-10-01-00_1.bag", "2026-01-02-10-02-00_2.bag.active"],
        ["only.bag"],
    ],
)
def test_split_parts_of_a_ros1_drive(tmp_path, names):
    folder = split(tmp_path, names)
    texts, _ = read(folder)
    assert texts == TEXTS[: 10 * len(names)] and kind_of(folder) == "bag"
    with Bag(folder) as bag:
        assert not bag.ros2 and bag.message_count == 10 * len(names)


@pytest.mark.parametrize(
    "names",
    [["monday.bag", "tuesday.bag"], ["a_0.bag", "b_1.bag"], ["a_0.bag", "a.bag"], ["x_0.bag", "x_0.bag.active"]],
)
def test_ros1_bags_of_several_drives_are_not_joined(tmp_path, names):
    refused(split(tmp_path, names), "not the numbered parts of one recording .*" + names[0])


def test_an_unfinished_part_beside_a_single_file_is_named(tmp_path):
    folder = split(tmp_path, ["drive_0.bag", "drive_1.bag.active"])
    _, told = read(folder / "drive_0.bag")
    assert len(told) == 1 and "drive_1.bag.active beside" in told[0] and "not read" in told[0]


def two_parts(tmp_path):
    """A recording in two files, and what its metadata says of both."""
    folder = write(tmp_path / "drive", "mcap", TEXTS[:20])
    other = next(write(tmp_path / "other", "mcap", TEXTS[20:], first=20).glob("*.mcap"))
    next(folder.glob("*.mcap")).rename(folder / "drive_0.mcap")
    shutil.copy(other, folder / "drive_1.mcap")
    meta = yaml.safe_load((folder / "metadata.yaml").read_text())
    return folder, meta


def set_files(folder, meta, names):
    meta["rosbag2_bagfile_information"]["relative_file_paths"] = names
    (folder / "metadata.yaml").write_text(yaml.safe_dump(meta))


def test_parts_that_metadata_lacks_or_has_too_many_of(tmp_path):
    folder, meta = two_parts(tmp_path)
    set_files(folder, meta, ["drive_0.mcap", "drive_1.mcap"])
    assert read(folder, strict=True) == (TEXTS, [])
    set_files(folder, meta, ["drive_0.mcap"])  # written before the recorder died in the second part
    texts, told = read(folder)
    assert texts == TEXTS and "drive_1.mcap" in told[0] and "is read too" in told[0]
    shutil.copy(folder / "drive_1.mcap", folder / "recovered.mcap")
    (folder / "drive_2.mcap.part").touch()
    texts, told = read(folder)
    assert texts == TEXTS and any("also holds recovered.mcap" in t and "not read" in t for t in told)
    assert any("drive_2.mcap.part, which is unfinished and not read" in t for t in told)
    (folder / "drive_1.mcap").unlink()
    set_files(folder, meta, ["drive_0.mcap", "drive_1.mcap"])
    texts, told = read(folder)
    assert texts == TEXTS[:20] and any("lacks drive_1.mcap" in t for t in told)
    refused(folder, "lacks drive_1.mcap, which its metadata.yaml names", strict=True)


def test_metadata_that_promises_more_than_there_is(tmp_path):
    folder = write(tmp_path / "bag")
    meta = yaml.safe_load((folder / "metadata.yaml").read_text())
    meta["rosbag2_bagfile_information"]["message_count"] = 99
    (folder / "metadata.yaml").write_text(yaml.safe_dump(meta))
    texts, told = read(folder)
    assert texts == TEXTS and told == [f"metadata.yaml of bag {folder} counts 99 messages, of which 40 are there"]
    refused(folder, "counts 99 messages, of which 40 are there", strict=True)


def test_one_part_beyond_reading_costs_that_part(tmp_path):
    folder, meta = two_parts(tmp_path)
    set_files(folder, meta, ["drive_0.mcap", "drive_1.mcap"])
    for data in (b"", bytes(4000), POINTER, b"nonsense" * 99):
        (folder / "drive_1.mcap").write_bytes(data)
        texts, told = read(folder)
        assert texts == TEXTS[:20] and len(told) == 1 and "drive_1.mcap" in told[0]
        refused(folder, "drive_1.mcap", strict=True)


def test_hidden_files_are_none_of_the_bag(tmp_path):
    folder = write(tmp_path / "bag", "mcap")
    (folder / "metadata.yaml").unlink()
    (folder / "._bag.mcap").write_bytes(b"\0\5\x16\7")  # what macOS leaves on other disks
    assert read(folder, strict=True) == (TEXTS, [])


def test_a_file_is_known_by_how_it_begins(tmp_path):
    source = next(write(tmp_path / "bag", "mcap").glob("*.mcap"))
    for name in ("recording", "wrong.db3", "UPPER.MCAP"):
        assert read(shutil.copy(source, tmp_path / name), strict=True) == (TEXTS, [])
    (tmp_path / "zeros.mcap").write_bytes(bytes(5000))
    refused(tmp_path / "zeros.mcap", "its beginning was lost")
    refused("/dev/null", "a device or a pipe")
    os.mkfifo(tmp_path / "pipe.bag")
    refused(tmp_path / "pipe.bag", "a device or a pipe")


@pytest.mark.parametrize("name", ["first.mcap", "first.db3", "first.bag", "first"])
def test_git_lfs_pointers_are_named(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(POINTER)
    assert "git lfs pull" in refused(path, "is a Git LFS pointer, not the bag itself")


def test_types_of_an_sqlite_bag_in_languages_nobody_reads(tmp_path):
    """rosbag2 writes the language 'unknown' for a type whose definition it does not find."""
    file = next(write(tmp_path / "bag").glob("*.db3"))
    with sqlite3.connect(file) as db:
        db.execute("UPDATE message_definitions SET encoding = 'unknown'")
        db.execute("INSERT INTO topics VALUES (99, '/boxes', 'acme/Boxes', 'protobuf', '', '')")
        db.execute("INSERT INTO messages VALUES (999, 99, 5, x'0102')")
    assert read(file, strict=True) == (TEXTS, [])
    with Bag(file) as bag:
        assert bag.topic("/boxes").encoding == "protobuf" and not bag.topic("/boxes").readable
