"""`vpr_ros map` with several bags: one map whatever the jobs, failures that are named, calls that go on."""

import os
import resource
import signal
import threading
import time

import numpy as np
import pytest
from command_line import assert_sentence
from map_content import content
from street import START_NS, drive_images, write_drive

from vpr_ros.place_map import PlaceMap

DAY_NS = 86_400 * 10**9


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    """Three bags: with satellite fixes, with odometry alone, and with fixes from another start."""
    folder = tmp_path_factory.mktemp("drives")
    return [
        write_drive(folder / "a", drive_images(1, 12), fix=True),
        write_drive(folder / "b", drive_images(1, 12, 5), "sqlite3", start_ns=START_NS + DAY_NS),
        write_drive(folder / "c", drive_images(1, 12, 7), fix=True, start_ns=START_NS + 2 * DAY_NS, y_m=2.0),
    ]


@pytest.fixture(scope="module")
def arguments(checkpoint):
    return "-c", checkpoint, "--distance-m", 6, "--set", "local_features=none"


@pytest.fixture(scope="module")
def one_after_the_other(drives, arguments, tmp_path_factory):
    """The map that calls of their own make of the bags."""
    from command_line import run

    path = tmp_path_factory.mktemp("one") / "m.vpr"
    for bag in drives:
        pose = ("--pose-topic", "none" if bag.name == "b" else "/fix")
        assert run("map", bag, "-o", path, *arguments, *pose).exit_code == 0
    return path


def truncated(bag, to_bytes):
    """A copy of a bag of which hardly anything is left."""
    broken = bag.with_name(f"{bag.name}_broken.mcap")
    broken.write_bytes(next(bag.glob("*.mcap")).read_bytes()[:to_bytes])
    return broken


def the_rest(path):
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


def test_the_map_is_the_one_that_the_bags_make_one_after_the_other(
    drives, arguments, one_after_the_other, vpr, tmp_path
):
    path = tmp_path / "m.vpr"
    result = vpr("map", *drives, "-o", path, *arguments)
    assert result.exit_code == 0, result.output
    assert content(path) == content(one_after_the_other) and the_rest(path) == []
    again = vpr("map", *drives, "-o", path, *arguments)
    assert (
        again.exit_code == 0 and "in the map already: a, b, c" in again.output and "0 keyframes saved" in again.output
    )
    assert content(path) == content(one_after_the_other)


def test_the_map_is_the_same_whatever_the_number_of_jobs(drives, arguments, vpr, tmp_path):
    for jobs in (1, 2):
        (tmp_path / str(jobs)).mkdir()
        result = vpr("map", *drives[:2], "-o", tmp_path / str(jobs) / "m.vpr", *arguments, "--jobs", jobs)
        assert result.exit_code == 0 and f"{jobs} job" in result.output, result.output
    assert content(tmp_path / "1" / "m.vpr") == content(tmp_path / "2" / "m.vpr")


def test_odometry_of_the_first_bag_is_the_frame_of_a_map_without_other_poses(arguments, vpr, tmp_path):
    bags = [
        write_drive(tmp_path / name, drive_images(1, 8, i), truth=False, start_ns=START_NS + i * DAY_NS)
        for i, name in enumerate("ab")
    ]
    for bag in bags:
        assert vpr("map", bag, "-o", tmp_path / "one.vpr", *arguments).exit_code == 0
    assert vpr("map", *bags, "-o", tmp_path / "both.vpr", *arguments).exit_code == 0
    assert content(tmp_path / "both.vpr") == content(tmp_path / "one.vpr")
    with PlaceMap.open(tmp_path / "both.vpr") as place_map:
        known = np.isfinite(place_map.keyframes().T_map_base).all((1, 2))
        np.testing.assert_array_equal(known, place_map.keyframes().sessions == 1)
    again = vpr("map", *bags, "-o", tmp_path / "both.vpr", *arguments)
    assert again.exit_code == 0 and "in the map already: a, b" in again.output


def test_a_damaged_bag_is_named_and_the_rest_goes_on(drives, arguments, one_after_the_other, vpr, tmp_path):
    broken, path = truncated(drives[0], 40), tmp_path / "m.vpr"
    try:
        result = vpr("map", drives[0], broken, *drives[1:], "-o", path, *arguments)
        assert_sentence(result, "1 of 4 bags are not in", broken.name, "the same command adds them")
        assert "3 sessions" in result.stdout
        assert content(path) == content(one_after_the_other) and the_rest(path) == []
    finally:
        broken.unlink()


def test_what_is_missing_is_added_by_a_second_call(drives, arguments, vpr, tmp_path):
    path = tmp_path / "m.vpr"
    assert vpr("map", drives[0], drives[1], "-o", path, *arguments).exit_code == 0
    before = content(path)
    result = vpr("map", *drives, "-o", path, *arguments)
    assert result.exit_code == 0 and "in the map already: a, b" in result.output and "1 session," in result.output
    after = content(path)
    assert after["sessions"][:2] == before["sessions"] and [row[1] for row in after["sessions"]] == ["a", "b", "c"]
    assert after["keyframes"][: len(before["keyframes"])] == before["keyframes"]


def test_other_settings_make_other_parts(drives, arguments, vpr, tmp_path):
    path = tmp_path / "m.vpr"
    assert vpr("map", *drives[:2], "-o", path, *arguments).exit_code == 0
    result = vpr("map", *drives[:2], "-o", path, *arguments[:2], "--distance-m", 9, *arguments[4:])
    assert result.exit_code == 0 and "2 sessions" in result.output
    with PlaceMap.open(path) as place_map:
        assert len(place_map.sessions()) == 4


