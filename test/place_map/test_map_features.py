"""Local features in a map: within their bytes, of one kind, copied with their keyframes, and missing in old maps."""

import sqlite3

import cv2
import numpy as np
import pytest
from keypoints import random_features

from vpr_ros.errors import VprError
from vpr_ros.local_features import open_local_features, pack, unpack
from vpr_ros.local_features.packing import MAX_BYTES
from vpr_ros.pictures import decode, encode
from vpr_ros.place_map import PlaceMap, info, merge, prune, thumbnail_features


def add(place_map, stamp_ns, features, session=None):
    session = place_map.start_session("drive") if session is None else session
    return place_map.add(session, stamp_ns, np.eye(16)[stamp_ns % 16], None, np.eye(4), features=features)


def test_features_come_back_as_they_were_packed_and_stay_under_the_limit(new_map, tmp_path):
    place_map = new_map()
    many, few = random_features(900, depth=True, seed=1), random_features(12, depth=False, seed=2)
    first = add(place_map, 1, many)
    second, bare = add(place_map, 2, few, 1), add(place_map, 3, None, 1)
    place_map.close()
    with PlaceMap.open(tmp_path / "a.vprmap") as opened:
        assert opened.local_features == "xfeat" and opened.has_features and opened.features(bare) is None
        with opened.reading() as db:
            sizes = [n for (n,) in db.execute("SELECT length(points) FROM features ORDER BY id")]
        assert MAX_BYTES - 100 < sizes[0] <= MAX_BYTES and sizes[1] < 1200
        for keyframe_id, given in ((first, many), (second, few)):
            found, wanted = opened.features(keyframe_id), unpack(pack(given))
            for name in ("pixels", "scores", "descriptors", "T_base_camera"):
                assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
            assert found.camera.to_dict() == given.camera.to_dict() and found.size == given.size
        assert opened.features(second).depth_m is None and opened.features(first).has_depth.any()
        facts = info(opened)["local_features"]
    kept = [len(unpack(pack(one))) for one in (many, few)]
    deep = unpack(pack(many)).has_depth.sum()
    assert facts["kind"] == "xfeat" and facts["keyframes_share"] == pytest.approx(2 / 3)
    assert facts["mean_keypoints"] == pytest.approx(sum(kept) / 2)
    assert facts["depth_share"] == pytest.approx(deep / sum(kept))


def test_a_map_keeps_features_of_one_kind(new_map, tmp_path):
    place_map, other = new_map(), new_map("b.vprmap")
    add(place_map, 1, random_features(5, depth=False))
    with pytest.raises(VprError, match="a.vprmap has local features of the kind xfeat, with which sift cannot"):
        add(place_map, 2, random_features(5, depth=False, kind="sift", dim=128), 1)
    add(other, 3, random_features(5, depth=False, kind="sift", dim=128))
    place_map.close()
    other.close()
    with pytest.raises(VprError, match="local features of two kinds"):
        merge(tmp_path / "c.vprmap", [tmp_path / "a.vprmap", tmp_path / "b.vprmap"])


def test_merging_and_pruning_take_the_features_along(new_map, tmp_path):
    place_map, other = new_map(), new_map("b.vprmap")
    add(other, 1, None)
    session = place_map.start_session("drive")
    for stamp in range(2, 6):
        add(place_map, stamp, random_features(5, depth=True, seed=stamp), session)
    before = pack(place_map.features(3))
    place_map.close()
    other.close()
    merge(tmp_path / "c.vprmap", [tmp_path / "b.vprmap", tmp_path / "a.vprmap"])
    with PlaceMap.open(tmp_path / "c.vprmap", writable=True) as merged:
        assert merged.local_features == "xfeat" and merged.features(1) is None
        assert pack(merged.features(4)) == before
        prune(merged, older_than_ns=4)
        assert merged.features(2) is None and merged.features(4) is not None
        with merged.reading() as db:
            assert db.execute("SELECT count(*) FROM features").fetchone() == (2,)


@pytest.mark.parametrize("version", [3, 4])
def test_a_map_without_the_table_is_read_as_it_is_and_gets_it_when_it_is_written(new_map, drive, tmp_path, version):
    place_map = new_map()
    drive(place_map, 4)
    place_map.close()
    path = tmp_path / "a.vprmap"
    db = sqlite3.connect(path)
    db.execute("DROP TABLE features")
    if version == 4:
        db.execute("ALTER TABLE checksums DROP COLUMN features")
    else:
        db.execute("DROP TABLE checksums")
        db.execute("ALTER TABLE sessions DROP COLUMN checksum")
        db.execute("DELETE FROM meta WHERE key = 'checksum'")
    db.execute(f"PRAGMA user_version={version}")
    db.commit()
    db.close()
    before = path.read_bytes()
    with PlaceMap.open(path) as old:
        assert old.schema_version == version and not old.has_features and old.features(1) is None
        assert old.thumbnail(1) and info(old)["local_features"] is None and old.local_features is None
    assert path.read_bytes() == before
    with PlaceMap.open(path, writable=True) as lifted:
        new = add(lifted, 99, random_features(5, depth=True), 1)
        assert lifted.features(new) is not None and lifted.features(1) is None


def blocks(seed):
    """JPEG of a thumbnail (96, 96) with corners to find."""
    rng = np.random.default_rng(seed)
    return encode(cv2.resize(rng.integers(0, 255, (12, 12, 3)).astype(np.uint8), (96, 96), interpolation=0), quality=95)


def test_thumbnails_give_features_where_there_are_none_of_the_kind(new_map):
    place_map, sift = new_map(), open_local_features("sift", max_keypoints=50)
    session = place_map.start_session("drive")
    for i in range(3):
        place_map.add(session, i, np.eye(16)[i], thumbnail=blocks(i))
    place_map.add(session, 3, np.eye(16)[3])
    assert thumbnail_features(place_map, sift) == {"made": 3, "kept": 0, "without": 1}
    assert place_map.local_features == "sift" and place_map.features(4) is None
    found = place_map.features(2)
    (wanted,) = sift.extract([decode(blocks(1))])
    assert len(found) == len(wanted) > 10 and found.size == (96, 96)
    assert np.abs(found.pixels - wanted.pixels).max() < 0.01 and found.camera is None and found.depth_m is None
    of_picture = random_features(5, depth=True, kind="sift", dim=128)
    new = place_map.add(session, 9, np.eye(16)[5], thumbnail=blocks(5), features=of_picture)
    assert thumbnail_features(place_map, sift) == {"made": 0, "kept": 4, "without": 1}
    assert place_map.features(new).depth_m is not None
    assert thumbnail_features(place_map, None) == {"made": 0, "kept": 0, "without": 0}
    assert place_map.local_features is None and not place_map.has_features
    path = place_map.path
    place_map.close()
    with PlaceMap.open(path) as again:  # sums are right
        assert again.features(1) is None and again.thumbnail(1)


def test_features_of_another_kind_are_made_anew(new_map):
    place_map = new_map()
    session = place_map.start_session("drive")
    place_map.add(session, 1, np.eye(16)[1], thumbnail=blocks(1), features=random_features(5, depth=True))
    assert place_map.local_features == "xfeat"
    assert thumbnail_features(place_map, open_local_features("sift"))["made"] == 1
    assert place_map.local_features == "sift" == place_map.features(1).kind
