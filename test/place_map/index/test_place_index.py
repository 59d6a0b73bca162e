"""PlaceIndex against naive numpy, and the coded search against the exact one."""

import numpy as np
import pytest

from vpr_ros.place_map import PlaceIndex
from vpr_ros.place_map.index import coded


def unit_rows(count, dim, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def along_drives(count, dim, seed=0, noise=0.7):
    """Rows (N, dim) of a drive whose neighbours are alike, and as many views of a second drive past them."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(count + 4, dim))
    places = sum(steps[i : i + count] for i in range(5))
    seen = places + noise * np.sqrt(5) * rng.normal(size=places.shape)
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (places, seen)]
    return unit[0].astype(np.float16), unit[1].astype(np.float32)


def naive_search(rows, queries, k):
    similarities = queries.astype(np.float64) @ rows.astype(np.float64).T
    order = np.argsort(-similarities, axis=1)[:, :k]
    return np.take_along_axis(similarities, order, axis=1), order


@pytest.fixture
def few_candidates(monkeypatch):
    """Codes alone decide what is compared: a twentieth of 6000 rows at k = 20."""
    monkeypatch.setattr(coded, "_LEAST_CANDIDATES", 100)


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


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rows_of_any_precision_are_the_same_rows(dtype):
    rows = unit_rows(30, 12)
    index = PlaceIndex(12).build(rows.astype(dtype))
    np.testing.assert_array_equal(index.vectors(np.arange(30)), rows.astype(np.float32))


def test_fewer_rows_than_k():
    index = PlaceIndex(16)
    similarities, found = index.search(unit_rows(2, 16), 3)
    assert (found == -1).all() and np.isneginf(similarities).all() and found.shape == (2, 3)
    index.add(unit_rows(2, 16))
    similarities, found = index.search(unit_rows(1, 16)[0], 4)
    assert found[0, 0] == 0 and found[0, 2:].tolist() == [-1, -1] and np.isneginf(similarities[0, 2:]).all()
    assert similarities[0, 0] == pytest.approx(1, abs=1e-3)


def test_fewer_coded_rows_than_k():
    index = PlaceIndex(16, exact_rows=20).build(unit_rows(30, 16))
    index.add(unit_rows(3, 16, seed=1))
    similarities, found = index.search(unit_rows(2, 16, seed=2), 40)
    assert index.kind == "coded"
    for one, rows in zip(similarities, found, strict=True):
        assert sorted(rows[:33].tolist()) == list(range(33)) and (np.diff(one[:33]) <= 0).all()
        assert (rows[33:] == -1).all() and np.isneginf(one[33:]).all()


@pytest.mark.parametrize("dim", [32, 30, 29])  # numbers of which four, three, one share a code
@pytest.mark.parametrize("together", [1, 40])
def test_coded_search_finds_the_best_place_with_the_exact_similarity(few_candidates, dim, together):
    rows, asked = along_drives(6000, dim)
    asked = asked[::60]
    exact, coded_index = PlaceIndex(dim).build(rows), PlaceIndex(dim, exact_rows=1000).build(rows)
    assert (exact.kind, coded_index.kind) == ("flat", "coded")
    every = [exact.search(one, len(rows)) for one in asked]
    hits = []
    for start in range(0, len(asked), together):
        similarities, found = coded_index.search(asked[start : start + together], 20)
        for (known, order), ours, mine in zip(every[start : start + together], similarities, found, strict=True):
            hits.append(mine[0] == order[0, 0])
            by_row = np.empty(len(rows), np.float32)
            by_row[order[0]] = known[0]
            np.testing.assert_array_equal(ours, by_row[mine])  # every bit
            assert (np.diff(ours) <= 0).all() and len(set(mine.tolist())) == 20
    assert np.mean(hits) >= 0.99


def test_rows_that_come_one_by_one_cross_the_budget(few_candidates, tmp_path):
    rows, asked = along_drives(4500, 24)
    index, kinds = PlaceIndex(24, exact_rows=500, folder=tmp_path), []
    exact = PlaceIndex(24).build(rows)
    for count, row in enumerate(rows, 1):
        index.add(row)
        if count in (500, 501, 4500):
            kinds.append(index.kind)
    assert kinds == ["flat", "coded", "coded"] and len(index) == 4500
    assert not list(tmp_path.iterdir())  # what was set aside has no name
    np.testing.assert_array_equal(index.vectors(np.arange(4500)), rows.astype(np.float32))
    np.testing.assert_array_equal(index.vectors(np.array([4499, 3, 501])), rows[[4499, 3, 501]].astype(np.float32))
    hits = []
    for one in asked[::45]:
        similarities, found = index.search(one, 10)
        known, order = exact.search(one, 10)
        hits.append(found[0, 0] == order[0, 0])
        assert not hits[-1] or similarities[0, 0] == known[0, 0]
    assert np.mean(hits) >= 0.99


def test_prototypes_are_learned_anew_as_rows_multiply(monkeypatch):
    learned, train = [], coded.CodedRows._train
    monkeypatch.setattr(coded.CodedRows, "_train", lambda self: (learned.append(len(self)), train(self)))
    index = PlaceIndex(8, exact_rows=100)
    for row in unit_rows(3000, 8):
        index.add(row)
    assert learned == [101, 404, 1616]


@pytest.mark.parametrize("start", [120, 100, 30, 0])
def test_last_rows_of_a_coded_index_are_replaced(few_candidates, start):
    rows, others = unit_rows(150, 16), unit_rows(40, 16, seed=5)
    index = PlaceIndex(16, exact_rows=60).build(rows[:100])
    index.add(rows[100:])
    index.replace_from(start, others)
    whole = np.concatenate([rows[:start], others])
    assert len(index) == len(whole)
    np.testing.assert_array_equal(index.vectors(np.arange(len(whole))), whole.astype(np.float32))
    for ours, theirs in zip(
        index.search(others[:3], 5), PlaceIndex(16).build(whole).search(others[:3], 5), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    index.add(rows)  # and it goes on growing
    similarities, found = index.search(rows[[130]], 1)
    assert found[0, 0] == len(whole) + 130 and similarities[0, 0] == pytest.approx(1, abs=1e-3)


def test_wrong_shapes():
    with pytest.raises(ValueError, match="dimension 16"):
        PlaceIndex(16).add(np.zeros((3, 8)))
    with pytest.raises(ValueError, match="dimension 16"):
        PlaceIndex(16).build(np.zeros((3, 8), np.float16))
    with pytest.raises(ValueError, match="dimension 16"):
        PlaceIndex(16).search(np.zeros(8), 1)
