"""The files beside a large map: what is in them, and that they are never trusted."""

import shutil

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.place_map import PlaceIndex, PlaceMap, map_index, merge, prune
from vpr_ros.place_map.descriptors import StoredDescriptors
from vpr_ros.place_map.index import content_of, map_rows

EXACT_ROWS = 20
FEW_MB = 20 * 32e-6  # so many megabytes are 20 rows of 16 numbers


def coded(place_map, made_of_it="") -> PlaceIndex:
    """The index over a map's descriptors as they are, in files beside it."""
    keyframes = place_map.keyframes(FEW_MB)

    def fill(out):
        out[:] = keyframes.descriptors[:]

    rows = map_rows(place_map, (len(keyframes), place_map.dim), fill, made_of_it)
    index = map_index(place_map, rows, made_of_it, exact_rows=EXACT_ROWS)
    assert index.kind == "coded"
    return index


def same_answers(index, place_map) -> bool:
    """Whether an index answers as an exact one over all that is in the map."""
    rows = place_map.keyframes().descriptors
    exact = PlaceIndex(place_map.dim).build(rows)
    pairs = zip(index.search(rows[::9], 5), exact.search(rows[::9], 5), strict=True)
    return len(index) == len(exact) and all(np.array_equal(ours, theirs) for ours, theirs in pairs)


def torn(whole: bytes):
    """What may become of a file."""
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    return [b"", b"x", whole[:-1], whole[:middle], flipped, whole + whole[:9]]


def test_a_map_within_the_budget_has_no_files_beside_it(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map, 50)
    rows = place_map.keyframes().descriptors
    assert isinstance(rows, np.ndarray) and map_index(place_map, rows).kind == "flat"
    assert map_index(place_map, rows, exact_rows=50).kind == "flat"
    assert sorted(p.name for p in tmp_path.iterdir() if "-" not in p.name) == ["a.vprmap"]
    assert map_index(place_map, rows, exact_rows=49).kind == "coded" and (tmp_path / "a.vprmap.faiss").exists()


def test_rows_of_a_large_map_are_mapped_from_a_file(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map, 50)
    keyframes = place_map.keyframes(FEW_MB)
    rows = map_rows(place_map, (50, 16), lambda out: np.copyto(out, keyframes.descriptors[:]))
    assert isinstance(rows, np.memmap) and not rows.flags.writeable

    def never(out):
        raise AssertionError("the file holds them")

    again = map_rows(place_map, (50, 16), never)
    np.testing.assert_array_equal(again, place_map.keyframes().descriptors)
    with pytest.raises(AssertionError):
        map_rows(place_map, (50, 16), never, ":centred")
    assert sorted(p.name for p in tmp_path.iterdir() if "-" not in p.name) == ["a.vprmap", "a.vprmap.rows"]


@pytest.mark.parametrize("name", ["rows", "faiss"])
def test_torn_files_are_made_anew(new_map, drive, tmp_path, name):
    place_map = new_map()
    drive(place_map, 50)
    cache = tmp_path / f"a.vprmap.{name}"
    assert same_answers(coded(place_map), place_map)
    whole = cache.read_bytes()
    assert same_answers(coded(place_map), place_map) and cache.read_bytes() == whole
    for content in torn(whole):
        cache.write_bytes(content)
        assert same_answers(coded(place_map), place_map) and cache.read_bytes() == whole
    cache.unlink()
    assert same_answers(coded(place_map), place_map) and cache.read_bytes() == whole


def test_files_follow_every_change_of_the_map(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map, 50)
    assert same_answers(coded(place_map), place_map)
    second = drive(place_map, 30, "more", start_ns=1, seed=9)
    assert same_answers(coded(place_map), place_map)
    prune(place_map, min_spacing_m=2.0, heading_deg=90)
    assert 20 < len(place_map) < 80 and same_answers(coded(place_map), place_map)
    prune(place_map, drop_sessions=[second])
    assert same_answers(coded(place_map), place_map)
    other = new_map("b.vprmap")
    drive(other, 40, seed=4)
    place_map.close()
    other.close()
    merge(tmp_path / "both.vprmap", [tmp_path / "a.vprmap", tmp_path / "b.vprmap"])
    with PlaceMap.open(tmp_path / "both.vprmap") as both:
        assert same_answers(coded(both), both)


