"""Merge, prune, other poses, another model, export, info."""

import csv

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import make_transform, planar_transform
from vpr_ros.place_map import Bound, PlaceMap, export_csv, export_tum, info, merge, prune, redescribe, replace_poses
from vpr_ros.place_map.schema import MAP_COLUMNS
from vpr_ros.sensors import Trajectory


@pytest.fixture
def two_maps(new_map, drive):
    """Paths of two closed maps with 6 and 4 keyframes."""
    maps = [new_map("one.vprmap"), new_map("two.vprmap")]
    drive(maps[0], 6, "one", seed=1)
    drive(maps[1], 4, "two", seed=2)
    for place_map in maps:
        place_map.close()
    return [place_map.path for place_map in maps]


def test_merge_keeps_everything(two_maps, tmp_path):
    out = tmp_path / "both.vprmap"
    counts = merge(out, two_maps)
    assert (counts["sessions"], counts["keyframes"], counts["maps"]) == (2, 10, 2)
    with PlaceMap.open(out) as merged:
        assert merged.map_id == counts["map_id"]
        assert [s.name for s in merged.sessions()] == ["one", "two"]
        keyframes = merged.keyframes()
        assert len(set(keyframes.ids.tolist())) == 10
        for path in two_maps:
            with PlaceMap.open(path) as source:
                for i, old_id in enumerate(source.keyframes().ids):
                    new_id = merged.current_id(source.map_id, old_id)
                    row = keyframes.rows_of([new_id])[0]
                    np.testing.assert_array_equal(keyframes.descriptors[row], source.keyframes().descriptors[i])
                    np.testing.assert_array_equal(keyframes.T_map_base[row], source.keyframes().T_map_base[i])
                    np.testing.assert_array_equal(merged.covariance(new_id), source.covariance(old_id))
                    assert merged.thumbnail(new_id) == source.thumbnail(old_id)
        assert merged.current_id("unknown", 1) is None and merged.current_id(merged.map_id, 3) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["both.vprmap", "one.vprmap", "two.vprmap"]


def test_merging_twice_still_finds_the_first_ids(two_maps, new_map, drive, tmp_path):
    third = new_map("three.vprmap")
    drive(third, 3)
    third.close()
    merge(tmp_path / "ab.vprmap", two_maps)
    merge(tmp_path / "cab.vprmap", [third.path, tmp_path / "ab.vprmap"])
    with PlaceMap.open(two_maps[1]) as first, PlaceMap.open(tmp_path / "cab.vprmap") as last:
        new = last.current_id(first.map_id, 2)
        assert last.thumbnail(new) == first.thumbnail(2) and new == 3 + 6 + 2
    with pytest.raises(VprError, match="twice"):
        merge(tmp_path / "again.vprmap", [two_maps[0], tmp_path / "cab.vprmap"])


def test_merge_refuses(two_maps, new_map, tmp_path):
    out = tmp_path / "out.vprmap"
    with pytest.raises(VprError, match="twice"):
        merge(out, [two_maps[0], two_maps[0]])
    with pytest.raises(VprError, match="at least two"):
        merge(out, two_maps[:1])
    with pytest.raises(VprError, match="exists already"):
        merge(two_maps[1], two_maps)
    for settings, words in [
        (dict(fingerprint="e" * 64), "different models"),
        (dict(datum=(1, 2, 3)), "share a frame"),
        (dict(frame_id="other"), "share a frame"),
        (dict(place_radius_m=3.0), "place radii"),
    ]:
        other = new_map("other.vprmap", **settings)
        other.close()
        with pytest.raises(VprError, match=words):
            merge(out, [two_maps[0], other.path])
        if "place_radius_m" in settings:
            merge(tmp_path / "radius.vprmap", [two_maps[0], other.path], place_radius_m=5.0)
            with PlaceMap.open(tmp_path / "radius.vprmap") as merged:
                assert merged.place_radius_m == 5.0
        other.path.unlink()
    with pytest.raises(VprError, match="does not exist"):
        merge(tmp_path / "nowhere" / "out.vprmap", two_maps)
    assert not list(tmp_path.glob(".*")) and not out.exists()


