"""Bad input at the command line: one sentence, exit code 2, no traceback; one bad frame never ends a run."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_sentence

from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceMap
from vpr_ros.sensors import BagWriter, compressed_image_msg, image_msg, make, odometry_msg


@pytest.fixture
def map_it(vpr, checkpoint, tmp_path):
    def call(bag, *options):
        return vpr("map", bag, "-o", tmp_path / "out.vpr", "-c", checkpoint, *options)

    return call


def test_missing_files_are_named(vpr, map_it, bags, first_map, checkpoint, tmp_path):
    nowhere = tmp_path / "nowhere"
    assert_sentence(map_it(nowhere), "nowhere")
    assert_sentence(vpr("localize", bags["second"], "--map", nowhere, "-o", tmp_path / "run"), "nowhere")
    assert_sentence(vpr("map", bags["first"], "-o", tmp_path / "m.vpr", "-c", nowhere), "nowhere")
    assert_sentence(vpr("eval", "run", nowhere), "nowhere")
    assert_sentence(vpr("info", nowhere), "nowhere")
    assert_sentence(vpr("doctor", nowhere), "nowhere")
    assert_sentence(vpr("poses", first_map, nowhere), "nowhere")


def test_bag_without_images_lists_what_it_holds(map_it, tmp_path, street):
    with BagWriter(tmp_path / "blind") as bag:
        bag.write("/odom", odometry_msg(np.eye(4), street.START_NS), street.START_NS)
    assert_sentence(map_it(tmp_path / "blind"), "no camera images", "/odom")
    assert not (tmp_path / "out.vpr").exists()


def test_two_cameras_must_be_told_apart(map_it, tmp_path, street):
    with BagWriter(tmp_path / "two") as bag:
        for i, image in enumerate(street.drive_images(1, 4)):
            for topic in ("/left/image", "/right/image"):
                stamp = street.START_NS + i * street.SECOND_NS
                bag.write(topic, image_msg(image, stamp), stamp)
    assert_sentence(map_it(tmp_path / "two"), "--image-topic", "/left/image", "/right/image")
    assert map_it(tmp_path / "two", "--image-topic", "/left/image").exit_code == 0
    assert_sentence(map_it(tmp_path / "two", "--image-topic", "/rear/image"), "/rear/image")


@pytest.mark.parametrize("keep", [0, 100, 5000])
@pytest.mark.parametrize("drive", ["first", "second"])
def test_truncated_bag(map_it, bags, tmp_path, keep, drive):
    bag = shutil.copytree(bags[drive], tmp_path / "cut")
    storage = next(p for p in bag.iterdir() if p.suffix in (".mcap", ".db3"))
    storage.write_bytes(storage.read_bytes()[:keep])
    assert_sentence(map_it(bag, "--strict"), "cut")
    assert not (tmp_path / "out.vpr").exists()


def test_one_bad_frame_is_skipped_and_counted(map_it, tmp_path, street):
    images, stamp = street.drive_images(1, 12), street.START_NS
    with BagWriter(tmp_path / "rough") as bag:

        def put(message, at_ns):
            bag.write("/camera/image/compressed", message, at_ns)

        for i, image in enumerate(images):
            put(compressed_image_msg(image, stamp + i * street.SECOND_NS), stamp + i * street.SECOND_NS)
            after = stamp + i * street.SECOND_NS + 1000
            if i == 3:
                put(compressed_image_msg(b"", after), after)
            if i == 5:
                put(compressed_image_msg(b"\xff\xd8 no picture", after), after)
            if i == 7:
                put(compressed_image_msg(image, stamp + i * street.SECOND_NS), after)
            if i == 9:
                put(compressed_image_msg(image, stamp + (i - 1) * street.SECOND_NS + 500_000_000), after)
    result = map_it(tmp_path / "rough", "--keyframe-every", 1)
    assert result.exit_code == 0, result.output
    assert "12 keyframes saved of 12 frames" in result.output
    assert "unreadable" in result.output and "repeated" in result.output and "backwards" in result.output


def test_raw_images_with_odd_encoding_step_and_size(map_it, tmp_path, street):
    images, stamp = street.drive_images(1, 8), street.START_NS
    with BagWriter(tmp_path / "raw") as bag:
        for i, image in enumerate(images):
            at_ns = stamp + i * street.SECOND_NS
            message = image_msg(image[: 64 - 8 * (i == 6)], at_ns)
            if i == 2:
                message.encoding = "quantum16"
            if i == 4:
                message.step = 5
            bag.write("/image", message, at_ns)
    result = map_it(tmp_path / "raw", "--keyframe-every", 1)
    assert result.exit_code == 0, result.output
    assert "6 keyframes saved of 6 frames" in result.output and "quantum16" in result.output
    assert "size changed" in result.output


def test_nan_poses_leave_the_frame_without_a_pose(map_it, tmp_path, street):
    stamp = street.START_NS
    with BagWriter(tmp_path / "nan") as bag:
        for i, image in enumerate(street.drive_images(1, 8)):
            at_ns = stamp + i * 2 * street.SECOND_NS
            message = odometry_msg(np.eye(4), at_ns)
            message.pose.pose.position.x = float("nan") if i == 4 else 3.0 * i
            bag.write("/odom", message, at_ns)
            bag.write("/image", image_msg(image, at_ns), at_ns)
    result = map_it(tmp_path / "nan", "--keyframe-every", 1)
    assert result.exit_code == 0, result.output
    with PlaceMap.open(tmp_path / "out.vpr") as place_map:
        assert np.isfinite(place_map.keyframes().T_odom_base[:, 0, 3]).sum() == 7
    assert "NaN" in result.output


def test_bag_with_only_broken_images_leaves_no_map(map_it, tmp_path, street):
    with BagWriter(tmp_path / "broken") as bag:
        for i in range(5):
            at_ns = street.START_NS + i
            bag.write("/image", compressed_image_msg(b"nothing", at_ns), at_ns)
    assert_sentence(map_it(tmp_path / "broken"), "none of the 5 images")
    assert not (tmp_path / "out.vpr").exists()


def test_map_of_another_model_names_both_and_the_cure(vpr, bags, first_map, checkpoint, tmp_path):
    other = tmp_path / "other.safetensors"
    assert vpr("project", first_map, "-c", checkpoint, "-o", other, "--dim", 6).exit_code == 0
    run = vpr("localize", bags["second"], "--map", first_map, "-o", tmp_path / "run", "-c", other)
    assert_sentence(run, "tiny", "other", "redescribe")
    town = shutil.copy(first_map, tmp_path / "town.vpr")
    assert_sentence(vpr("map", bags["second"], "-o", town, "-c", other), "redescribe")


def test_map_of_a_newer_schema(vpr, first_map, tmp_path):
    town = shutil.copy(first_map, tmp_path / "town.vpr")
    with sqlite3.connect(town) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {version + 1}")
    db.close()
    assert_sentence(vpr("info", town), "schema", "update")


@pytest.mark.parametrize("keep", [0, 60, 9000])
def test_truncated_map(vpr, bags, first_map, checkpoint, tmp_path, keep):
    town = tmp_path / "town.vpr"
    town.write_bytes(first_map.read_bytes()[:keep])
    assert_sentence(
        vpr("localize", bags["second"], "--map", town, "-o", tmp_path / "run", "-c", checkpoint), "town.vpr"
    )
    assert_sentence(vpr("map", bags["second"], "-o", town, "-c", checkpoint), "town.vpr")


def test_not_a_map_at_all(vpr, tmp_path):
    (tmp_path / "text.vpr").write_text("dear diary " * 100)
    assert_sentence(vpr("info", tmp_path / "text.vpr"), "text.vpr")


def test_empty_map(vpr, bags, checkpoint, tmp_path):
    from vpr_ros.student import DescriptorExtractor

    extractor = DescriptorExtractor.from_checkpoint(checkpoint)
    PlaceMap.create(
        tmp_path / "empty.vpr",
        fingerprint=extractor.fingerprint,
        dim=extractor.dim,
        place_radius_m=10.0,
        preprocessing=extractor.preprocessing,
    ).close()
    arguments = ("--map", tmp_path / "empty.vpr", "-o", tmp_path / "run", "-c", checkpoint)
    assert_sentence(vpr("localize", bags["second"], *arguments), "no keyframes")


def test_wrong_checkpoints(vpr, bags, tmp_path):
    text = tmp_path / "text.safetensors"
    text.write_text("no weights here")
    assert_sentence(vpr("map", bags["first"], "-o", tmp_path / "m.vpr", "-c", text), "text.safetensors")
    assert not (tmp_path / "m.vpr").exists()


def test_places_that_cannot_be_written(vpr, bags, first_map, checkpoint, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    for target in (blocked / "m.vpr", Path("/proc/m.vpr")):
        assert_sentence(vpr("map", bags["first"], "-o", target, "-c", checkpoint), target.name)
    assert_sentence(
        vpr("localize", bags["second"], "--map", first_map, "-o", blocked / "run", "-c", checkpoint), "file"
    )
    assert_sentence(vpr("export", first_map, "-o", "/proc/table.csv"), "/proc")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(vpr, bags, checkpoint, tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o500)
    assert_sentence(vpr("map", bags["first"], "-o", folder / "m.vpr", "-c", checkpoint), "locked", "writ")
    folder.chmod(0o700)


def test_full_disk_ends_the_run_with_a_sentence_and_a_valid_map(bags, checkpoint, tmp_path):
    # A limit on the size of files stands in for a full disk: writes fail in the same places.
    program = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from vpr_ros.cli import main\n"
        "import torch\n"
        "torch.set_num_threads(1)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))\n"
        "main()\n"
    )
    path = tmp_path / "m.vpr"
    arguments = ["map", str(bags["first"]), "-o", str(path), "-c", str(checkpoint), "--keyframe-every", "1"]
    run = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert run.returncode == 2, run.stderr
    assert run.stderr.startswith("error: ") and "Traceback" not in run.stderr
    if path.exists():
        with PlaceMap.open(path) as place_map:
            assert len(place_map) < 30


def test_pairs_file_names_the_bad_line(vpr, run_folder, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("query,reference\n100,200\nhello,world\n")
    assert_sentence(vpr("eval", "run", run_folder, "--truth", pairs), "line 3")
    assert_sentence(vpr("eval", "run", run_folder), "--map-bag")


def test_eval_with_the_wrong_bag_says_so(vpr, bags, run_folder):
    result = vpr("eval", "run", run_folder, "--map-bag", bags["first"], "--query-bag", bags["elsewhere"])
    assert_sentence(result, "no frame of the run has a true pose")


def test_stamps_file_names_the_bad_line(vpr, bags, first_map, checkpoint, tmp_path):
    listing = tmp_path / "stamps.txt"
    listing.write_text("17\n12.5\n")
    arguments = ("--map", first_map, "-c", checkpoint, "-o", tmp_path / "run", "--only-stamps", listing)
    assert_sentence(vpr("localize", bags["second"], *arguments), "line 2")
    listing.write_text("17\n")
    assert_sentence(vpr("localize", bags["second"], *arguments), "none of the 1 stamps")
    assert not (tmp_path / "run").exists()


def test_unknown_options_and_values_do_not_trace(vpr, bags, first_map, tmp_path):
    assert vpr("map", bags["first"]).exit_code == 2
    assert_sentence(vpr("align", bags["first"], bags["second"], "-o", tmp_path / "t.tum", "--method", "magic"), "gnss")
    assert_sentence(vpr("map", bags["first"], "-o", "town.mcap"), "bag")
    assert_sentence(vpr("map", bags["first"], "-o", tmp_path / "m.vpr", "--device", "abacus"))


def test_bag_of_laser_scans(vpr, map_it, tmp_path, street):
    header = odometry_msg(np.eye(4), street.START_NS).header
    none = np.zeros(0, np.float32)
    scan = make(
        "sensor_msgs/msg/LaserScan",
        header=header,
        angle_min=0.0,
        angle_max=1.0,
        angle_increment=0.1,
        time_increment=0.0,
        scan_time=0.0,
        range_min=0.0,
        range_max=9.0,
        ranges=none,
        intensities=none,
    )
    with BagWriter(tmp_path / "scans") as bag:
        bag.write("/scan", scan, street.START_NS)
    assert_sentence(map_it(tmp_path / "scans"), "/scan", "LaserScan")
    assert json.loads(vpr("doctor", tmp_path / "scans", "--json").output)["verdict"] == "ERROR"


def test_errors_are_sentences_for_programs_too(bags, checkpoint, tmp_path):
    from vpr_ros.offline.map_bag import map_bag
    from vpr_ros.student import DescriptorExtractor

    with pytest.raises(VprError, match="does not exist"):
        map_bag(tmp_path / "none", tmp_path / "m.vpr", DescriptorExtractor.from_checkpoint(checkpoint))
