"""Flipped bits are found when a map is opened, and every edit keeps the sums right."""

import random
import shutil
import sqlite3
import struct
import zlib

import numpy as np
import pytest
from keypoints import random_features

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.local_features import LocalFeatures, pack
from vpr_ros.place_map import Bound, PlaceMap, merge, prune, redescribe, replace_poses
from vpr_ros.place_map.schema import KEYFRAME_COLUMNS, SCHEMA_VERSION, damage

COUNT = 40
FLIPS = 300
FLIPPED = "CAST(substr({0}, 1, length({0}) - 1) || x'01' AS BLOB)"  # another last byte


@pytest.fixture
def good(new_map, drive, tmp_path):
    """Path of a closed map of two drives with thumbnails, one of them also with clouds and local features."""
    place_map = new_map()
    drive(place_map, COUNT)
    session = place_map.start_session("with clouds")
    cloud = np.random.default_rng(0).uniform(-20, 20, (300, 3))
    found = random_features(9, depth=True)
    place_map.add(session, 5, np.eye(16)[3], None, np.eye(4), None, bytes(range(256)), cloud, features=found)
    place_map.close()
    return tmp_path / "a.vprmap"


def content(path):
    """Everything that can be read of a map, by name; a payload that is refused when it is read is left out."""
    with PlaceMap.open(path) as place_map:
        k = place_map.keyframes()
        found = {name: getattr(k, name).tobytes() for name in ("ids", "sessions", "stamps_ns", "descriptors")}
        found |= {name: getattr(k, name).tobytes() for name in ("T_map_base", "T_odom_base")}
        found["sessions"] = place_map.sessions()
        found["statistics"] = {s: (one.total.tobytes(), one.frames) for s, one in place_map.statistics().items()}
        settings = ("map_id", "version", "dim", "parts", "fingerprint", "preprocessing", "place_radius_m", "frame_id")
        found |= {name: getattr(place_map, name) for name in settings}
        for keyframe_id in k.ids.tolist():
            found["covariance", keyframe_id] = repr(place_map.covariance(keyframe_id))
            for read in (place_map.thumbnail, place_map.cloud, place_map.features):
                try:
                    data = read(keyframe_id)
                    if isinstance(data, LocalFeatures):
                        data = pack(data)
                    found[read.__name__, keyframe_id] = data.tobytes() if isinstance(data, np.ndarray) else data
                except VprError as error:
                    assert "damaged" in str(error)
        return found


def test_no_flipped_bit_changes_what_a_map_says(good, tmp_path):
    chance, whole, before = random.Random(0), content(good), good.read_bytes()
    path, refused = tmp_path / "flipped.vprmap", 0
    for _ in range(FLIPS):
        data = bytearray(before)
        position = chance.randrange(len(data))
        data[position] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            read = content(path)
        except VprError as error:
            refused += 1
            assert "\n" not in str(error) and str(path) in str(error)
            continue
        assert all(whole[name] == value for name, value in read.items()), f"byte {position}"
    assert refused > FLIPS / 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (f"UPDATE descriptors SET vector = {FLIPPED.format('vector')} WHERE id = 7", "the descriptor of keyframe 7 .*"),
        ("UPDATE descriptors SET vector = CAST(zeroblob(32) AS TEXT) WHERE id = 7", "the descriptor of keyframe 7 .*"),
        ("UPDATE keyframes SET map_x = map_x + 1e-9 WHERE id IN (8, 9)", "stamp or pose of keyframe 8 .* 2 in all"),
        ("UPDATE keyframes SET stamp_ns = stamp_ns + 1 WHERE id = 8", "stamp or pose of keyframe 8 "),
        ("UPDATE keyframes SET odom_qw = NULL WHERE id = 8", "stamp or pose of keyframe 8 "),
        ("UPDATE keyframes SET covariance = NULL WHERE id = 8", "stamp or pose of keyframe 8 "),
        ("UPDATE sessions SET total = zeroblob(128) WHERE id = 1", "session 1 is not what was written"),
        ("UPDATE sessions SET source = 'other.bag' WHERE id = 2", "session 2 is not what was written"),
        ("UPDATE meta SET value = '20.0' WHERE key = 'place_radius_m'", "its settings are not those"),
        ("UPDATE meta SET value = '{' WHERE key = 'preprocessing'", "its settings are not those"),
        ("DELETE FROM keyframes WHERE id = 3", f"it has {COUNT} of {COUNT + 1} keyframes"),
        ("DELETE FROM descriptors WHERE id = 3", "the descriptor of keyframe 3 "),
        ("DELETE FROM checksums WHERE id = 3", "keyframe 3 "),
    ],
)
@pytest.mark.parametrize("writable", [False, True])
def test_what_is_not_what_was_written_is_named_on_opening(good, change, words, writable):
    db = sqlite3.connect(good)
    db.execute(change)
    db.commit()
    db.close()
    with pytest.raises(VprError, match=rf"map {good} is damaged \(.*{words}.*restore a copy or map the drive again"):
        PlaceMap.open(good, writable=writable)


