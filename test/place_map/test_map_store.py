"""PlaceMap: what goes in comes out, and when it is durable."""

import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import make_transform
from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.clouds import decode_cloud, encode_cloud, voxel_filter


def unit(seed, dim=16):
    row = np.random.default_rng(seed).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float16)


def random_pose(rng):
    return make_transform(rng.normal(size=3) * 100, rng.normal(size=4))


def test_everything_comes_back(new_map, tmp_path):
    rng = np.random.default_rng(1)
    place_map = new_map(datum=(48.1, 11.5, 520.0), frame_id="site")
    first, second = place_map.start_session("monday", "one.mcap"), place_map.start_session("tuesday")
    spread = rng.normal(size=(6, 6))
    cloud = rng.uniform(-50, 50, size=(500, 3))
    written = {}
    # out of order on purpose: keyframes() sorts by session and stamp
    for session, stamp in [(second, 5), (first, 1_700_000_000_123_456_789), (second, 3), (first, 7)]:
        poses = random_pose(rng), random_pose(rng)
        row = unit(stamp % 1000)
        keyframe_id = place_map.add(session, stamp, row, poses[0], poses[1], spread, b"jpeg%d" % session, cloud)
        written[keyframe_id] = (session, stamp, row, *poses)
    bare = place_map.add(second, 9, unit(9))
    place_map.close()

    with PlaceMap.open(tmp_path / "a.vprmap", fingerprint="f" * 64, dim=16) as place_map:
        keyframes = place_map.keyframes()
        assert list(zip(keyframes.sessions, keyframes.stamps_ns, strict=True)) == [
            (first, 7),
            (first, 1_700_000_000_123_456_789),
            (second, 3),
            (second, 5),
            (second, 9),
        ]
        for row, keyframe_id in enumerate(keyframes.ids[:4]):
            session, stamp, descriptor, T_odom, T_map = written[keyframe_id]
            assert (keyframes.sessions[row], keyframes.stamps_ns[row]) == (session, stamp)
            np.testing.assert_array_equal(keyframes.descriptors[row], descriptor)
            np.testing.assert_allclose(keyframes.T_odom_base[row], T_odom, atol=1e-9)
            np.testing.assert_allclose(keyframes.T_map_base[row], T_map, atol=1e-9)
            np.testing.assert_array_equal(place_map.covariance(keyframe_id), spread)
            assert place_map.thumbnail(keyframe_id) == b"jpeg%d" % session
            np.testing.assert_allclose(place_map.cloud(keyframe_id), voxel_filter(cloud), atol=0.02)
        assert keyframes.ids[4] == bare and not keyframes.has_pose[4] and np.isnan(keyframes.T_odom_base[4]).all()
        assert place_map.thumbnail(bare) is place_map.cloud(bare) is place_map.covariance(bare) is None
        assert keyframes.descriptors.dtype == np.float16 and keyframes.has_pose[:4].all()
        assert keyframes.rows_of([bare, 12345, keyframes.ids[0]]).tolist() == [4, -1, 0]
        assert place_map.datum == (48.1, 11.5, 520.0) and place_map.frame_id == "site"
        assert [(s.name, s.source) for s in place_map.sessions()] == [("monday", "one.mcap"), ("tuesday", "")]
        assert place_map.has_poses and len(place_map) == 5 and len(place_map.map_id) == 12
    assert [p.name for p in tmp_path.iterdir()] == ["a.vprmap"]


def test_empty_map(new_map):
    keyframes = new_map().keyframes()
    assert len(keyframes) == 0 and keyframes.T_map_base.shape == (0, 4, 4) and keyframes.descriptors.shape == (0, 16)
    assert keyframes.rows_of([1]).tolist() == [-1]


def test_reported_means_durable(new_map, tmp_path):
    place_map = new_map()
    session = place_map.start_session("drive")
    place_map.commit_interval_s, place_map.commit_keyframes = 1e9, 3
    reported = []
    place_map.on_saved = reported.extend
    ids = [place_map.add(session, i, unit(i)) for i in range(5)]
    assert reported == ids[:3] and place_map.saved_up_to() == ids[2]
    with PlaceMap.open(tmp_path / "a.vprmap") as reader:  # while the writer is open
        assert reader.keyframes().ids.tolist() == ids[:3]
        place_map.set_calibration({"source": "meanwhile"})
        reader.keyframes()
        assert reader.get_calibration() == {"source": "meanwhile"} and reader.version == place_map.version
    assert reported == ids  # an edit saves what is pending
    reported.clear()
    ids = [place_map.add(session, i, unit(i)) for i in (5, 6)]
    place_map.commit_if_due()
    assert reported == []  # not due yet
    place_map.commit_interval_s = 0.0
    place_map.commit_if_due()
    assert reported == ids
    place_map.commit_interval_s = 1e9
    last = place_map.add(session, 9, unit(9))
    assert len(place_map.keyframes()) == 8  # the writer sees what is pending
    place_map.close()
    assert reported == [*ids, last]


def test_a_lone_keyframe_becomes_due_after_the_interval(new_map):
    place_map = new_map()
    session = place_map.start_session("drive")
    place_map.commit_interval_s = 0.05
    place_map.add(session, 1, unit(1))
    while place_map.saved_up_to() == 0:  # ends only if commit_if_due saves without a further add
        time.sleep(0.01)
        place_map.commit_if_due()
    assert place_map.saved_up_to() == 1


