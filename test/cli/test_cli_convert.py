"""RobotCar folders through `vpr_ros convert`: the bag's content, the commands that read it, kills, and bad folders."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import robotcar_layout as layout

from vpr_ros.geometry import invert
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import Bag, Camera, Drive, decode_cloud, decode_image, stamp_ns
from vpr_ros.sensors.poses.trajectory import pose_of
from vpr_ros.training.data.convert.robotcar import convert_robotcar
from vpr_ros.training.data.datasets.robotcar.models import T_base_lidar
from vpr_ros.training.data.datasets.robotcar.traversal import Traversal

SUMMER, WINTER = layout.NAMES


@pytest.fixture(scope="module")
def raw():
    return layout.rendered()[0]


@pytest.fixture(scope="module")
def robotcar_bags(raw, tmp_path_factory):
    """Both traversals converted by the command."""
    from typer.testing import CliRunner

    from vpr_ros.cli import app

    folder, out = tmp_path_factory.mktemp("converted"), {}
    for name, options in [(SUMMER, []), (WINTER, ["--lidar", "lms_front"])]:
        result = CliRunner().invoke(app, ["convert", "robotcar", str(raw / name), "-o", str(folder / name), *options])
        assert result.exit_code == 0, result.output
        assert re.search(r"\d+ messages in 1 file$", result.output.strip())
        out[name] = folder / name
    return out


def messages(bag, topic):
    with Bag(bag) as opened:
        return [(t, msg) for _, t, msg in opened.messages([topic])]


def test_the_bag_holds_every_reading(raw, robotcar_bags):
    traversal = Traversal(raw / SUMMER)
    model = traversal.camera("stereo/centre")
    with Bag(robotcar_bags[SUMMER]) as bag:
        counts = {t.name: t.count for t in bag.topics}
    assert counts == {
        "/camera/image/compressed": 23,
        "/camera/camera_info": 23,
        "/points": 12,
        "/odom": len(traversal.ins),
        "/tf": len(traversal.ins),
        "/tf_static": 1,
        "/ground_truth/pose": len(traversal.rtk),
    }
    stamps = traversal.stamps_ns("stereo/centre")
    for (t, msg), stamp in zip(messages(robotcar_bags[SUMMER], "/camera/image/compressed"), stamps, strict=True):
        assert t == stamp == stamp_ns(msg) and msg.header.frame_id == "camera_optical_frame"
        expected = traversal.image("stereo/centre", int(stamp), model)
        assert np.abs(decode_image(msg).astype(int) - expected).mean() < 6  # JPEG
    camera = Camera.from_message(messages(robotcar_bags[SUMMER], "/camera/camera_info")[0][1])
    np.testing.assert_allclose(camera.K, model.K)
    assert (camera.width, camera.height) == (160, 120) and not camera.distortion.any()
    scans = traversal.stamps_ns("velodyne_left")
    for (t, msg), stamp in zip(messages(robotcar_bags[SUMMER], "/points"), scans, strict=True):
        assert t == stamp == stamp_ns(msg) and msg.header.frame_id == "velodyne_left"
        np.testing.assert_array_equal(decode_cloud(msg), traversal.scan("velodyne_left", int(stamp))[:, :3])
    for topic, trajectory in [("/odom", traversal.ins), ("/ground_truth/pose", traversal.rtk)]:
        found = messages(robotcar_bags[SUMMER], topic)
        assert [t for t, _ in found] == trajectory.stamps_ns.tolist()
        np.testing.assert_allclose([pose_of(msg)[0] for _, msg in found], trajectory.T, atol=1e-9)
    twist = messages(robotcar_bags[SUMMER], "/odom")[50][1].twist.twist.linear
    assert 7 < twist.x < 9 and abs(twist.y) < 1 and abs(twist.z) < 0.1  # forward at 8 m/s


def test_a_traversal_without_ground_truth_or_velodyne(robotcar_bags):
    with Bag(robotcar_bags[WINTER]) as bag:
        names = {t.name for t in bag.topics}
        assert "/ground_truth/pose" not in names
        assert bag.topic("/points").count > 200
    _, scan = messages(robotcar_bags[WINTER], "/points")[0]
    assert scan.header.frame_id == "lms_front" and not decode_cloud(scan)[:, 2].any()


def test_the_bag_as_a_drive(raw, robotcar_bags):
    """What mapping and localising see: pictures with poses in the fixed map frame, and clouds in the base frame."""
    traversal = Traversal(raw / SUMMER)
    with Drive(robotcar_bags[SUMMER], load_clouds=True) as drive:
        observations = list(drive)
        assert len(observations) == 23 and not drive.skipped
        for observation in observations[::5]:
            T = traversal.ins.at(observation.stamp_ns)
            np.testing.assert_allclose(observation.T_map_base, T, atol=1e-6)
            np.testing.assert_allclose(observation.T_odom_base, T, atol=1e-6)
    seen = [o for o in observations if o.cloud is not None]
    assert len(seen) >= 10
    scans = traversal.stamps_ns("velodyne_left")
    stamp = int(scans[np.argmin(np.abs(scans - seen[3].stamp_ns))])
    M = invert(traversal.ins.at(seen[3].stamp_ns)) @ traversal.ins.at(stamp) @ T_base_lidar("velodyne_left")
    expected = traversal.scan("velodyne_left", stamp)[:, :3] @ M[:3, :3].T + M[:3, 3]
    np.testing.assert_allclose(seen[3].cloud, expected, atol=1e-3)


def test_doctor_finds_nothing_wrong(robotcar_bags, vpr):
    for name in (SUMMER, WINTER):
        result = vpr("doctor", robotcar_bags[name])
        assert result.exit_code == 0, result.output
        stages = [line for line in result.stdout.splitlines() if re.match(r"(OK|WARN|ERROR)\s", line)]
        assert len(stages) == 8 and all(line.startswith("OK") for line in stages), result.stdout


def test_map_one_season_and_localise_in_the_other(raw, robotcar_bags, checkpoint, vpr, tmp_path):
    town = tmp_path / "oxford.vpr"
    result = vpr("map", robotcar_bags[SUMMER], "-o", town, "-c", checkpoint)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(town) as place_map:
        keyframes = place_map.keyframes()
        assert len(keyframes) >= 15
        traversal = Traversal(raw / SUMMER)
        for stamp, T in zip(keyframes.stamps_ns, keyframes.T_map_base, strict=True):
            np.testing.assert_allclose(T, traversal.ins.at(int(stamp)), atol=1e-5)
    run = tmp_path / "run"
    result = vpr("localize", robotcar_bags[WINTER], "--map", town, "-o", run, "-c", checkpoint, "--no-report")
    assert result.exit_code == 0, result.output
    assert len((run / "matches.jsonl").read_text().splitlines()) == 23


PROGRAM = """
import sys, time
from vpr_ros.training.data.convert import robotcar as c
from vpr_ros.training.data.datasets.robotcar import traversal as robotcar
fast = robotcar.Traversal.image
def slow(self, *a):
    time.sleep(0.05)
    return fast(self, *a)
