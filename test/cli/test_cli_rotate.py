"""Cameras that do not stand upright, at the command line: --rotate, what doctor names, what info keeps."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from vpr_ros import pictures
from vpr_ros.cli.app import app
from vpr_ros.geometry import planar_transform, rigid_transform
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import BagWriter, camera_info_msg, compressed_image_msg, odometry_msg, tf_msg
from vpr_ros.sensors.upright import turned

HANGING = rigid_transform(np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), [0, 0, 1.5])  # optical frame, upside down


@pytest.fixture(scope="module")
def bags(street, tmp_path_factory):
    """One street, upright and by a camera that hangs upside down: with TF that says so, and without."""
    folder = tmp_path_factory.mktemp("rotated")
    made = {"upright": folder / "upright", "hanging": folder / "hanging", "silent": folder / "silent"}
    for name, path in made.items():
        with BagWriter(path) as bag:
            if name == "hanging":
                links = tf_msg([("base_link", "camera_optical_frame", HANGING)], street.START_NS)
                bag.write("/tf_static", links, street.START_NS)
            for i, image in enumerate(street.drive_images(1, 24, noise_seed=int(name != "upright"))):
                stamp = street.START_NS + i * street.SECOND_NS // 2
                shown = image if name == "upright" else turned(image, 180)
                bag.write("/camera/image", compressed_image_msg(shown, stamp, format="png"), stamp)
    return made


@pytest.fixture(scope="module")
def upright_map(bags, checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp("map") / "town.vpr"
    call = ["map", bags["upright"], "-o", path, "-c", checkpoint, "--keyframe-every", 1]
    assert CliRunner().invoke(app, [str(word) for word in call]).exit_code == 0
    return path


def matches(folder):
    return (folder / "matches.jsonl").read_text()


def test_tf_and_told_give_the_same_answers(vpr, bags, upright_map, checkpoint, tmp_path):
    options = ("--map", upright_map, "-c", checkpoint, "--no-report")
    by_tf = vpr("localize", bags["hanging"], "-o", tmp_path / "tf", *options)
    assert by_tf.exit_code == 0 and "upside down" in by_tf.stdout
    told = vpr("localize", bags["silent"], "-o", tmp_path / "told", *options, "--rotate", 180)
    assert told.exit_code == 0 and "as rotate says" in told.stdout
    assert vpr("localize", bags["silent"], "-o", tmp_path / "set", *options, "--set", "rotate=180").exit_code == 0
    (tmp_path / "mine.yaml").write_text("rotate: 180\n")
    filed = vpr("localize", bags["silent"], "-o", tmp_path / "filed", *options, "--config", tmp_path / "mine.yaml")
    assert filed.exit_code == 0
    assert len({matches(tmp_path / name) for name in ("tf", "told", "set", "filed")}) == 1
    found = [json.loads(line)["retrieval"][0][0] for line in matches(tmp_path / "tf").splitlines()]
    assert np.mean(np.abs(np.array(found) - np.arange(1, 25)) <= 1) > 0.8


def test_localize_says_which_way_the_frames_match(vpr, bags, upright_map, checkpoint, tmp_path):
    result = vpr("localize", bags["silent"], "--map", upright_map, "-c", checkpoint, "-o", tmp_path / "run")
    assert result.exit_code == 0 and "try --rotate 180" in result.stdout


def test_doctor_names_the_roll_by_tf_and_by_a_map(vpr, bags, upright_map, checkpoint):
    assert "upside down" in vpr("doctor", bags["hanging"]).stdout
    result = vpr("doctor", bags["silent"], "--map", upright_map, "-c", checkpoint)
    assert result.exit_code == 0 and "WARN  orientation: turned by 180 degrees" in result.stdout
    assert "OK    orientation" in vpr("doctor", bags["hanging"], "--map", upright_map, "-c", checkpoint).stdout
    told = vpr("doctor", bags["silent"], "--map", upright_map, "-c", checkpoint, "--rotate", 180, "--json")
    report = json.loads(told.stdout)
    assert report["rotation"] == 180
    assert [s["verdict"] for s in report["stages"] if s["stage"] == "orientation"] == ["OK"]


def test_info_shows_the_rotation_of_each_session(vpr, bags, checkpoint, upright_map, tmp_path):
    path = tmp_path / "m.vpr"
    for name, options in (("upright", ()), ("hanging", ()), ("silent", ("--rotate", 270))):
        assert vpr("map", bags[name], "-o", path, "-c", checkpoint, *options).exit_code == 0
    facts = json.loads(vpr("info", path, "--json").stdout)
    assert [session["rotation"] for session in facts["sessions"]] == [0, 180, 270]
    assert "turned" in vpr("info", path).stdout
    with PlaceMap.open(path) as place_map:
        assert {i: camera.rotation for i, camera in place_map.cameras.items()} == {2: 180, 3: 270}


@pytest.mark.parametrize("command", ["map", "localize", "frames", "doctor"])
def test_another_angle_is_one_sentence(vpr, bags, upright_map, command, tmp_path):
    more = {
        "map": ("-o", tmp_path / "m.vpr"),
        "localize": ("--map", upright_map, "-o", tmp_path / "run"),
        "frames": ("-o", tmp_path / "set"),
        "doctor": (),
    }[command]
    result = vpr(command, bags["upright"], *more, "--rotate", "45")
    assert result.exit_code == 2 and "Traceback" not in result.output
    text = result.stderr.strip()
    assert "\n" not in text and "auto, 0, 90, 180 or 270" in text and "45" in text
    assert not list(tmp_path.iterdir())


def test_a_map_that_is_not_there_is_one_sentence(vpr, bags, tmp_path):
    result = vpr("doctor", bags["upright"], "--map", tmp_path / "nowhere.vpr")
    assert result.exit_code == 2 and "nowhere.vpr" in result.stderr and "Traceback" not in result.output


def test_frames_are_upright(vpr, street, tmp_path):
    image = np.zeros((24, 40, 3), np.uint8)
    image[:6] = 255  # what lies at the top
    with BagWriter(tmp_path / "bag") as bag:
        for i in range(3):
            stamp = street.START_NS + i * street.SECOND_NS
            K = np.array([[30.0, 0, 11], [0, 31, 19], [0, 0, 1]])
            bag.write("/odom", odometry_msg(planar_transform(3.0 * i, 0, 0), stamp), stamp)
            bag.write("/camera/camera_info", camera_info_msg(K, 24, 40, stamp), stamp)
            shown = turned(image, 270)  # by a camera whose top points to the right
            bag.write("/camera/image", compressed_image_msg(shown, stamp, format="png"), stamp)
    result = vpr("frames", tmp_path / "bag", "-o", tmp_path / "set", "--no-require-cloud", "--rotate", 90)
    assert result.exit_code == 0, result.output
    (entry,) = json.loads((tmp_path / "set" / "meta.json").read_text())["drives"]
    assert (entry["camera"]["width"], entry["camera"]["height"]) == (40, 24)
    np.testing.assert_allclose(np.array(entry["camera"]["K"]), [[31, 0, 20], [0, 30, 11], [0, 0, 1]])
    kept = [pictures.read(path) for path in sorted((tmp_path / "set").rglob("*.jpg"))]
    assert len(kept) == 3
    assert all(one.shape == (24, 40, 3) and one[:5].mean() > 200 and one[8:].mean() < 50 for one in kept)
