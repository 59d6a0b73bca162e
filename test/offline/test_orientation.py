"""Drives whose pictures are turned: with the right rotation they are the upright drive, and a map finds that out."""

import json

import numpy as np
import pytest
from pixel_street import PixelExtractor, observations, panorama

from vpr_ros.configuration import GateConfig
from vpr_ros.errors import VprError
from vpr_ros.evaluation.matches import read_matches, read_run
from vpr_ros.offline import orientation, reporting
from vpr_ros.offline.localize_bag import LocalizeBagConfig, localize_bag
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.offline.orientation import orientation_advice, orientation_by_map, orientation_stage
from vpr_ros.pictures import decode
from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map import info as describe
from vpr_ros.sensors import BagWriter, DriveConfig, DriveTopics, compressed_image_msg
from vpr_ros.sensors.upright import turned

EXTRACTOR = PixelExtractor()
TOPICS = DriveTopics(odom="none", pose="none")
METRES = np.arange(0, 120, 3.0)
ROTATIONS = (0, 90, 180, 270)


def frames(seed=0, wall=1):
    return list(observations(panorama(wall), METRES, noise=2.0, seed=seed, odometry=False))


def write_bag(path, taken, rotation=0):
    """The frames, (60, 80) pixels, as a camera records them whose pictures have to be turned by `rotation`."""
    with BagWriter(path) as bag:
        for frame in taken:
            raw = turned(frame.image, (360 - rotation) % 360)
            bag.write("/camera", compressed_image_msg(raw, frame.stamp_ns, format="png"), frame.stamp_ns)
    return path


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    return {rotation: write_bag(folder / f"by{rotation}", frames(seed=7), rotation) for rotation in ROTATIONS}


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("map")
    bag = write_bag(folder / "first", frames())
    map_bag(bag, folder / "town.vpr", EXTRACTOR, MapBagConfig(TOPICS, GateConfig(every_n=1)))
    return folder / "town.vpr"


def localize(bag, town, out, rotate):
    config = LocalizeBagConfig(TOPICS, drive=DriveConfig(rotate=rotate))
    return localize_bag(bag, town, out, EXTRACTOR, config)


@pytest.mark.parametrize("rotation", ROTATIONS[1:])
def test_turned_upright_a_drive_is_answered_as_the_upright_one(bags, town, tmp_path, rotation):
    localize(bags[0], town, tmp_path / "upright", "auto")
    result = localize(bags[rotation], town, tmp_path / "turned", str(rotation))
    upright, found = (read_matches(tmp_path / name / "matches.jsonl") for name in ("upright", "turned"))
    assert found == upright and len(found) == len(METRES)
    assert result.mounting.rotation == rotation
    run = read_run(tmp_path / "turned" / "run.json")
    assert run.extra["rotation"] == rotation and run.extra["parameters"]["rotate"] == str(rotation)
    retrieved = [record.retrieval[0][0] for record in found]
    assert np.mean(np.abs(np.array(retrieved) - np.arange(1, 41)) <= 1) > 0.9  # as in the upright drive, right


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_turned_drive_makes_the_upright_map(bags, tmp_path, rotation):
    config = MapBagConfig(TOPICS, GateConfig(every_n=5), drive=DriveConfig(rotate=str(rotation)))
    path = tmp_path / "m.vpr"
    result = map_bag(bags[rotation], path, EXTRACTOR, config)
    assert result.mounting.rotation == rotation
    with PlaceMap.open(path) as place_map:
        keyframes, (session,) = place_map.keyframes(), describe(place_map)["sessions"]
        thumbnail = decode(place_map.thumbnail(int(keyframes.ids[0])))
        cameras = place_map.cameras
    wanted = EXTRACTOR.describe([frame.image for frame in frames(seed=7)[::5]])
    np.testing.assert_array_equal(keyframes.descriptors, wanted)
    upright = EXTRACTOR.prepare(frames(seed=7)[0].image)
    assert np.abs(thumbnail.astype(int) - upright).mean() < 8  # JPEG; another orientation differs by far more
    assert session["rotation"] == rotation
    assert {i: camera.rotation for i, camera in cameras.items()} == ({1: rotation} if rotation else {})


