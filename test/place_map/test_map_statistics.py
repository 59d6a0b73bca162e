"""The statistics of a session: written with each keyframe, kept by every tool, computed where a file has none."""

import sqlite3

import numpy as np
import pytest

from vpr_ros.errors import FrameError
from vpr_ros.place_map import Bound, PlaceIndex, PlaceMap, merge, prune, redescribe
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.schema import SCHEMA_VERSION
from vpr_ros.place_map.statistics import DriveStatistics, centred, centred_rows, complete, overall

DIM = 16  # of the maps of this room


def unit_rows(count, dim=DIM, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def forget(path, version):
    """The file as a program of an older schema would have left it."""
    db = sqlite3.connect(path)
    db.execute("ALTER TABLE sessions DROP COLUMN total")
    db.execute("ALTER TABLE sessions DROP COLUMN frames")
    db.execute("ALTER TABLE sessions DROP COLUMN checksum")
    db.execute("DROP TABLE checksums")
    db.execute("DROP TABLE features")
    db.execute("DELETE FROM meta WHERE key IN ('parts', 'checksum')")
    db.execute(f"PRAGMA user_version={version}")
    db.commit()
    db.close()


def test_each_keyframe_is_counted_with_its_content(new_map):
    place_map = new_map()
    rows, contents = unit_rows(5), (1.0, 0.0, 0.25, 1.0, 0.5)
    sessions = [place_map.start_session("empty"), place_map.start_session("drive")]
    for i, (row, content) in enumerate(zip(rows, contents, strict=True)):
        place_map.add(sessions[1], i, row, content=content)
    with pytest.raises(FrameError):
        place_map.add(sessions[1], 4, rows[0])  # a stamp that is taken counts nothing
    found = place_map.statistics()
    assert list(found) == [sessions[1]] and found[sessions[1]].frames == 2.75
    expected = sum(c * row.astype(float) for c, row in zip(contents, rows, strict=True))
    np.testing.assert_allclose(found[sessions[1]].total, expected)
    place_map.close()
    with PlaceMap.open(place_map.path) as again:
        np.testing.assert_array_equal(again.statistics()[2].total, found[2].total)


def test_what_is_not_saved_is_not_counted(new_map, monkeypatch):
    place_map = new_map()
    session = place_map.start_session("drive")
    place_map.add(session, 1, unit_rows(1)[0])
    place_map.flush()
    place_map.add(session, 2, unit_rows(1)[0])

    def fail(*_):
        raise RuntimeError("no more")

    monkeypatch.setattr(PlaceMap, "_count", fail)
    with pytest.raises(RuntimeError):
        place_map.add(session, 3, unit_rows(1)[0])
    assert len(place_map) == 1 and place_map.statistics()[session].frames == 1.0


def test_an_older_file_gets_its_statistics_from_its_keyframes(new_map, drive):
    place_map = new_map()
    drive(place_map, 7, "one", seed=1)
    drive(place_map, 5, "two", seed=2)
    known = place_map.statistics()
    place_map.close()
    forget(place_map.path, 2)
    with PlaceMap.open(place_map.path) as old:
        assert old.schema_version == SCHEMA_VERSION and old.statistics() == {} and old.parts == (DIM,)
        found = complete(old.statistics(), old.keyframes())
    for session in (1, 2):
        np.testing.assert_array_equal(found[session].total, known[session].total)
        assert found[session].frames == known[session].frames
    with PlaceMap.open(place_map.path, writable=True) as old:
        old.add(2, 1, unit_rows(1, seed=9)[0])  # its mean is still that of all its keyframes
        session = drive(old, 3, "three", seed=3)
        assert list(old.statistics()) == [session]
        assert complete(old.statistics(), old.keyframes())[2].frames == 6


def test_merge_keeps_them_and_prune_does_not_touch_them(new_map, drive, tmp_path):
    maps = [new_map(f"{name}.vprmap", parts=(12, 4)) for name in ("one", "two")]
    for place_map, count in zip(maps, (6, 4), strict=True):
        drive(place_map, count, seed=count)
    known = [place_map.statistics()[1] for place_map in maps]
    prune(maps[0], bound=Bound(keyframes=2))
    np.testing.assert_array_equal(maps[0].statistics()[1].total, known[0].total)
    for place_map in maps:
        place_map.close()
    merge(tmp_path / "both.vprmap", [place_map.path for place_map in maps])
    with PlaceMap.open(tmp_path / "both.vprmap") as merged:
        assert merged.parts == (12, 4)
        for session, one in zip((1, 2), known, strict=True):
            np.testing.assert_array_equal(merged.statistics()[session].total, one.total)


class Halves:
    """A describer of two parts."""

    name, dim, parts, fingerprint, preprocessing = "halves", 4, (3, 1), "c" * 64, {}

    def describe(self, images):
        return unit_rows(len(images), 4, seed=4)


def test_another_model_forgets_the_old_ones(new_map, drive):
    place_map = new_map()
    drive(place_map, 6)
    redescribe(place_map, Halves())
    assert place_map.statistics() == {} and place_map.parts == (3, 1)
    assert complete(place_map.statistics(), place_map.keyframes())[1].total.shape == (4,)


def test_keyframes_are_centred_by_their_own_session():
    rows = unit_rows(9)
    nan = np.full((9, 4, 4), np.nan)
    sessions = np.array([1, 1, 1, 1, 2, 2, 2, 2, 2])
    keyframes = Keyframes(np.arange(9), sessions, np.arange(9), nan, nan, rows)
    found = complete({2: DriveStatistics.of(rows[:3])}, keyframes)  # what is known is taken as it is
    got = centred_rows(keyframes, found, (12, 4))
    for i in range(9):
        constant = found[int(sessions[i])].constant
        np.testing.assert_array_equal(got[i], centred(rows[i], constant, (12, 4)).astype(np.float16))
    whole = overall(found, DIM)
    np.testing.assert_allclose(whole.total, rows[:4].astype(float).sum(0) + rows[:3].astype(float).sum(0))
    assert whole.frames == 7 and overall({}, DIM).frames == 0


def test_the_last_rows_of_an_index_are_replaced():
    rows, others = unit_rows(40), unit_rows(15, seed=5)
    index = PlaceIndex(DIM).build(rows)
    index.replace_from(25, others)
    expected = np.concatenate([rows[:25], others]).astype(np.float32)
    np.testing.assert_array_equal(index.vectors(np.arange(40)), expected)
    asked = unit_rows(3, seed=6)
    built = PlaceIndex(DIM).build(expected)
    for ours, theirs in zip(index.search(asked, 40), built.search(asked, 40), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert index.vectors(np.array([], dtype=np.int64)).shape == (0, DIM)
