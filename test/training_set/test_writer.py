"""Recorded training sets: readable at any moment, resumable, refused in one sentence where they cannot be written."""

import csv
import json
import re
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from vpr_ros import pictures
from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.sensors.cameras import Camera
from vpr_ros.training_set import TrainingSetWriter, read_frame_table

SECOND = 10**9


def picture(i=0, height=24, width=32):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 5 % 200 + i % 50, y * 7 % 200, np.full_like(x, 3 * i % 200)], -1).astype(np.uint8)


def record(folder, drive="d", frames=3, cloud=True, **options):
    with TrainingSetWriter(folder, drive, **options) as writer:
        for i in range(frames):
            points = np.random.default_rng(i).normal(size=(40, 3)) * 30 if cloud else None
            writer.add(SECOND + i, picture(i), planar_transform(1.5 * i, -2.0, 0.1 * i), points)
    return writer


def test_what_is_written_is_what_is_read(tmp_path):
    record(tmp_path / "set", "tour 1", city="campus", condition="night, rain", jpeg_quality=95)
    table = read_frame_table(tmp_path / "set")
    assert len(table) == 3 and set(table.drives) == {"tour 1"} and set(table.cities) == {"campus"}
    assert set(table.conditions) == {"night, rain"} and list(table.stamps_ns) == [SECOND, SECOND + 1, SECOND + 2]
    assert np.allclose(table.positions_m, [[0, -2], [1.5, -2], [3, -2]])
    assert np.allclose(table.headings_rad, [0, 0.1, 0.2])
    for i in range(3):
        assert np.abs(pictures.read(table.images[i]).astype(int) - picture(i)).mean() < 6
        cloud = np.load(table.clouds[i])
        assert cloud.dtype == np.float16
        assert np.allclose(cloud, np.random.default_rng(i).normal(size=(40, 3)) * 30, rtol=1e-3, atol=1e-3)
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())
    assert (meta["kind"], meta["version"]) == ("recorded", 1)
    assert [(d["name"], d["poses"]) for d in meta["drives"]] == [("tour 1", "map")]


def test_readable_while_recording_and_drives_are_appended(tmp_path):
    writer = TrainingSetWriter(tmp_path, "a", condition="day")
    for i in range(4):
        assert writer.add(i + 1, picture(), np.eye(4)) == i
        assert len(read_frame_table(tmp_path)) == i + 1
    writer.close()
    assert record(tmp_path, "b", cloud=False).drive == "b"
    assert record(tmp_path, "a", cloud=False).drive == "a-2"  # never mixed
    table = read_frame_table(tmp_path)
    assert list(table.drives) == ["a"] * 4 + ["b"] * 3 + ["a-2"] * 3 and table.clouds[5] is None
    assert len(set(table.images)) == 10 and all(path.is_file() for path in table.images)


def test_wide_images_are_shrunk_and_the_camera_is_noted(tmp_path):
    camera = Camera(np.diag([50.0, 50, 1]), 200, 100, np.zeros(5))
    with TrainingSetWriter(tmp_path, "a", max_width=64) as writer:
        writer.set_camera(camera)
        writer.add(1, picture(height=100, width=200), np.eye(4))
        writer.set_camera(camera)
    assert pictures.read(read_frame_table(tmp_path).images[0]).shape == (32, 64, 3)
    noted = json.loads((tmp_path / "meta.json").read_text())["drives"][0]["camera"]
    assert noted["width"] == 200 and noted["K"][0][0] == 50


@pytest.mark.parametrize("name", ["../../etc", ".hidden", "a/b", "Fahrt übers Land\n2", "", "x" * 60])
def test_any_name_stays_inside_the_folder(tmp_path, name):
    record(tmp_path / "set", name, frames=1, condition="two\nlines", city="  ")
    record(tmp_path / "set", re.sub("/", ":", name), frames=1)
    table = read_frame_table(tmp_path / "set")
    assert len(set(table.images)) == 2 and set(table.cities) == {"own"}
    assert all(path.resolve().is_relative_to(tmp_path / "set" / "images") for path in table.images)
    assert {p.name for p in tmp_path.iterdir()} == {"set"}


@pytest.mark.parametrize(
    "torn", [b"2,d,own,1.0,", b"\xff\xfe\x00", b"2,d,own,1,1,0,,5,images/d/000009.jpg,\r\n", b"\r"]
)
def test_a_torn_last_row_is_dropped(tmp_path, torn):
    record(tmp_path, frames=2)
    with open(tmp_path / "frames.csv", "ab") as stream:
        stream.write(torn)
    record(tmp_path, "e", frames=1)
    table = read_frame_table(tmp_path)
    assert list(table.drives) == ["d", "d", "e"]


def test_rows_whose_files_a_power_cut_took_are_dropped(tmp_path):
    record(tmp_path, frames=4)
    images = read_frame_table(tmp_path).images
    images[3].write_bytes(b"")
    read_frame_table(tmp_path).clouds[2].unlink()
    record(tmp_path, "e", frames=1)
    assert list(read_frame_table(tmp_path).drives) == ["d", "d", "e"]