def test_damaged_pictures_and_clouds_are_told_when_they_are_read(good):
    db = sqlite3.connect(good)
    db.execute(f"UPDATE thumbnails SET jpeg = {FLIPPED.format('jpeg')} WHERE id = 3")
    for table in ("clouds", "features"):
        db.execute(f"UPDATE {table} SET points = {FLIPPED.format('points')}")
    db.commit()
    db.close()
    with PlaceMap.open(good) as place_map:
        assert place_map.thumbnail(2) and place_map.thumbnail(COUNT + 2) is None and place_map.cloud(3) is None
        with pytest.raises(VprError, match="thumbnail of keyframe 3 .*damaged"):
            place_map.thumbnail(3)
        with pytest.raises(VprError, match=f"cloud of keyframe {COUNT + 1} .*damaged"):
            place_map.cloud(COUNT + 1)
        with pytest.raises(VprError, match=f"local features of keyframe {COUNT + 1} .*damaged"):
            place_map.features(COUNT + 1)


class Doubler:
    """A model whose descriptors are one-hot by the brightness of the picture."""

    name, dim, parts, fingerprint = "other", 8, (8,), "e" * 64
    preprocessing, calibration = {"size": [4, 4]}, None

    def describe(self, images):
        return np.eye(8, dtype=np.float16)[[int(image.mean()) % 8 for image in images]]


class Line:
    def at(self, stamp_ns, max_gap_s=1.0):
        return planar_transform(stamp_ns / 1e9, -0.0, 0.5)

    def gap_s(self, stamp_ns):
        return None


def require_sums(path):
    """The sums of a map, computed naively, are those in it."""
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    columns = "id, keyframes, descriptors, thumbnails, clouds, features"
    sums = {row[0]: row[1:] for row in db.execute(f"SELECT {columns} FROM checksums")}
    tables = {"descriptors": "vector", "thumbnails": "jpeg", "clouds": "points", "features": "points"}
    payloads = {table: dict(db.execute(f"SELECT id, {column} FROM {table}")) for table, column in tables.items()}
    rows = db.execute(f"SELECT {', '.join(KEYFRAME_COLUMNS)} FROM keyframes NOT INDEXED").fetchall()
    assert {row[0] for row in rows} == set(sums)
    for row in rows:
        data = [payloads[table].get(row[0]) for table in tables]
        numbers = [float("nan") if value is None else value for value in row[:-1]]
        own = zlib.crc32(struct.pack("<qqq14d", *numbers) + (row[-1] or b""))
        assert sums[row[0]] == (own, *(None if d is None else zlib.crc32(d) for d in data))
    db.close()
    with PlaceMap.open(path) as place_map, place_map.reading() as db:
        assert damage(db) == ""
        for keyframe_id in sums:
            place_map.thumbnail(keyframe_id), place_map.cloud(keyframe_id)


