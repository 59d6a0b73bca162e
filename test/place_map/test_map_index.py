"""PlaceIndex against naive numpy, and its cache file."""

import numpy as np
import pytest

from vpr_ros.place_map import PlaceIndex, map_index
from vpr_ros.place_map import index as index_module


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def naive_search(rows, queries, k):
    similarities = queries.astype(np.float64) @ rows.astype(np.float64).T
    order = np.argsort(-similarities, axis=1)[:, :k]
    return np.take_along_axis(similarities, order, axis=1), order


@pytest.mark.parametrize("queries", [1, 5, 40])
def test_flat_is_exact(queries):
    rows, asked = unit_rows(500, 48), unit_rows(queries, 48, seed=1)
    index = PlaceIndex(48).build(rows)
    similarities, found = index.search(asked, 10)
    expected, order = naive_search(rows, asked, 10)
    np.testing.assert_array_equal(found, order)
    np.testing.assert_allclose(similarities, expected, atol=1e-5)
    assert index.kind == "flat" and similarities.dtype == np.float32 and found.dtype == np.int64


def test_incremental_equals_build():
    rows, asked = unit_rows(60, 16), unit_rows(4, 16, seed=1)
    index = PlaceIndex(16)
    for row in rows[:50]:
        index.add(row)
    index.add(rows[50:])
    built = PlaceIndex(16).build(rows)
    assert len(index) == len(built) == 60
    for ours, theirs in zip(index.search(asked, 7), built.search(asked, 7), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(built.build(rows[:3])) == 3  # build forgets


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
def test_fewer_rows_than_k(kind):
    index = PlaceIndex(16, kind)
    similarities, found = index.search(unit_rows(2, 16), 3)
    assert (found == -1).all() and np.isneginf(similarities).all() and found.shape == (2, 3)
    index.add(unit_rows(2, 16))
    similarities, found = index.search(unit_rows(1, 16)[0], 4)
    assert found[0, 0] == 0 and found[0, 2:].tolist() == [-1, -1] and np.isneginf(similarities[0, 2:]).all()
    assert similarities[0, 0] == pytest.approx(1, abs=1e-3)


def test_hnsw_finds_nearly_all():
    rows, asked = unit_rows(2000, 32), unit_rows(50, 32, seed=1)
    index = PlaceIndex(32, "hnsw").build(rows)
    _, found = index.search(asked, 10)
    _, order = naive_search(rows, asked, 10)
    hits = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, order, strict=True)])
    assert hits > 0.95


def test_wrong_shapes():
    with pytest.raises(ValueError, match="dimension 16"):
        PlaceIndex(16).add(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="hnws"):
        PlaceIndex(16, "hnws")


def test_cache_is_never_trusted(new_map, drive, tmp_path, monkeypatch):
    place_map = new_map()
    drive(place_map, 50)
    keyframes = place_map.keyframes()
    assert map_index(place_map, keyframes).kind == "flat" and not list(tmp_path.glob("*.faiss"))
    monkeypatch.setattr(index_module, "HNSW_THRESHOLD", 20)
    cache = tmp_path / "a.vprmap.faiss"
    asked = keyframes.descriptors[[7]]

    def best() -> int:
        index = map_index(place_map, place_map.keyframes())
        assert index.kind == "hnsw"
        return int(index.search(asked, 1)[1][0, 0])

    assert best() == 7 and cache.exists()
    whole = cache.read_bytes()
    assert best() == 7 and cache.read_bytes() == whole
    # the cache is used when it is whole: one of other content under the right key shows through
    key = f"{place_map.map_id}:{place_map.version}:50"
    PlaceIndex(16, "hnsw").build(keyframes.descriptors[::-1]).save(cache, key)
    assert best() == 50 - 1 - 7
    for torn in (b"", b"x", whole[:-1], whole[: len(whole) // 2], whole[:100] + b"\0" + whole[101:], whole + whole[:9]):
        if torn == whole:
            continue
        cache.write_bytes(torn)
        assert best() == 7 and cache.read_bytes() == whole  # rebuilt
    drive(place_map, 30, "more", start_ns=1, seed=9)  # stale
    assert len(map_index(place_map, place_map.keyframes())) == 80 and best() == 7
    assert cache.read_bytes() != whole