def test_pruned_ids_never_come_back(new_map, drive):
    place_map = new_map()
    first = drive(place_map, 10, "first")
    second = drive(place_map, 5, "second", start_ns=10**12)
    assert prune(place_map, drop_sessions=[second]) == {"removed": 5, "left": 10}
    assert [s.id for s in place_map.sessions()] == [first]
    third = drive(place_map, 2, "third")
    assert third not in (first, second) and place_map.keyframes().ids.tolist()[-2:] == [16, 17]
    assert place_map.thumbnail(15) is None
    with pytest.raises(VprError, match=f"no session {second}"):
        prune(place_map, drop_sessions=[second])


def test_prune_by_age_count_and_spacing(new_map, drive):
    place_map = new_map()
    drive(place_map, 20)
    ids = place_map.keyframes().ids
    assert prune(place_map, older_than_ns=3 * 10**9)["removed"] == 2
    assert place_map.keyframes().ids.tolist() == ids[2:].tolist()
    prune(place_map, min_spacing_m=2.5)  # one metre apart, straight: every third stays
    assert place_map.keyframes().ids.tolist() == ids[2::3].tolist()
    version = place_map.version
    assert prune(place_map, min_spacing_m=2.5) == {"removed": 0, "left": 6} and place_map.version == version
    assert prune(place_map, bound=Bound(keyframes=3)) == {"removed": 3, "left": 3}


def test_pruning_by_spacing_keeps_turns_and_poseless(new_map):
    place_map = new_map()
    session = place_map.start_session("turning")
    for stamp, T in enumerate([planar_transform(0, 0, 0), planar_transform(0.1, 0, 0), planar_transform(0.1, 0, 1.0)]):
        place_map.add(session, stamp, np.eye(16)[stamp], T)
    other = place_map.start_session("poseless")
    for stamp in range(3):
        place_map.add(other, stamp, np.eye(16)[stamp])
    prune(place_map, min_spacing_m=1.0, heading_deg=30.0)
    assert place_map.keyframes().ids.tolist() == [1, 3, 4, 5, 6]


def test_pruning_shrinks_the_file(new_map, drive):
    place_map = new_map()
    drive(place_map, 300)
    prune(place_map, bound=Bound(keyframes=10), reach=50.0, heading_deg=180.0)
    place_map.close()
    small = place_map.path.stat().st_size
    with PlaceMap.open(place_map.path) as again:
        assert len(again) == 10 and again._db.execute("PRAGMA freelist_count").fetchone() == (0,)
        assert again._db.execute("SELECT count(*) FROM descriptors").fetchone() == (10,)
    assert small < 150_000


class Line:
    """A trajectory that is at x = seconds, from `start_s` to `end_s`."""

    def __init__(self, start_s, end_s):
        self.start_s, self.end_s = start_s, end_s

    def at(self, stamp_ns, max_gap_s=1.0):
        t = stamp_ns / 1e9
        return make_transform([100 + t, 0, 0], [0, 0, 1, 1]) if self.start_s <= t <= self.end_s else None

    def gap_s(self, stamp_ns):
        return 0.0 if self.at(stamp_ns) is not None else None


def test_replace_poses(new_map, drive):
    place_map = new_map()
    first = drive(place_map, 10, "first", start_ns=10**9)
    second = drive(place_map, 4, "second", start_ns=10**12)
    before = place_map.keyframes()
    result = replace_poses(place_map, Line(3, 8))
    assert (result.replaced, result.cleared, result.kept) == (6, 4, 4)
    assert result.why == "4 lie before or after it"
    after = place_map.keyframes()
    in_first = after.sessions == first
    expected = [Line(0, 99).at(s * 10**9) for s in range(3, 9)]
    np.testing.assert_allclose(after.T_map_base[in_first][2:8], expected, atol=1e-9)
    assert np.flatnonzero(~after.has_pose).tolist() == [0, 1, 8, 9]
    np.testing.assert_array_equal(after.T_map_base[after.sessions == second], before.T_map_base[~in_first])
    np.testing.assert_array_equal(after.T_odom_base, before.T_odom_base)
    assert place_map.covariance(after.ids[3]) is None and place_map.covariance(after.ids[-1]) is not None
    with pytest.raises(VprError, match="same clock"):
        replace_poses(place_map, Line(500, 600))


def sparse(step_s, count, start_s=0.6):
    """A trajectory with a pose every so many seconds."""
    stamps = [round((start_s + i * step_s) * 1e9) for i in range(count)]
    return Trajectory(stamps, [make_transform([100 + t / 1e9, 0, 0]) for t in stamps])


