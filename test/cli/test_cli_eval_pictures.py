"""`vpr_ros eval run --truth` on runs over folders of pictures: by number, by name, from tables and arrays."""

import json
import shutil

import cv2
import numpy as np
import pytest
from command_line import assert_sentence, run

COUNT = 12


@pytest.fixture(scope="module")
def walk(checkpoint, street, tmp_path_factory):
    """Two folders of pictures of one street, their bags, a map of the first and the run of the second."""
    folder = tmp_path_factory.mktemp("walk")
    for name, noise in (("first", 0), ("second", 5)):
        (folder / name).mkdir()
        for i, image in enumerate(street.drive_images(1, COUNT, noise)):
            cv2.imwrite(str(folder / name / f"{i:04d}.jpg"), image[:, :, ::-1])
        assert run("bag", folder / name, "-o", folder / f"{name}_bag").exit_code == 0
    options = ("-c", checkpoint)
    made = run("map", folder / "first_bag", "-o", folder / "map.vpr", "--keyframe-every", 1, *options)
    assert made.exit_code == 0, made.output
    arguments = ("--map", folder / "map.vpr", "-o", folder / "run", "--no-report", *options)
    made = run("localize", folder / "second_bag", *arguments)
    assert made.exit_code == 0, made.output
    return folder


def figures(walk):
    return json.loads((walk / "run" / "eval.json").read_text(encoding="utf-8"))


def test_all_ways_to_say_that_the_walks_are_in_step_agree(walk, vpr, tmp_path):
    table = tmp_path / "pairs.csv"
    table.write_text("query_name,reference_name\n" + "".join(f"{i:04d}.jpg,{i:04d}.jpg\n" for i in range(COUNT)))
    np.save(tmp_path / "pairs.npy", np.arange(COUNT))
    found = []
    for truth in ("frames:0", "names", table, tmp_path / "pairs.npy"):
        result = vpr("eval", "run", walk / "run", "--truth", truth)
        assert result.exit_code == 0, result.output
        found.append({k: v for k, v in figures(walk).items() if k != "rule"})
        assert found[-1] == found[0]
    assert found[0]["on_map"] == COUNT and found[0]["recall"]["1"] >= 0.9


def test_bags_that_were_moved_are_named(walk, vpr, tmp_path):
    moved = shutil.copytree(walk, tmp_path / "moved")
    run = json.loads((moved / "run" / "run.json").read_text())
    run["bag"] = str(tmp_path / "gone")
    (moved / "run" / "run.json").write_text(json.dumps(run))
    call = ("eval", "run", moved / "run", "--map", moved / "map.vpr", "--truth", "frames:1")
    assert_sentence(vpr(*call), "gone", "--query-bag")
    assert vpr(*call, "--query-bag", moved / "second_bag").exit_code == 0
    assert vpr(*call, "--query-bag", moved / "second_bag", "--map-bag", moved / "first_bag").exit_code == 0


def test_bad_truth_is_one_sentence(walk, vpr, tmp_path):
    for truth, words in (
        ("frames:x", ("frames:K",)),
        ("frame:2", ("frame:2", "names", ".npy")),
        (tmp_path / "no.csv", ("no.csv", "does not exist")),
    ):
        assert_sentence(vpr("eval", "run", walk / "run", "--truth", truth), *words)


def test_a_map_is_calibrated_on_a_drive_by_the_same_truth(walk, checkpoint, vpr, tmp_path):
    town = shutil.copy(walk / "map.vpr", tmp_path / "town.vpr")
    call = ("calibrate", town, "-c", checkpoint, "--bag", walk / "second_bag", "--truth")
    assert_sentence(vpr(*call, "frame:2"), "frame:2", "names")
    assert_sentence(vpr(*call, "frames:1"), "12 queries")  # the truth is there, but for too few pictures


def test_folders_need_no_bags(walk, checkpoint, vpr, tmp_path):
    """Mapped and localised directly they give the map, the answers and the figures of their bags."""
    options = ("-c", checkpoint)
    made = vpr("map", walk / "first", "-o", tmp_path / "map.vpr", "--keyframe-every", 1, *options)
    assert made.exit_code == 0 and f"{COUNT} keyframes" in made.output, made.output
    made = vpr("localize", walk / "second", "--map", tmp_path / "map.vpr", "-o", tmp_path / "run", *options)
    assert made.exit_code == 0, made.output
    answers = [
        [json.loads(line) for line in (folder / "run" / "matches.jsonl").read_text().splitlines()]
        for folder in (tmp_path, walk)
    ]
    assert answers[0] == answers[1] and len(answers[0]) == COUNT
    assert "data:image" in (tmp_path / "run" / "report.html").read_text()  # its pictures were found, too
    for truth in ("frames:0", "names"):
        for folder in (tmp_path, walk):
            result = vpr("eval", "run", folder / "run", "--truth", truth)
            assert result.exit_code == 0, result.output
        assert figures(tmp_path) == figures(walk)
    (tmp_path / "robot").mkdir()
    shutil.copytree(walk / "first", tmp_path / "robot" / "front")
    for command in (("map", tmp_path / "robot", "-o", tmp_path / "no.vpr"), ("doctor", tmp_path / "robot")):
        assert_sentence(vpr(*command), "robot holds no pictures itself", "front")
    assert vpr("doctor", walk / "first").exit_code in (0, 1)