def test_bad_frames_are_refused_one_by_one(new_map):
    place_map = new_map()
    session = place_map.start_session("drive")
    good = place_map.add(session, 1, unit(1))
    nan_pose = np.eye(4)
    nan_pose[0, 3] = np.nan
    for arguments, words in [
        ((session, 1, unit(2)), "already"),
        ((session, 2, np.full(16, np.nan)), "not finite"),
        ((session, 2, np.zeros(16)), "zero"),
        ((session, 2, unit(2), nan_pose), "T_odom_base"),
        ((session, 2, unit(2), None, nan_pose), "T_map_base"),
        ((session, 2, unit(2), None, np.diag([2.0, 1, 1, 1])), "rigid"),
    ]:
        with pytest.raises(FrameError, match=words):
            place_map.add(*arguments)
    with pytest.raises(VprError, match="no session 77"):
        place_map.add(77, 2, unit(2))
    with pytest.raises(VprError, match=r"shape \(16,\)"):
        place_map.add(session, 2, unit(2, dim=8))
    # a cloud without a usable point and a covariance with NaN are simply not kept
    other = place_map.add(session, 2, unit(2), None, np.eye(4), np.full((6, 6), np.nan), None, np.full((5, 3), np.nan))
    assert place_map.cloud(other) is None and place_map.covariance(other) is None
    assert place_map.keyframes().ids.tolist() == [good, other]  # nothing pending was lost to the refusals


def test_version_and_calibration(new_map, drive, tmp_path):
    place_map = new_map()
    assert place_map.version == 0 and place_map.get_calibration() is None
    drive(place_map)
    after_drive = place_map.version
    place_map.set_calibration({"source": "second drive", "slope": 0.1})
    assert after_drive >= 1 and place_map.version == after_drive + 1
    place_map.set_datum((1, 2, 3))
    with pytest.raises(VprError, match="datum"):
        place_map.set_datum((1, 2, 4))
    version = place_map.version
    place_map.close()
    with PlaceMap.open(tmp_path / "a.vprmap", writable=True) as again:
        assert again.version == version and again.get_calibration() == {"source": "second drive", "slope": 0.1}
        again.add(1, 10**15, unit(3))
        assert again.version == version + 1


def test_a_failed_edit_changes_nothing(new_map, drive):
    place_map = new_map()
    drive(place_map)
    version = place_map.version
    with pytest.raises(KeyError), place_map.edit() as db:
        db.execute("DELETE FROM keyframes")
        raise KeyError
    with pytest.raises(VprError, match="write"), place_map.edit() as db:
        db.execute("DELETE FROM keyframes")
        db.execute("INSERT INTO nowhere VALUES (1)")
    assert len(place_map) == 10 and place_map.version == version
    place_map.add(1, 10**15, unit(3))
    place_map.flush()
    assert place_map.saved_up_to() == 11


def test_one_writer_at_a_time(new_map, tmp_path):
    new_map()
    with pytest.raises(VprError, match="another process"):
        PlaceMap.open(tmp_path / "a.vprmap", writable=True)


def test_closed_and_read_only_maps_say_so(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map)
    place_map.close()
    place_map.close()
    with pytest.raises(VprError, match="closed"):
        place_map.keyframes()
    with PlaceMap.open(tmp_path / "a.vprmap") as reader:
        with pytest.raises(VprError, match="reading only"):
            reader.add(1, 5, unit(1))
        with pytest.raises(VprError, match="reading only"):
            reader.set_calibration({})


def test_the_file_is_plain_sqlite(new_map, drive, tmp_path):
    drive(place_map := new_map())
    place_map.close()
    db = sqlite3.connect(tmp_path / "a.vprmap")
    assert db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert db.execute("SELECT count(*), max(map_x) FROM keyframes").fetchone() == (10, 9.0)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


def test_import_is_light():
    code = "import sys, vpr_ros.place_map; print([m for m in ('torch', 'faiss', 'open3d', 'cv2') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def naive_voxels(cloud, voxel_m):
    cells = {}
    for point in cloud:
        if np.isfinite(point).all():
            cells.setdefault(tuple(np.floor(point / voxel_m)), []).append(point)
    return sorted(tuple(np.mean(points, axis=0)) for points in cells.values())


def test_voxel_filter_equals_the_naive_one():
    cloud = np.random.default_rng(3).normal(size=(400, 3)) * [2, 2, 0.3]
    cloud[7, 1] = np.nan
    ours = sorted(map(tuple, voxel_filter(cloud, 0.5)))
    np.testing.assert_allclose(ours, naive_voxels(cloud, 0.5), atol=1e-6)
    assert len(ours) < 300
    assert voxel_filter(np.zeros((0, 3))).shape == (0, 3)
    far = voxel_filter(np.array([[1e6, 0, 0], [1.0, 2, 3]]))
    np.testing.assert_allclose(far, [[1, 2, 3]])


def test_cloud_codec():
    cloud = np.random.default_rng(4).uniform(-100, 100, size=(1000, 3)).astype(np.float32)
    data = encode_cloud(cloud)
    assert data is not None and len(data) < 6 * 1000 + 100
    back = decode_cloud(data)
    expected = voxel_filter(cloud)
    assert back.dtype == np.float32 and np.abs(back - expected).max() <= 1 / 32
    with pytest.raises(ValueError):
        decode_cloud(b"not zlib")