@pytest.mark.parametrize(
    ("trajectory", "why"),
    [
        (
            sparse(1.4, 20, 0.0),
            r"2 keyframes .* 18 would lose theirs: 18 lie in gaps of up to 1.4 s between its poses, longer than "
            r"--max-gap-s 1; nothing was changed",
        ),
        (sparse(0.5, 6), r"17 lie before or after it"),
        (sparse(0.5, 4, 1.0), r"18 lie before or after it; nothing was changed. Give one that covers the drive"),
    ],
)
def test_most_of_a_map_is_never_cleared_unasked(new_map, drive, trajectory, why):
    """A pose every 1.4 s cleared 18 of 20 keyframes as 'outside the trajectory'."""
    place_map = new_map()
    drive(place_map, 20, "first", start_ns=10**9)
    before = place_map.keyframes().T_map_base
    with pytest.raises(VprError, match=why) as error:
        replace_poses(place_map, trajectory)
    assert "nothing was changed" in str(error.value) and "--clear" in str(error.value)
    np.testing.assert_array_equal(place_map.keyframes().T_map_base, before)
    asked = replace_poses(place_map, trajectory, clear=True)
    assert asked.cleared > asked.replaced and asked.cleared == 20 - place_map.keyframes().has_pose.sum()


def test_the_gap_that_is_named_covers_the_map(new_map, drive):
    place_map = new_map()
    drive(place_map, 20, "first", start_ns=10**9)
    with pytest.raises(VprError, match=r"Say --max-gap-s 1.4, or add --clear"):
        replace_poses(place_map, sparse(1.4, 20, 1.0))
    result = replace_poses(place_map, sparse(1.4, 20, 1.0), max_gap_s=1.4)
    assert (result.replaced, result.cleared, result.why) == (20, 0, "")
    np.testing.assert_allclose(place_map.keyframes().T_map_base[:, 0, 3], 101 + np.arange(20), atol=1e-6)
    with pytest.raises(VprError, match=r"no keyframe .* lie in gaps of up to 1.4 s .*say --max-gap-s 1.4"):
        replace_poses(place_map, sparse(1.4, 20, 0.3))


def test_keyframes_that_never_had_a_pose_lose_none(new_map, drive):
    place_map = new_map()
    drive(place_map, 20, "first", start_ns=10**9)
    with place_map.edit() as db:
        db.execute(f"UPDATE keyframes SET {', '.join(f'{column} = NULL' for column in MAP_COLUMNS)}")
    result = replace_poses(place_map, sparse(1.4, 20, 1.0))
    assert (result.cleared, result.without, result.in_gaps) == (0, 20 - result.replaced, 20 - result.replaced)


class Brightness:
    """A real, tiny describer: mean and spread of the image."""

    name, dim, parts, fingerprint, preprocessing = "brightness", 2, (2,), "b" * 64, {"kind": "mean"}

    def describe(self, images):
        rows = np.array([[image.mean() + 1, 50.0] for image in images])
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_redescribe(new_map, drive):
    place_map = new_map()
    drive(place_map, 70)
    place_map.set_calibration({"source": "old"})
    before = place_map.keyframes()
    steps = []
    assert redescribe(place_map, Brightness(), lambda *step: steps.append(step)) == {"described": 70, "dropped": 0}
    assert steps == [(64, 70), (70, 70)]
    assert place_map.get_calibration() is None and place_map.dim == 2 and place_map.model_name == "brightness"
    place_map.close()
    with PlaceMap.open(place_map.path, fingerprint="b" * 64, dim=2) as again:
        keyframes = again.keyframes()
        np.testing.assert_array_equal(keyframes.ids, before.ids)
        np.testing.assert_array_equal(keyframes.T_map_base, before.T_map_base)
        for row in (0, 33, 69):
            image = cv2.imdecode(np.frombuffer(again.thumbnail(keyframes.ids[row]), np.uint8), cv2.IMREAD_COLOR)
            np.testing.assert_array_equal(keyframes.descriptors[row], Brightness().describe([image])[0])
        assert again.preprocessing == {"kind": "mean"}


def test_redescribe_sees_rgb(new_map):
    place_map = new_map()
    session = place_map.start_session("red")
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 2] = 255  # BGR
    place_map.add(session, 1, np.eye(16)[0], thumbnail=cv2.imencode(".jpg", red)[1].tobytes())
    seen = []

    class Watcher(Brightness):
        def describe(self, images):
            seen.extend(images)
            return super().describe(images)

    redescribe(place_map, Watcher())
    assert seen[0][8, 8, 0] > 200 and seen[0][8, 8, 2] < 50