def test_kill_9_loses_at_most_the_frame_in_work(tmp_path):
    code = (
        "import sys, numpy as np\nfrom vpr_ros.training_set.writer import TrainingSetWriter\n"
        "w = TrainingSetWriter(sys.argv[1], 'a')\nimage = np.zeros((240, 320, 3), np.uint8)\n"
        "for i in range(100000):\n    w.add(i + 1, image, np.eye(4), np.ones((2000, 3)))\n"
        "    print(i, flush=True)\nassert 'torch' not in sys.modules"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "set"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(50):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    told = 50 + len([line for line in process.stdout.read().splitlines() if line.isdigit()])
    process.wait()
    record(tmp_path / "set", "b", frames=1)  # the lock died with the process
    table = read_frame_table(tmp_path / "set")
    count = int((table.drives == "a").sum())
    assert told <= count <= told + 1
    assert all(pictures.read(path).shape == (240, 320, 3) for path in table.images[:count:17])


@pytest.mark.parametrize(
    "left", [[], ["frames.csv"], ["meta.json.partial"], ["frames.csv", "meta.json.partial"], [".meta.json.7.part"]]
)
def test_a_kill_in_the_first_moments_leaves_a_folder_that_can_be_used(tmp_path, left):
    for name in left:
        (tmp_path / name).write_text("frame,dri")
    record(tmp_path, frames=1)
    assert len(read_frame_table(tmp_path)) == 1


def test_the_recorder_needs_no_torch():
    code = "import sys, vpr_ros.training_set.writer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def foreign(folder, meta):
    folder.mkdir()
    (folder / "frames.csv").write_text("frame\n")
    (folder / "meta.json").write_text(meta)


@pytest.mark.parametrize(
    "meta, sentence",
    [
        ('{"format": "vpr_ros training set", "version": 1, "world": 3}', "holds a set that was not recorded"),
        ('{"format": "vpr_ros training set", "version": 9, "kind": "recorded", "drives": []}', "another version"),
        ("{", "holds a set that was not recorded"),
        ("[]", "holds a set that was not recorded"),
    ],
)
def test_sets_of_another_kind_are_refused_and_left_alone(tmp_path, meta, sentence):
    foreign(tmp_path / "set", meta)
    with pytest.raises(VprError, match=sentence):
        TrainingSetWriter(tmp_path / "set", "a")
    assert (tmp_path / "set" / "meta.json").read_text() == meta
    assert (tmp_path / "set" / "frames.csv").read_text() == "frame\n"


def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"x")
    with pytest.raises(VprError, match="holds other files and no training set"):
        TrainingSetWriter(tmp_path / "holiday", "a")
    with pytest.raises(VprError, match="cannot be written"):
        TrainingSetWriter(tmp_path / "holiday" / "beach.jpg", "a")
    with TrainingSetWriter(tmp_path / "set", "a"), pytest.raises(VprError, match="being recorded by another program"):
        TrainingSetWriter(tmp_path / "set", "b")
    with pytest.raises(VprError, match="is closed"):
        record(tmp_path / "set", frames=1).add(1, picture(), np.eye(4))


def test_drives_by_odometry_share_no_frame(tmp_path):
    with TrainingSetWriter(tmp_path, "a") as writer:
        writer.add(1, picture(), np.eye(4), poses="odometry")
        with pytest.raises(VprError, match="began with poses of odometry"):
            writer.add(2, picture(), np.eye(4), poses="map")
    for poses in ("odometry", "map", "map", "none"):
        with TrainingSetWriter(tmp_path, "b") as writer:
            writer.add(1, picture(), None if poses == "none" else np.eye(4), poses=poses)
    table = read_frame_table(tmp_path)
    assert list(table.cities) == ["own"] * 5 and table.numbers.tolist() == [0] * 5
    a, b, c, d, e = table.pose_frames
    assert len({a, b, "own"}) == 3 and (c, d, e) == ("own", "own", "")
    assert np.isnan(table.positions_m[4]).all() and np.isnan(table.headings_rad[4])
    both = read_frame_table(tmp_path, tmp_path / ".." / tmp_path.name)
    assert len(set(both.pose_frames)) == 6, "drives of one name in two folders have two frames"
    kinds = [d["poses"] for d in json.loads((tmp_path / "meta.json").read_text())["drives"]]
    assert kinds == ["odometry", "odometry", "map", "map", "none"]


def test_a_drive_without_frames_leaves_nothing(tmp_path):
    record(tmp_path, "a", frames=1, cloud=False)
    before = sorted(p for p in tmp_path.rglob("*"))
    TrainingSetWriter(tmp_path, "b").close()
    assert sorted(p for p in tmp_path.rglob("*")) == before


@contextmanager
def full_disk(free_bytes):
    """No file can grow beyond so many bytes: as a full disk, an error of the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("file", ["image", "cloud", "row"])
def test_a_full_disk_is_one_sentence_and_the_set_stays_whole(tmp_path, file):
    writer = TrainingSetWriter(tmp_path, "a")
    while (tmp_path / "frames.csv").stat().st_size < 3000:
        writer.add(writer.count + 1, picture(), np.eye(4))
    count, size = writer.count, (tmp_path / "frames.csv").stat().st_size
    cloud = np.ones((1000, 3)) if file == "cloud" else None
    limit = {"image": 10, "cloud": 2000, "row": size + 10}[file]
    with full_disk(limit), pytest.raises(VprError, match="cannot be written .*; check space and rights"):
        writer.add(99, picture(), np.eye(4), cloud)
    assert (tmp_path / "frames.csv").stat().st_size == size and len(read_frame_table(tmp_path)) == count
    assert len(list((tmp_path / "images" / "a").iterdir())) == count and not list(tmp_path.glob("clouds/a/*"))
    writer.add(99, picture(), np.eye(4), cloud)  # space came back
    writer.close()
    assert len(read_frame_table(tmp_path)) == count + 1


def test_the_table_is_plain_csv(tmp_path):
    record(tmp_path, 'a "quoted", name', frames=1)
    rows = list(csv.reader(open(tmp_path / "frames.csv", newline="")))
    assert [len(row) for row in rows] == [10, 10] and rows[1][1] == 'a "quoted", name'