def test_mapping_and_every_edit_keep_the_sums(good, new_map, drive, tmp_path):
    require_sums(good)
    with PlaceMap.open(good, writable=True) as place_map:
        session = place_map.start_session("third")
        place_map.add(session, 1, np.eye(16)[0], planar_transform(-0.0, 0.0, 0.0))
        place_map.flush()
        place_map.add(session, 2, np.eye(16)[1])  # not durable yet: another process opens the map meanwhile
        require_sums(good)
        place_map.set_calibration({"source": "here"})
        place_map.set_place_radius(5.0)
        assert replace_poses(place_map, Line()).replaced == COUNT + 3
        require_sums(good)
        assert prune(place_map, bound=Bound(keyframes=20), drop_sessions=[1])["left"] == 3
    require_sums(good)
    other = new_map("b.vprmap", place_radius_m=5.0)
    drive(other, 30)
    other.close()
    merge(tmp_path / "both.vprmap", [good, other.path])
    require_sums(tmp_path / "both.vprmap")
    with PlaceMap.open(other.path, writable=True) as place_map:
        redescribe(place_map, Doubler())
    require_sums(other.path)


def test_what_is_damaged_stays_known_as_damaged_through_edits_and_merging(good, new_map, drive, tmp_path):
    db = sqlite3.connect(good)
    db.execute(f"UPDATE thumbnails SET jpeg = {FLIPPED.format('jpeg')} WHERE id = 3")
    db.commit()
    db.close()
    other = new_map("b.vprmap")
    drive(other, 5)
    other.close()
    with PlaceMap.open(good, writable=True) as place_map:
        replace_poses(place_map, Line())
        with pytest.raises(VprError, match="2 of 41 keyframes .*no readable thumbnail .first: 3"):
            redescribe(place_map, Doubler())
    merge(tmp_path / "both.vprmap", [other.path, good])
    with PlaceMap.open(tmp_path / "both.vprmap") as place_map:
        with pytest.raises(VprError, match="thumbnail of keyframe 8 .*damaged"):
            place_map.thumbnail(8)


def test_redescribing_mends_damaged_descriptors(new_map, drive):
    place_map = new_map()
    drive(place_map, 10)
    place_map.close()
    db = sqlite3.connect(place_map.path)
    db.execute("UPDATE descriptors SET vector = zeroblob(32) WHERE id = 4")
    db.commit()
    db.close()
    with pytest.raises(VprError, match=f"make the descriptors anew with `vpr_ros redescribe {place_map.path}`"):
        PlaceMap.open(place_map.path, writable=True)
    with PlaceMap.open(place_map.path, writable=True, unchecked="descriptors") as opened:
        redescribe(opened, Doubler())
    require_sums(place_map.path)


def test_a_map_without_sums_is_read_as_it_is_and_gets_them_when_it_is_written(good, tmp_path):
    path = shutil.copy(good, tmp_path / "old.vprmap")
    whole = content(good)
    whole["features", COUNT + 1] = None
    db = sqlite3.connect(path)
    db.execute("DROP TABLE checksums")
    db.execute("DROP TABLE features")
    db.execute("ALTER TABLE sessions DROP COLUMN checksum")
    db.execute("DELETE FROM meta WHERE key IN ('checksum', 'local_features')")
    db.execute("PRAGMA user_version=3")
    db.commit()
    db.close()
    before = path.read_bytes()
    assert content(path) == whole and path.read_bytes() == before
    merge(tmp_path / "both.vprmap", [path, _with_another_id(good, tmp_path)])
    require_sums(tmp_path / "both.vprmap")
    PlaceMap.open(path, writable=True).close()
    require_sums(path)
    assert content(path) == whole


def _with_another_id(path, tmp_path):
    from vpr_ros.place_map.schema import put_meta

    other = shutil.copy(path, tmp_path / "other.vprmap")
    with PlaceMap.open(other, writable=True) as place_map, place_map.edit() as db:
        put_meta(db, "map_id", "0123456789ab")
    return other