robotcar.Traversal.image = slow
c.convert_robotcar({folder!r}, {bag!r}, part_bytes=2_000_000)
"""


def test_a_killed_conversion_resumes_to_the_same_bag(raw, tmp_path):
    whole, bag = tmp_path / "whole" / "bag", tmp_path / "bag"
    convert_robotcar(raw / SUMMER, whole, part_bytes=2_000_000)
    parts = sorted(p.name for p in whole.glob("*.mcap"))
    assert len(parts) >= 8
    program = PROGRAM.format(folder=str(raw / SUMMER), bag=str(bag))
    run = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline, journal = time.monotonic() + 60, bag / "conversion.jsonl"
    while run.poll() is None and time.monotonic() < deadline:
        if journal.exists() and journal.read_bytes().count(b"\n") >= 3:
            time.sleep(0.03)
            run.send_signal(signal.SIGKILL)
        time.sleep(0.005)
    assert run.wait() == -signal.SIGKILL
    assert not (bag / "metadata.yaml").exists() and 2 <= len(list(bag.glob("*.mcap"))) < len(parts)
    result = convert_robotcar(raw / SUMMER, bag, part_bytes=2_000_000)
    assert result.kept_parts >= 2
    for name in [*parts, "metadata.yaml"]:
        assert (bag / name).read_bytes() == (whole / name).read_bytes(), name
    with Bag(bag) as a, Bag(whole) as b:
        names = [t.name for t in b.topics]
        assert [(n, t) for n, t, _ in a.messages(names)] == [(n, t) for n, t, _ in b.messages(names)]


def test_what_was_not_fetched_is_told(tmp_path, vpr):
    folder = layout.copy(tmp_path)
    for path in sorted((folder / "stereo" / "centre").glob("*.png"))[12:]:
        path.unlink()
    sorted((folder / "lms_front").glob("*.bin"))[30].unlink()
    result = vpr("convert", "robotcar", folder, "-o", tmp_path / "bag", "--lidar", "lms_front")
    assert result.exit_code == 0, result.output
    assert "stereo/centre: chunk 2 was not fetched" in result.stdout
    assert "lms_front: 1 reading has no file" in result.stdout
    clouds, pictures = (messages(tmp_path / "bag", t) for t in ("/points", "/camera/image/compressed"))
    assert len(pictures) == 12 and clouds[-1][0] <= pictures[-1][0] + 10**9 < clouds[-1][0] + 10**8


def test_a_begun_conversion_goes_on_only_with_the_same_folder_and_options(raw, tmp_path, vpr):
    folder, bag = layout.copy(tmp_path), tmp_path / "bag"
    torn = sorted((folder / "stereo" / "centre").glob("*.png"))[12]
    good = torn.read_bytes()
    torn.write_bytes(b"")  # one of 11 of its chunk: too many for a reading lost now and then
    result = vpr("convert", "robotcar", folder, "-o", bag)
    assert result.exit_code == 2 and "lacks 1 of the 11 files of chunk 2" in result.stderr
    assert not bag.exists()
    torn.write_bytes(good[:-40])
    result = vpr("convert", "robotcar", folder, "-o", bag)
    assert result.exit_code == 0 and "1 pictures of stereo/centre left out" in result.stdout
    assert torn.name in result.stdout
    assert len(messages(bag, "/camera/image/compressed")) == 22 == len(messages(bag, "/camera/camera_info"))
    result = vpr("convert", "robotcar", folder, "-o", bag)
    assert result.exit_code == 2 and "complete bag already" in result.stderr
    torn.write_bytes(good)
    result = vpr("convert", "robotcar", folder, "-o", bag, "--force", "--raw", "--lidar", "none")
    assert result.exit_code == 0, result.output
    with Bag(bag) as opened:
        names = {t.name for t in opened.topics}
        assert not names & {"/points", "/camera/camera_info"}
        assert opened.topic("/camera/image/compressed").count == 23


BAD = {
    "nothing there": (lambda f: f / "nowhere", [], "does not exist"),
    "the folder above": (lambda f: f.parent, [], "holds 1 traversals; give one of them"),
    "no camera": (lambda f: (f / "stereo.timestamps").unlink(), [], "stereo.timestamps is missing"),
    "no models": (
        lambda f: (f.parent / "models").rename(f.parent / "m"),
        [],
        "--models, or keep the images raw with --raw",
    ),
    "no poses": (lambda f: (f / "gps" / "ins.csv").unlink(), [], "ins.csv cannot be read"),
    "other poses": (
        lambda f: (f / "gps" / "ins.csv").write_text(
            layout.INS_HEADER + "\n1,G,0,0,0,5735000,620000,-110,30U,0,0,0,0,0,0\n"
        ),
        [],
        "no pose while the pictures",
    ),
    "other truth": (
        lambda f: (f / "rtk.csv").write_text(layout.RTK_HEADER + "\n1,0,0,0,5735000,620000,-110,30U,0,0,0,0,0,0\n"),
        [],
        "rtk.csv has no pose while",
    ),
    "no scans": (lambda f: (f / "velodyne_left.timestamps").unlink(), [], "velodyne_left.timestamps is missing"),
    "other scans": (
        lambda f: (
            (f / "lms_front.timestamps").write_text("1400505800000000 1\n")
            and (f / "lms_front" / "1400505800000000.bin").write_bytes(b"0" * 24)
        ),
        ["--lidar", "lms_front"],
        "no scan while the pictures",
    ),
    "unknown laser": (lambda f: None, ["--lidar", "lms_side"], "no laser 'lms_side'"),
    "unknown camera": (lambda f: None, ["--camera", "stereo/middle"], "no camera 'stereo/middle'"),
    "missing truth": (lambda f: None, ["--rtk", "nowhere.csv"], "'nowhere.csv' (--rtk) does not exist"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_folders_get_one_sentence_and_no_bag(tmp_path, vpr, kind):
    folder = layout.copy(tmp_path)
    spoil, options, sentence = BAD[kind]
    given = spoil(folder)
    given = given if isinstance(given, Path) and kind in ("nothing there", "the folder above") else folder
    result = vpr("convert", "robotcar", given, "-o", tmp_path / "bag", *options)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr and result.stderr.count("\n") == 1 and "Traceback" not in result.output
    assert not (tmp_path / "bag").exists()


def test_submaps_from_the_command_line(raw, tmp_path, vpr):
    traversals = raw / SUMMER, raw / WINTER
    result = vpr("convert", "submaps", *traversals, "-o", tmp_path / "set", "--images", tmp_path / "images")
    assert result.exit_code == 0, result.output
    assert "3 training and 2 test submaps, 23 pictures" in result.stdout
    for name in (SUMMER, WINTER):
        assert len(list((tmp_path / "set" / "oxford" / name / "pointcloud_20m").glob("*.bin"))) == 2
        assert len(list((tmp_path / "images" / name).glob("*.png"))) == 23
    result = vpr("convert", "submaps", raw / SUMMER, "-o", tmp_path / "set", "--poses", "gps")
    assert result.exit_code == 2 and "'ins' or 'rtk'" in result.stderr