def test_redescribe_is_all_or_nothing(new_map, drive):
    place_map = new_map()
    drive(place_map, 70)
    session = place_map.start_session("bare")
    bare = place_map.add(session, 1, np.eye(16)[0])
    broken = place_map.add(session, 2, np.eye(16)[1], thumbnail=b"\xff\xd8 no jpeg")
    before = place_map.keyframes()
    version = place_map.version

    class Failing(Brightness):
        def describe(self, images):
            if len(images) < 64:
                raise RuntimeError("out of memory")
            return super().describe(images)

    with pytest.raises(RuntimeError):
        redescribe(place_map, Failing())
    with pytest.raises(VprError, match=f"2 of 72 keyframes .* no readable thumbnail .first: {bare}"):
        redescribe(place_map, Brightness())
    np.testing.assert_array_equal(place_map.keyframes().descriptors, before.descriptors)
    assert place_map.fingerprint == "f" * 64 and place_map.dim == 16 and place_map.version == version
    assert redescribe(place_map, Brightness(), drop_missing=True) == {"described": 70, "dropped": 2}
    assert not {bare, broken} & set(place_map.keyframes().ids.tolist())


def test_export_csv(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map, 3)
    drive(place_map, 2, "no, poses", start_ns=1_700_000_000_000_000_001, poses=False)
    assert export_csv(place_map, tmp_path / "k.csv") == {"written": 5, "skipped": 0}
    rows = list(csv.DictReader(open(tmp_path / "k.csv", newline="")))
    assert [int(row["keyframe_id"]) for row in rows] == place_map.keyframes().ids.tolist()
    assert rows[3]["session_name"] == "no, poses" and rows[3]["stamp_ns"] == "1700000000000000001"
    assert rows[3]["map_x"] == "" and float(rows[2]["map_x"]) == 2.0 and float(rows[2]["odom_x"]) == 2.2
    with pytest.raises(VprError, match="cannot write"):
        export_csv(place_map, tmp_path / "nowhere" / "k.csv")


def test_export_tum(new_map, drive, tmp_path):
    place_map = new_map()
    session = drive(place_map, 3, start_ns=1_700_000_000_000_000_001)
    drive(place_map, 2, "poseless", poses=False)
    assert export_tum(place_map, tmp_path / "t.tum") == {"written": 3, "skipped": 2}
    lines = (tmp_path / "t.tum").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [f"17000000{i:02d}.000000001" for i in range(3)]
    keyframes = place_map.keyframes()
    for line, T in zip(lines, keyframes.T_map_base[keyframes.sessions == session], strict=True):
        values = [float(word) for word in line.split()[1:]]
        np.testing.assert_allclose(make_transform(values[:3], values[3:]), T, atol=1e-8)
    export_tum(place_map, tmp_path / "o.tum", pose="odom", session=session)
    assert float((tmp_path / "o.tum").read_text().splitlines()[2].split()[1]) == 2.2
    with pytest.raises(VprError, match="no trajectory"):
        export_tum(place_map, tmp_path / "none.tum", session=99)
    with pytest.raises(VprError, match="'map' and 'odom'"):
        export_tum(place_map, tmp_path / "none.tum", pose="gps")


def test_info(new_map, drive):
    import json

    place_map = new_map()
    drive(place_map, 11, "first")
    drive(place_map, 5, "poseless", poses=False)
    place_map.start_session("empty")
    facts = info(place_map)
    json.dumps(facts)
    assert (facts["keyframes"], facts["keyframes_with_pose"]) == (16, 11)
    assert facts["length_m"] == pytest.approx(10.0) and facts["extent_m"] == {"min": [0, 0, 0], "max": [10, 0, 0]}
    first, poseless, empty = facts["sessions"]
    assert (first["duration_s"], first["rate_hz"], first["source"]) == (10.0, 1.0, "first.bag")
    assert (poseless["length_m"], poseless["keyframes"]) == (0.0, 5) and empty["rate_hz"] is None
    assert [s["map_poses"] for s in facts["sessions"]][1:] == ["none", "none"]
    assert facts["parts"]["descriptors"] == {"count": 16, "bytes": 16 * 32} and facts["parts"]["clouds"]["count"] == 0
    assert facts["calibration"] == "checkpoint" and facts["place_radius_unit"] == "m"
    assert facts["descriptor_parts"] == (facts["dim"],)
    place_map.set_calibration({"source": "labelled drive"})
    assert info(place_map)["calibration"] == "map (labelled drive)"