def test_parts_of_an_interrupted_call_are_used(drives, arguments, one_after_the_other, vpr, tmp_path, monkeypatch):
    from vpr_ros.offline.parts import part

    path, mapped, map_bag = tmp_path / "m.vpr", [], part.map_bag

    def interrupted_at_the_third(bag, *rest):
        mapped.append(bag.name)
        if len(mapped) == 3:
            raise KeyboardInterrupt
        return map_bag(bag, *rest)

    monkeypatch.setattr(part, "map_bag", interrupted_at_the_third)
    result = vpr("map", *drives, "-o", path, *arguments)
    assert result.exit_code == 130 and "the same command goes on from there" in result.stderr
    assert not path.exists() and len(list((tmp_path / "m.vpr.parts").iterdir())) == 2
    result = vpr("map", *drives, "-o", path, *arguments)
    assert result.exit_code == 0 and "mapped by an earlier call: a, b" in result.output, result.output
    assert mapped == ["a", "b", "c", "c"]
    assert content(path) == content(one_after_the_other) and the_rest(path) == []


def test_a_part_that_is_damaged_is_made_anew(drives, arguments, one_after_the_other, vpr, tmp_path, monkeypatch):
    from vpr_ros.offline.parts import joining

    path = tmp_path / "m.vpr"
    with monkeypatch.context() as patch:
        patch.setattr(joining, "_join", lambda *_: (0, 0))  # as a call that is killed before it joins
        assert vpr("map", *drives, "-o", path, *arguments).exit_code == 0
    first = next((tmp_path / "m.vpr.parts").glob("a.*"))
    first.write_bytes(first.read_bytes()[:5000])
    result = vpr("map", *drives, "-o", path, *arguments)
    assert result.exit_code == 0 and "mapped by an earlier call: b, c" in result.output, result.output
    assert content(path) == content(one_after_the_other)


@pytest.mark.parametrize("which", ["child", "parent"])
def test_a_process_that_dies_costs_its_bag_and_an_interrupt_leaves_no_process(arguments, vpr, tmp_path, which):
    bags = [write_drive(tmp_path / name, drive_images(i, 150), start_ns=START_NS + i) for i, name in enumerate("ab")]
    path, hit = tmp_path / "m.vpr", []

    def strike():
        while not (drafts := list((tmp_path / "m.vpr.parts").glob(".a.*.part/a.*-wal"))):
            time.sleep(0.01)
        hit.append(int(drafts[0].parent.name.split(".")[-2]))
        os.kill(hit[0] if which == "child" else os.getpid(), signal.SIGKILL if which == "child" else signal.SIGINT)

    striking = threading.Thread(target=strike, daemon=True)
    striking.start()
    result = vpr("map", *bags, "-o", path, *arguments, "--jobs", 2)
    striking.join(1)
    assert hit and hit[0] != os.getpid()
    if which == "child":
        assert_sentence(result, "1 of 2 bags", "a: its process was killed (SIGKILL)")
        with PlaceMap.open(path) as place_map:
            assert [session.name for session in place_map.sessions()] == ["b"]
    else:
        assert result.exit_code == 130 and "the same command goes on" in result.stderr and not path.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(hit[0], 0)


def test_more_maps_are_joined_than_files_may_be_open(checkpoint, arguments, vpr, tmp_path):
    bags = [write_drive(tmp_path / f"{i:02}", drive_images(i, 2), poses=False, truth=False) for i in range(24)]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    for bag in bags:
        assert vpr("map", bag, "-o", tmp_path / f"{bag.name}.vpr", *arguments).exit_code == 0
    used = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 16, before[1]))
    try:
        merged = vpr("merge", *sorted(tmp_path.glob("*.vpr")), "-o", tmp_path / "town")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert merged.exit_code == 0 and "24 sessions from 24 maps" in merged.output, merged.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--known-lead", "0.1"), "--known-lead is for one drive at a time"),
        (("--session", "monday"), "--session is for one drive at a time"),
        (("--engine", "ray", "--jobs", "2"), "--jobs is for --engine local"),
        (("--engine", "slurm"), "choose local or ray"),
    ],
)
def test_what_does_not_go_together_is_refused(drives, arguments, vpr, tmp_path, options, words):
    assert_sentence(vpr("map", *drives, "-o", tmp_path / "m.vpr", *arguments, *options), words)
    assert not (tmp_path / "m.vpr").exists()


def test_a_bag_that_is_named_twice_and_a_missing_folder_are_refused(drives, arguments, vpr, tmp_path):
    assert_sentence(vpr("map", drives[0], drives[0], "-o", tmp_path / "m.vpr", *arguments), "is named twice")
    assert_sentence(vpr("map", *drives, "-o", tmp_path / "no" / "m.vpr", *arguments), "does not exist")


def test_satellite_poses_do_not_go_into_a_map_of_another_frame(drives, arguments, vpr, tmp_path):
    path = tmp_path / "m.vpr"
    assert vpr("map", drives[1], "-o", path, *arguments).exit_code == 0
    before = content(path)
    alone = vpr("map", drives[0], "-o", path, *arguments, "--pose-topic", "/fix")
    assert_sentence(alone, "has its poses by satellite", path)
    both = vpr("map", drives[0], drives[2], "-o", path, *arguments, "--pose-topic", "/fix")
    assert_sentence(both, "2 of 2 bags are not in", "has its poses by satellite")
    assert content(path) == before


def test_an_engine_that_is_none_is_named_and_nothing_is_mapped(arguments, vpr, tmp_path):
    bag = write_drive(tmp_path / "a", drive_images(0, 2))
    for bags in ([bag], [bag, bag]):
        result = vpr("map", *bags, "-o", tmp_path / "m.vpr", *arguments, "--engine", "Rey")
        assert_sentence(result, "--engine is 'Rey'", "local or ray")
    assert not (tmp_path / "m.vpr").exists()
