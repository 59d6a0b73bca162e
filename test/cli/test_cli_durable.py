"""A full disk and kill -9: what was made stays and is named, and the next call says how to go on."""

import contextlib
import json
import resource
import shutil

import numpy as np
import pytest
from command_line import assert_sentence
from killing import killed_at

from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.schema import put_meta
from vpr_ros.sensors.bags.messages import cloud_msg, compressed_image_msg
from vpr_ros.sensors.bags.writer import BagWriter

KEPT = ["matches.csv", "matches.jsonl", "run.json", "similarities.npz"]


@contextlib.contextmanager
def room_for(limit_bytes: int):
    """No file can grow beyond this, as on a disk that is nearly full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def localize(bags, first_map, checkpoint, tmp_path):
    """The arguments of a run of the second drive."""
    return "localize", bags["second"], "--map", first_map, "-c", checkpoint, "-o", tmp_path / "run", "--batch", 1


# A full disk


def test_a_disk_without_room_for_the_report_keeps_the_run(localize, run_folder, vpr, tmp_path):
    run = tmp_path / "run"
    with room_for(100_000):
        result = vpr(*localize)
        assert_sentence(result, f"cannot write {run}/report.html: File too large", f"answers are kept in '{run}'")
        assert "30 frames" in result.stdout  # the figures are said all the same
        assert_sentence(vpr("report", run), f"cannot write {run}/report.html", f"`vpr_ros report {run}`")
    assert names(run) == KEPT
    assert [r["stamp_ns"] for r in lines_of(run / "matches.jsonl")] == [
        r["stamp_ns"] for r in lines_of(run_folder / "matches.jsonl")
    ]
    assert json.loads((run / "run.json").read_text())["interrupted"] is False
    (run / "matches.csv").unlink()
    result = vpr("report", run)
    assert result.exit_code == 0, result.output
    assert names(run) == sorted([*KEPT, "report.html"])


def test_a_disk_that_is_full_while_matches_are_written_keeps_whole_lines(localize, first_map, vpr, tmp_path):
    run = tmp_path / "run"
    with room_for(20_000):
        assert_sentence(vpr(*localize), "matches.jsonl: File too large", f"made until then stands in '{run}'")
    answered = lines_of(run / "matches.jsonl")  # whole lines, all of them
    assert 3 < len(answered) < 30 and json.loads((run / "run.json").read_text())["interrupted"] is True
    assert_sentence(vpr(*localize), f"matches.jsonl ({len(answered)} lines)", "vpr_ros report", "--force")
    result = vpr("report", run)
    assert result.exit_code == 0 and f"{len(answered)} frames in matches.csv and report.html" in result.stdout
    assert vpr(*localize, "--force", "--no-report").exit_code == 0
    assert names(run) == KEPT and len(lines_of(run / "matches.jsonl")) == 30


def test_a_disk_without_room_for_the_evaluation_shows_the_figures_and_keeps_all(bags, run_folder, vpr, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    (run / "report.html").write_text("former")
    with room_for(60_000):
        result = vpr("eval", "run", run, "--map-bag", bags["first"], "--query-bag", bags["second"], "--radius-m", 4)
    assert_sentence(result, f"cannot write {run}/report.html")
    assert "recall@1 (single frame)" in result.stdout and "30 queries: 30 on the map" in result.stdout
    assert (run / "report.html").read_text() == "former" and json.loads((run / "eval.json").read_text())[
        "queries"
    ] == 30


def test_a_disk_that_is_full_while_mapping_keeps_the_keyframes_that_fit(bags, checkpoint, vpr, tmp_path):
    town = tmp_path / "town.vpr"
    with room_for(60_000):
        result = vpr("map", bags["first"], "-o", town, "-c", checkpoint, "--batch", 1)
        assert_sentence(result, "could not", "free space")
    if town.exists():  # keyframes that were saved before; an empty map is removed
        with PlaceMap.open(town) as place_map:
            assert 0 < len(place_map.keyframes()) < 30
    assert vpr("map", bags["first"], "-o", town, "-c", checkpoint).exit_code == 0


def test_a_disk_that_is_full_leaves_the_map_and_its_exports_as_they_were(bags, first_map, checkpoint, vpr, tmp_path):
    town, table = shutil.copy(first_map, tmp_path / "town.vpr"), tmp_path / "town.csv"
    assert vpr("export", town, "-o", table).exit_code == 0
    other = shutil.copy(first_map, tmp_path / "other.vpr")
    with PlaceMap.open(other, writable=True) as place_map, place_map.edit() as db:
        put_meta(db, "map_id", "0123456789ab")
    before, former = PlaceMap.open(town).keyframes().descriptors, table.read_bytes()
    with room_for(2000):
        assert_sentence(vpr("export", town, "-o", table, "--force"), f"cannot write {table}")
        assert_sentence(vpr("info", town, "--pictures", tmp_path / "town.jpg"), f"cannot write {tmp_path}/town.jpg")
        assert_sentence(vpr("merge", town, other, "-o", tmp_path / "both.vpr"), f"create map {tmp_path}/both.vpr")
        assert_sentence(vpr("redescribe", town, "-c", checkpoint), "write", "free space")
    assert table.read_bytes() == former and names(tmp_path) == ["other.vpr", "town.csv", "town.vpr"]
    np.testing.assert_array_equal(PlaceMap.open(town).keyframes().descriptors, before)


# kill -9


def test_a_killed_run_keeps_its_answers_and_the_next_call_says_so(localize, run_folder, vpr, tmp_path):
    run = tmp_path / "run"
    killed_at(12, *localize)  # nothing is buffered: the twelve answers are there
    answered = lines_of(run / "matches.jsonl")
    assert answered == lines_of(run_folder / "matches.jsonl")[:12] and not [n for n in names(run) if n[0] == "."]
    assert_sentence(
        vpr(*localize), "failed or was killed", "matches.jsonl (12 lines)", f"vpr_ros report {run}", "--force"
    )
    result = vpr("report", run)
    assert result.exit_code == 0 and "12 frames" in result.stdout
    stamps = [r["stamp_ns"] for r in answered]
    (tmp_path / "pairs.csv").write_text(
        "query,reference,tolerance\n" + "".join(f"{s},{s - 10**13},1\n" for s in stamps)
    )
    result = vpr("eval", "run", run, "--truth", tmp_path / "pairs.csv")
    assert result.exit_code == 0 and "did not come to the bag's end: these are its first 12 frames" in result.stdout
    assert "`vpr_ros eval run` draws the page with the truth again" in vpr("report", run).stdout
    killed_at(3, *localize, "--force")
    assert len(lines_of(run / "matches.jsonl")) == 3
    result = vpr(*localize, "--force", "--no-report")
    assert result.exit_code == 0 and names(run) == KEPT and names(tmp_path) == ["pairs.csv", "run"]
    assert lines_of(run / "matches.jsonl") == lines_of(run_folder / "matches.jsonl")


def test_a_killed_mapping_keeps_what_was_saved_and_the_next_call_says_so(bags, checkpoint, vpr, tmp_path):
    town = tmp_path / "town.vpr"
    call = ("map", bags["first"], "-o", town, "-c", checkpoint, "--batch", 1)
    killed_at(10, *call, "--set", "keyframe_distance_m=0.1")
    with PlaceMap.open(town) as place_map:
        kept = len(place_map)
    result = vpr(*call)
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    if kept:
        assert f"has {kept} keyframes of this bag already, in session 1 'first'" in said
        assert f"vpr_ros prune {town} --drop-session 1" in said
    with PlaceMap.open(town) as place_map:
        assert len(place_map) == kept + 30


@pytest.mark.parametrize("command", ["redescribe", "calibrate"])
def test_a_killed_change_of_a_map_leaves_the_map_as_it_was(command, bags, first_map, checkpoint, vpr, tmp_path):
    town = shutil.copy(first_map, tmp_path / "town.vpr")
    drive = ("--drive", bags["second"], "--map-bag", bags["first"]) if command == "calibrate" else ()
    call = (command, town, "-c", checkpoint, *drive)
    with PlaceMap.open(town) as place_map:
        before, version = place_map.keyframes().descriptors, place_map.version
    killed_at(5, *call)
    with PlaceMap.open(town) as place_map:
        np.testing.assert_array_equal(place_map.keyframes().descriptors, before)
        assert place_map.version == version and place_map.get_calibration() is None
    assert names(tmp_path) == ["town.vpr"]
    result = vpr(*call)
    assert result.exit_code == 0, result.output


def test_a_killed_evaluation_and_export_leave_what_was_there(bags, run_folder, first_map, vpr, tmp_path):
    bag = tmp_path / "walk"
    (tmp_path / "pictures").mkdir()
    for i in range(4):
        (tmp_path / "pictures" / f"{i}.jpg").write_bytes(b"\xff\xd8 not looked at here")
    call = ("bag", tmp_path / "pictures", "-o", bag)
    killed_at(2, *call)
    assert not bag.exists()
    result = vpr(*call)
    assert result.exit_code == 0 and names(tmp_path) == ["pictures", "walk"], result.output
    killed_at(2, *call, "--force")
    assert (bag / "metadata.yaml").exists()


# Flipped bits


def test_a_flipped_bit_of_a_descriptor_is_named_and_redescribing_mends_it(
    localize, first_map, checkpoint, vpr, tmp_path
):
    town = shutil.copy(first_map, tmp_path / "town.vpr")
    with PlaceMap.open(town) as place_map:
        vector = place_map.keyframes().descriptors[4].tobytes()
    data = bytearray(town.read_bytes())
    assert data.count(vector) == 1
    data[data.index(vector) + 9] ^= 4
    town.write_bytes(data)
    call = [town if argument == first_map else argument for argument in localize]
    for refused in (call, ("info", town), ("merge", town, first_map, "-o", tmp_path / "both.vpr")):
        assert_sentence(vpr(*refused), "damaged", "the descriptor of keyframe 5", f"vpr_ros redescribe {town}")
    assert names(tmp_path) == ["town.vpr"]
    result = vpr("redescribe", town, "-c", checkpoint)
    assert result.exit_code == 0, result.output
    assert vpr("info", town).exit_code == 0


# Verification that cannot be


def test_verification_without_lidar_is_refused_before_the_run(localize, checkpoint, first_map, street, vpr, tmp_path):
    said = f"bag {localize[1]} has no LiDAR topic"
    assert_sentence(vpr(*localize, "--verify", "lidar"), "nothing to verify with", said, "--points-topic")
    scanned = tmp_path / "scanned"
    with BagWriter(scanned) as bag:
        for i, image in enumerate(street.drive_images(1, 3)):
            stamp = street.START_NS + i * street.SECOND_NS
            bag.write("/camera/image/compressed", compressed_image_msg(image, stamp), stamp)
            bag.write("/points", cloud_msg(np.ones((9, 3)), stamp, "base_link"), stamp)
    call = ("localize", scanned, "--map", first_map, "-c", checkpoint, "-o", tmp_path / "run", "--verify", "lidar")
    assert_sentence(vpr(*call), f"map {first_map} keeps no LiDAR clouds", "--clouds")
    assert names(tmp_path) == ["scanned"]
    town = tmp_path / "town.vpr"
    assert vpr("map", scanned, "-o", town, "-c", checkpoint, "--clouds", "--keyframe-every", 1).exit_code == 0
    call = (
        "localize",
        scanned,
        "--map",
        town,
        "-c",
        checkpoint,
        "-o",
        tmp_path / "run",
        "--verify",
        "lidar",
        "--no-report",
    )
    result = vpr(*call, "--accept-probability", 0.9999)
    assert result.exit_code == 0, result.output
    assert "verification: nothing was accepted, so nothing was verified" in result.stdout