@pytest.mark.parametrize("rotation", ROTATIONS[1:])
def test_where_nothing_matches_the_way_that_does_is_named(bags, town, tmp_path, rotation):
    result = localize(bags[rotation], town, tmp_path / "run", "auto")
    assert result.counts["accepted"] == 0
    (hint,) = result.hints
    assert f"turned by {rotation} degrees the frames match the map" in hint
    assert hint.endswith(f"try --rotate {rotation}")
    # A rotation that was asked for in vain is named as well.
    wrong = localize(bags[0], town, tmp_path / "wrong", str(rotation))
    (hint,) = wrong.hints
    assert "as the camera gave them" in hint and hint.endswith("try --rotate 0")


def test_no_advice_for_an_upright_drive_nor_for_another_place(bags, town, tmp_path):
    elsewhere = write_bag(tmp_path / "elsewhere", frames(wall=2))
    assert "--rotate" not in " ".join(localize(elsewhere, town, tmp_path / "there", "auto").hints)
    with PlaceMap.open(town) as place_map:
        same = orientation_by_map([f.image for f in frames(seed=7)[::4]], place_map, EXTRACTOR)
        other = orientation_by_map([f.image for f in frames(wall=2)[::4]], place_map, EXTRACTOR)
    assert same.rotation == 0 and orientation_advice(same, 0) == "" and orientation_stage(same, 0).verdict == "OK"
    assert other.rotation is None and orientation_advice(other, 0) == ""
    stage = orientation_stage(other, 0)
    assert stage.verdict == "WARN" and "another place" in stage.sentence


def test_similarities_are_those_of_a_naive_loop(town, monkeypatch):
    monkeypatch.setattr(orientation, "_CHUNK", 7)
    rng = np.random.default_rng(2)
    queries, keyframes = rng.normal(size=(4, 5, 12)).astype(np.float32), rng.normal(size=(20, 12)).astype(np.float16)
    found = orientation._best_similarities(queries, keyframes, (8, 4))
    kept = keyframes.astype(np.float64)
    for way in range(4):
        for i in range(5):
            best = -np.inf
            for row in kept - kept.mean(axis=0):
                asked = queries[way, i].astype(np.float64) - queries[way].astype(np.float64).mean(axis=0)
                cosines = [
                    asked[part] @ row[part] / np.linalg.norm(asked[part]) / np.linalg.norm(row[part])
                    for part in (slice(0, 8), slice(8, 12))
                ]
                best = max(best, np.mean(cosines))
            assert found[way, i] == pytest.approx(best, abs=1e-4)


def test_too_few_pictures_say_nothing_and_unusable_ones_are_left_out(town):
    blank = np.zeros((60, 80, 3), np.uint8)
    with PlaceMap.open(town) as place_map:
        few = orientation_by_map([f.image for f in frames(seed=7)[:4]] + [blank] * 8, place_map, EXTRACTOR)
        enough = orientation_by_map([blank] + [f.image for f in frames(seed=7)[::4]], place_map, EXTRACTOR)
    assert (few.frames, few.rotation) == (4, None)
    assert "5 pictures" in orientation_stage(few, 0).sentence
    assert (enough.frames, enough.rotation) == (10, 0)


def test_a_map_of_another_model_is_refused(town):
    other = PixelExtractor()
    other.fingerprint = "b2" * 32
    with PlaceMap.open(town) as place_map, pytest.raises(VprError, match="redescribe"):
        orientation_by_map([frames()[0].image], place_map, other)


def test_pictures_of_a_report_are_upright(bags, town, tmp_path, monkeypatch):
    taken = {}
    monkeypatch.setattr(reporting, "write_report", lambda _path, report: taken.update(report=report))
    localize(bags[90], town, tmp_path / "run", "90")
    reporting.write_run_report(tmp_path / "run", town)
    upright = frames(seed=7)[3]
    shown = decode(taken["report"].query_images([upright.stamp_ns])[upright.stamp_ns])
    assert shown.shape == upright.image.shape and np.abs(shown.astype(int) - upright.image).mean() < 8


def test_a_run_is_plain_json(bags, town, tmp_path):
    localize(bags[90], town, tmp_path / "run", "90")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["rotation"] == 90
