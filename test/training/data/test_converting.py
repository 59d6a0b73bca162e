"""Conversions in parts: what is written, and that kills, torn journals and full disks change nothing in the end."""

import fcntl
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import yaml

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors import Bag, make
from vpr_ros.training.data.convert.resumable_bag import ResumableBag, Stream

SECOND = 10**9


def text(value):
    return make("std_msgs/msg/String", data=str(value))


def words(i):
    yield "/words", text(f"word {i}")
    if i % 3 == 0:
        yield "/thirds", text(f"third {i}")


def streams():
    """20 words a second apart, 5 numbers, the first of them at the time of word 0 and before it in rank."""
    return [
        Stream("numbers", np.arange(5) * 4 * SECOND, lambda i: [("/numbers", text(i))], 50),
        Stream("words", np.arange(20) * SECOND, words, 100),
    ]


def contents(bag):
    """Every message: topic, time, text, topic by topic in order."""
    with Bag(bag) as opened:
        names = [t.name for t in opened.topics]
        return sorted((name, t, msg.data) for name, t, msg in opened.messages(names))


def files(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture
def whole(tmp_path):
    """The bag that an uninterrupted conversion writes."""
    path = tmp_path / "whole" / "bag"
    ResumableBag(path, streams(), {"set": "a"}, part_bytes=450).write()
    return path


def test_parts_hold_every_message_once_in_order_of_time(whole):
    expected = [("/numbers", i * 4 * SECOND, str(i)) for i in range(5)]
    expected += [("/words", i * SECOND, f"word {i}") for i in range(20)]
    expected += [("/thirds", i * SECOND, f"third {i}") for i in range(0, 20, 3)]
    assert contents(whole) == sorted(expected)
    # 5 * 50 + 20 * 100 bytes in parts that close when 450 are full.
    sizes = sorted([(i * 4 * SECOND, 0, 50) for i in range(5)] + [(i * SECOND, 1, 100) for i in range(20)])
    total, part_of = 0, []
    for _, _, size in sizes:
        part_of.append(total // 450)
        total += size
    assert len(list(whole.glob("*.mcap"))) == part_of[-1] + 1 == 5
    times = []
    for k in range(5):
        with Bag(whole / f"bag_{k}.mcap") as part:
            times.append((part.start_ns, part.end_ns))
            assert part.message_count == sum(
                1 + (stream == 1 and (t // SECOND) % 3 == 0)
                for (t, stream, _), p in zip(sizes, part_of, strict=True)
                if p == k
            )
    assert all(a[1] <= b[0] for a, b in zip(times[:-1], times[1:], strict=True))


def test_metadata_describes_all_files(whole):
    about = yaml.safe_load((whole / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert about["version"] == 8 and about["storage_identifier"] == "mcap"
    assert about["relative_file_paths"] == [f"bag_{k}.mcap" for k in range(5)] == [f["path"] for f in about["files"]]
    assert about["message_count"] == 32 == sum(f["message_count"] for f in about["files"])
    assert about["starting_time"]["nanoseconds_since_epoch"] == 0
    assert about["duration"]["nanoseconds"] == 19 * SECOND
    counts = {t["topic_metadata"]["name"]: t["message_count"] for t in about["topics_with_message_count"]}
    assert counts == {"/numbers": 5, "/words": 20, "/thirds": 7}
    assert sorted(p.name for p in whole.iterdir()) == sorted([*about["relative_file_paths"], "metadata.yaml"])


def test_unusable_events_are_left_out_whole_and_counted(tmp_path):
    def broken(i):
        yield "/words", text(i)
        if i in (2, 5):
            raise FrameError(f"word {i} is torn")

    bag = ResumableBag(tmp_path / "bag", [Stream("words", np.arange(8), broken, 10)], {}, part_bytes=20)
    result = bag.write()
    assert [m[2] for m in contents(tmp_path / "bag")] == ["0", "1", "3", "4", "6", "7"]
    assert result.skipped == Counter(words=2) and result.first_errors == {"words": "word 2 is torn"}
    assert result.messages == 6


def test_a_part_of_nothing_usable_is_a_readable_part(tmp_path):
    def broken(i):
        if 4 <= i < 8:
            raise FrameError("torn")
        return [("/words", text(i))]

    ResumableBag(tmp_path / "bag", [Stream("words", np.arange(12) + 5, broken, 10)], {}, part_bytes=40).write()
    assert len(list((tmp_path / "bag").glob("*.mcap"))) == 3
    assert [int(m[2]) for m in contents(tmp_path / "bag")] == [0, 1, 2, 3, 8, 9, 10, 11]
    about = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert about["starting_time"]["nanoseconds_since_epoch"] == 5 and about["duration"]["nanoseconds"] == 11


def interrupted(path, at, error=KeyboardInterrupt):
    """A conversion that stops at word `at`."""

    def stopping(i):
        if i == at:
            raise error
        return words(i)

    numbers, _ = streams()
    with pytest.raises(error):
        ResumableBag(path, [numbers, Stream("words", np.arange(20) * SECOND, stopping, 100)], {"set": "a"}, 450).write()


def test_an_interrupt_keeps_finished_parts_and_the_rest_follows(tmp_path, whole):
    path = tmp_path / "bag"
    interrupted(path, at=10)
    assert sorted(p.name for p in path.iterdir()) == ["bag_0.mcap", "bag_1.mcap", "conversion.jsonl"]
    told = []
    result = ResumableBag(path, streams(), {"set": "a"}, 450).write(lambda done, total: told.append((done, total)))
    assert (result.parts, result.kept_parts, result.messages) == (5, 2, 32)
    assert files(path) == files(whole)
    assert told[-1] == (25, 25) and told == sorted(told)


@pytest.mark.parametrize("damage", ["torn line", "no line", "file missing", "file short", "file unnamed"])
def test_what_a_power_cut_leaves_is_made_again(tmp_path, whole, damage):
    path = tmp_path / "bag"
    interrupted(path, at=10)
    journal = path / "conversion.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    if damage == "torn line":
        journal.write_bytes(b"".join(lines[:2]) + lines[2][:30])
    elif damage == "no line":
        journal.write_bytes(lines[0][:10])
    elif damage == "file missing":
        (path / "bag_0.mcap").unlink()
    elif damage == "file short":
        (path / "bag_0.mcap").write_bytes((path / "bag_0.mcap").read_bytes()[:100])
    else:
        (path / ".part").mkdir()
        (path / ".part" / "bag_2").mkdir()
        (path / ".part" / "bag_2" / "bag_2.mcap").write_bytes(b"half")
    result = ResumableBag(path, streams(), {"set": "a"}, 450).write()
    assert result.kept_parts == {"no line": 0, "file unnamed": 2}.get(damage, 1)
    assert files(path) == files(whole)


def refused(path, identity=None, given=None, part_bytes=450):
    with pytest.raises(VprError) as error:
        ResumableBag(path, given or streams(), identity or {"set": "a"}, part_bytes).write()
    sentence = str(error.value)
    assert "\n" not in sentence and str(path) in sentence
    return sentence


def test_another_conversion_is_not_mixed_in(tmp_path):
    path = tmp_path / "bag"
    interrupted(path, at=10)
    before = files(path)
    assert 'set was "a", now "b"' in refused(path, {"set": "b"})
    numbers, _ = streams()
    later = Stream("words", np.arange(20) * SECOND + 1, words, 100)
    assert "the readings in the folder changed" in refused(path, given=[numbers, later])
    assert "the readings in the folder changed" in refused(path, part_bytes=900)
    assert "streams was" in refused(path, given=[numbers])
    assert files(path) == before


def test_folders_that_are_not_ours_stay_as_they_are(tmp_path, whole):
    assert "complete bag already" in refused(whole)
    other = tmp_path / "home"
    other.mkdir()
    (other / "letter.txt").write_text("dear")
    assert "letter.txt" in refused(other)
    assert (other / "letter.txt").read_text() == "dear"
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "conversion.jsonl").write_text('{"format": "something"}\n')
    assert "damaged or of another version" in refused(damaged)
    with pytest.raises(VprError, match="no reading"):
        ResumableBag(tmp_path / "none", [Stream("words", np.empty(0), words)], {})


def test_a_bag_in_work_is_not_written_twice(tmp_path):
    path = tmp_path / "bag"
    interrupted(path, at=10)
    with open(path / "conversion.jsonl", "rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert "another program" in refused(path)
    ResumableBag(path, streams(), {"set": "a"}, 450).write()


def test_anew_replaces_finished_and_begun_bags_but_nothing_else(tmp_path, whole):
    begun = tmp_path / "begun"
    interrupted(begun, at=10)
    for path in (whole, begun):
        result = ResumableBag(path, streams()[:1], {"set": "c"}, 450, anew=True).write()
        assert result.messages == 5 and len(contents(path)) == 5
        assert sorted(p.name for p in path.iterdir()) == [f"{path.name}_0.mcap", "metadata.yaml"]
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")
    with pytest.raises(VprError, match=r"letter\.txt"):
        ResumableBag(tmp_path / "home", streams(), {}, anew=True).write()
    assert (tmp_path / "home" / "letter.txt").exists()


def test_a_full_disk_is_told_and_the_same_call_goes_on(tmp_path):
    def heavy(i):
        return [("/bytes", make("std_msgs/msg/String", data="x" * (3_000_000 if i == 5 else 10_000)))]

    def bag():
        return ResumableBag(tmp_path / "bag", [Stream("bytes", np.arange(8), heavy, 100)], {}, part_bytes=200)

    old, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old[1]))
        with pytest.raises(VprError) as error:
            bag().write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(error.value).startswith(f"bag {tmp_path / 'bag'} could not be written (")
    assert "same command again" in str(error.value) and ".part" not in str(error.value)
    assert bag().write().kept_parts == 2
    assert len(contents(tmp_path / "bag")) == 8


def test_a_place_that_cannot_hold_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in refused(tmp_path / "file" / "bag")


PROGRAM = """
import sys, time
sys.path.insert(0, {here!r})
import test_converting as t
def slow(i):
    time.sleep(0.05)
    return t.words(i)
numbers, _ = t.streams()
words = t.Stream("words", t.np.arange(20) * t.SECOND, slow, 100)
t.ResumableBag({path!r}, [numbers, words], {{"set": "a"}}, 450).write()
"""


def test_kill_dash_nine_at_any_moment_ends_in_the_same_files(tmp_path, whole):
    path = tmp_path / "bag"
    kills = 0
    for lines_before_kill in (1, 3, 4):
        program = PROGRAM.format(here=os.path.dirname(__file__), path=str(path))
        run = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
        journal, deadline = path / "conversion.jsonl", time.monotonic() + 60
        while run.poll() is None and time.monotonic() < deadline:
            if journal.exists() and journal.read_bytes().count(b"\n") >= lines_before_kill:
                time.sleep(0.06)  # into the next part
                run.send_signal(signal.SIGKILL)
                kills += run.wait() == -signal.SIGKILL
            time.sleep(0.01)
        assert run.wait() == -signal.SIGKILL, run.stderr.read()
        run.stderr.close()
        assert not (path / "metadata.yaml").exists()
    assert kills == 3
    finished = len(journal.read_text().splitlines()) - 1
    assert ResumableBag(path, streams(), {"set": "a"}, 450).write().kept_parts == finished >= 3
    assert files(path) == files(whole)


def test_memory_holds_one_event_not_the_bag(tmp_path):
    size = 1_000_000

    def heavy(i):
        return [
            (
                "/bytes",
                make(
                    "std_msgs/msg/UInt8MultiArray",
                    layout=make("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0),
                    data=np.full(size, i, np.uint8),
                ),
            )
        ]

    bag = ResumableBag(tmp_path / "bag", [Stream("bytes", np.arange(40), heavy, size)], {}, part_bytes=25 * size)
    ResumableBag(tmp_path / "first", [Stream("bytes", np.arange(1), heavy, size)], {}).write()  # imports
    tracemalloc.start()
    try:
        bag.write()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(p.stat().st_size for p in (tmp_path / "bag").glob("*.mcap")) > 40 * size
    assert peak < 12 * size


def test_two_streams_of_one_name_are_a_defect():
    with pytest.raises(ValueError, match="share a name"):
        ResumableBag("x", [*streams(), *streams()], {})


def test_the_journal_is_json_lines(tmp_path):
    interrupted(tmp_path / "bag", at=10)
    lines = [json.loads(line) for line in (tmp_path / "bag" / "conversion.jsonl").read_text().splitlines()]
    assert lines[0]["format"] == "vpr_ros conversion" and [line["part"] for line in lines[1:]] == [0, 1]