def test_two_ways_of_editing_one_map_are_told_apart(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map, 50)
    place_map.close()
    for seed in (1, 2):  # of the same version and number of keyframes, under one name
        shutil.copyfile(tmp_path / "a.vprmap", tmp_path / "copy.vprmap")
        with PlaceMap.open(tmp_path / "copy.vprmap", writable=True) as copy:
            drive(copy, 30, "more", start_ns=1, seed=seed)
        with PlaceMap.open(tmp_path / "copy.vprmap") as copy:
            assert same_answers(coded(copy), copy)


def test_what_is_not_saved_gets_no_file(new_map, drive, tmp_path):
    place_map = new_map()
    session = drive(place_map, 50)
    assert content_of(place_map) is not None
    place_map.add(session, 10**15, np.ones(16))
    assert content_of(place_map) is None and same_answers(coded(place_map), place_map)
    assert not list(tmp_path.glob("*.rows")) and not list(tmp_path.glob("*.faiss"))


def test_a_folder_that_cannot_be_written_costs_only_time(new_map, drive, public_dir, unprivileged):
    place_map = new_map()
    drive(place_map, 50)
    place_map.close()
    path = public_dir / "a.vprmap"
    path.chmod(0o644)
    public_dir.chmod(0o755)

    def answers() -> bool:
        with PlaceMap.open(path) as opened:
            return same_answers(coded(opened), opened)

    if public_dir.stat().st_uid == 0:
        assert unprivileged(answers)
        assert not list(public_dir.glob("*.rows")) and not list(public_dir.glob("*.faiss"))


def test_descriptors_that_stay_in_the_file_are_those_that_were_written(new_map, drive):
    place_map = new_map()
    drive(place_map, 30)
    drive(place_map, 20, "before", start_ns=1, seed=3)
    held, stored = place_map.keyframes(), place_map.keyframes(0.0)
    rows, asked = held.descriptors, stored.descriptors
    assert isinstance(asked, StoredDescriptors) and asked.shape == rows.shape and len(asked) == 50
    for numbers in (slice(None), slice(40, 3, -2), np.array([7, 7, 49, 0]), [3], np.arange(50) % 3 == 0):
        np.testing.assert_array_equal(asked[numbers], rows[numbers])
    np.testing.assert_array_equal(asked[7], rows[7])
    np.testing.assert_array_equal(np.asarray(asked), rows)
    assert asked[np.array([], dtype=np.int64)].shape == (0, 16)
    some = stored.select(held.sessions == 2)
    np.testing.assert_array_equal(some.descriptors, rows[held.sessions == 2])


def test_a_descriptor_that_is_gone_is_one_sentence(new_map, drive):
    place_map = new_map()
    drive(place_map, 30)
    stored = place_map.keyframes(0.0)
    with place_map.edit() as db:
        db.execute("DELETE FROM descriptors WHERE id = 12")
    with pytest.raises(VprError, match=r"^keyframe 12 of the map has no descriptor of 16 numbers: [^.]*$"):
        coded(place_map)
    np.testing.assert_array_equal(stored.descriptors[5:8].shape, (3, 16))
    place_map.close()
    with pytest.raises(VprError, match="is closed"):
        stored.descriptors[0]


def test_a_damaged_map_is_refused_whatever_lies_beside_it(new_map, drive, tmp_path):
    place_map = new_map()
    drive(place_map, 50)
    assert same_answers(coded(place_map), place_map)
    vector = place_map.keyframes().descriptors[4].tobytes()
    place_map.close()
    path = tmp_path / "a.vprmap"
    path.write_bytes(path.read_bytes().replace(vector, vector[:-1] + bytes([vector[-1] ^ 1])))
    with pytest.raises(VprError, match=r"the descriptor of keyframe 5 is not what was written, 1 in all\): restore"):
        PlaceMap.open(path)
