"""`vpr_ros calibrate` on maps without poses, on themselves and on drives of pictures, and what `info` tells of it."""

import json
import shutil

import cv2
import numpy as np
import pytest
from command_line import assert_sentence, run

from vpr_ros.place_map import PlaceMap
from vpr_ros.recognition import Calibration

COUNT = 72


def pictures(folder, images):
    folder.mkdir()
    for i, image in enumerate(images):
        cv2.imwrite(str(folder / f"{i:04d}.jpg"), image[:, :, ::-1])
    assert run("bag", folder, "-o", folder.with_name(f"{folder.name}_bag")).exit_code == 0


@pytest.fixture(scope="module")
def walk(checkpoint, street, tmp_path_factory):
    """Bags of two walks through a street, of which the second goes on elsewhere, and a map of the first."""
    folder = tmp_path_factory.mktemp("walk")
    pictures(folder / "first", street.drive_images(1, COUNT))
    pictures(folder / "second", street.drive_images(1, COUNT, 5) + street.drive_images(2, 40, 6))
    made = run("map", folder / "first_bag", "-o", folder / "walk.vpr", "--keyframe-every", 1, "-c", checkpoint)
    assert made.exit_code == 0, made.output
    return folder


@pytest.fixture
def town(walk, tmp_path):
    return shutil.copy(walk / "walk.vpr", tmp_path / "town.vpr")


def calibration_of(path):
    with PlaceMap.open(path) as place_map:
        return Calibration.from_dict(place_map.get_calibration())


def test_a_map_without_poses_is_matched_against_itself(town, checkpoint, vpr):
    result = vpr("calibrate", town, "-c", checkpoint, "--precision", 0.99)
    assert result.exit_code == 0, result.output
    own = calibration_of(town)
    assert own.source == "self-matches" and own.plain.cap is not None and own.n_queries == COUNT
    said = " ".join(result.stdout.split())
    assert "may only have been lowered" in said and "labelled drive only (--drive)" in said


def test_a_drive_of_pictures_calibrates_a_map_without_poses(walk, town, checkpoint, vpr, tmp_path):
    call = ("calibrate", town, "-c", checkpoint, "--drive", walk / "second_bag")
    result = vpr(*call, "--truth", "frames:2", "--precision", 0.9, "--pictures", tmp_path / "seen")
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "seen").iterdir()} == {"reliability.png", "precision_recall.png"}
    assert all(cv2.imread(str(path)).shape[0] > 200 for path in (tmp_path / "seen").iterdir())
    by_number = calibration_of(town)
    # The drive is longer than the map: what follows lies off it.
    assert (by_number.source, by_number.n_queries, by_number.n_off_map) == ("labelled drive", COUNT + 40, 38)
    said = " ".join(result.stdout.split())
    assert by_number.plain.threshold(0.9).sentence in said
    for truth in ("names", tmp_path / "t.csv", tmp_path / "t.npy"):
        table = "".join(f"{i},{i},1\n" if i < COUNT else f"{i},,\n" for i in range(COUNT + 40))
        (tmp_path / "t.csv").write_text("query_frame,reference_frame,tolerance\n" + table)
        np.save(tmp_path / "t.npy", np.where(np.arange(COUNT + 40) < COUNT, np.arange(COUNT + 40), -1))
        assert vpr(*call, "--truth", truth).exit_code == 0
        found = calibration_of(town)
        assert (found.n_queries, found.n_off_map) == (COUNT + 40, 40)
    out = tmp_path / "run"
    localized = vpr("localize", walk / "second_bag", "-m", town, "-o", out, "-c", checkpoint, "--precision", 0.9)
    assert localized.exit_code == 0, localized.output
    least = json.loads((out / "run.json").read_text())["accepted_from"]["plain"]
    assert least == calibration_of(town).plain.threshold(0.9).probability
    records = [json.loads(line) for line in (out / "matches.jsonl").read_text().splitlines()]
    for record in records:
        best = max((one["probability"] for one in record["hypotheses"]), default=0.0)
        assert record["status"] != "accepted" or best >= least - 1e-6


def test_a_place_is_as_wide_as_its_radius_whatever_the_truth(walk, town, checkpoint, vpr, tmp_path):
    with PlaceMap.open(town) as place_map:
        assert place_map.place_radius_m == 2.0 and not place_map.has_poses
    call = ("calibrate", town, "-c", checkpoint, "--drive", walk / "second_bag", "--truth")
    assert vpr(*call, "frames:2").exit_code == 0
    wide = calibration_of(town)
    assert vpr(*call, "frames:0").exit_code == 0
    assert calibration_of(town) == wide
    assert vpr(*call, "frames:4").exit_code == 0
    assert calibration_of(town).n_off_map == wide.n_off_map - 2


def test_info_shows_a_calibration_with_its_thresholds(walk, town, checkpoint, vpr):
    assert json.loads(vpr("info", town, "--json").stdout)["calibration_facts"] is None
    assert (
        vpr("calibrate", town, "-c", checkpoint, "--drive", walk / "second_bag", "--truth", "frames:2").exit_code == 0
    )
    facts = json.loads(vpr("info", town, "--json").stdout)["calibration_facts"]
    assert facts["source"] == "labelled drive" and facts["queries"] == COUNT + 40
    assert set(facts["thresholds"]["any"]) == {"0.95", "0.99"}
    shown = " ".join(vpr("info", town).stdout.split())
    assert f"{COUNT + 40} queries, 38 of them off the map" in shown and "precision 0.99" in shown


def test_truth_that_does_not_fit_is_one_sentence(walk, town, checkpoint, vpr, tmp_path, street):
    (tmp_path / "others").mkdir()
    for i, image in enumerate(street.drive_images(1, 40)):
        cv2.imwrite(str(tmp_path / "others" / f"other_{i}.jpg"), image)
    assert vpr("bag", tmp_path / "others", "-o", tmp_path / "others_bag").exit_code == 0
    call = ("calibrate", town, "-c", checkpoint)
    assert_sentence(
        vpr(*call, "--drive", tmp_path / "others_bag", "--truth", "names"), "0 of them on the map", "fit this map"
    )
    assert_sentence(vpr(*call, "--drive", walk / "second_bag"), "no poses", "--truth")
    assert_sentence(vpr(*call, "--truth", "frames:2"), "--drive")
    assert_sentence(vpr(*call, "--pictures", tmp_path / "seen"), "--drive")
    (tmp_path / "file").write_text("")
    wrong = ("--drive", walk / "second_bag", "--truth", "frames:2", "--pictures", tmp_path / "file")
    assert_sentence(vpr(*call, *wrong), "file")
    assert_sentence(vpr(*call, "--drive", tmp_path / "gone", "--truth", "frames:2"), "gone")
    assert_sentence(
        vpr(*call, "--drive", walk / "second_bag", "--truth", "frames:2", "--precision", 0), "between 0 and 1"
    )


def test_a_small_map_says_what_it_would_need(walk, checkpoint, vpr, tmp_path):
    small = tmp_path / "small.vpr"
    assert vpr("map", walk / "first_bag", "-o", small, "--keyframe-every", 2, "-c", checkpoint).exit_code == 0
    assert_sentence(vpr("calibrate", small, "-c", checkpoint), f"{COUNT // 2} keyframes", "at least 60", "labelled")
