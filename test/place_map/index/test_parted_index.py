"""Search by parts against a brute-force derivation."""

import numpy as np
import pytest

from vpr_ros.place_map import PartedIndex, PlaceIndex

PARTS = (12, 5, 3)


def rows_of_parts(count, seed, parts=PARTS):
    rng = np.random.default_rng(seed)
    blocks = []
    for weight, length in zip(rng.dirichlet(np.ones(len(parts))), parts, strict=True):
        block = rng.normal(size=(count, length))
        blocks.append(np.sqrt(weight) * block / np.linalg.norm(block, axis=1, keepdims=True))
    return np.concatenate(blocks, axis=1).astype(np.float16)


def naive_search(rows, query, parts, k):
    """The union of the best r of each part for the least r that gives k, ranked by the whole."""
    ends = np.cumsum(parts)
    blocks = [
        (rows[:, e - n : e].astype(float), query[e - n : e].astype(float)) for e, n in zip(ends, parts, strict=True)
    ]
    orders = [sorted(range(len(rows)), key=lambda i, a=a, q=q: -(a[i] @ q)) for a, q in blocks]
    union, r = set(), 0
    while len(union) < min(k, len(rows)):
        union |= {order[r] for order in orders}
        r += 1
    by_part = {i: [float(a[i] @ q) for a, q in blocks] for i in union}
    return sorted(union, key=lambda i: -sum(by_part[i])), by_part


@pytest.mark.parametrize("k", [1, 2, 7, 20, 60, 500])
def test_candidates_are_the_union_of_each_parts_best(k):
    rows, queries = rows_of_parts(60, 1), rows_of_parts(5, 2).astype(np.float32)
    index = PartedIndex(PARTS).build(rows)
    for query in queries:
        found = index.search(query, k)
        order, by_part = naive_search(rows, query, PARTS, k)
        assert found.rows.tolist() == order and min(k, 60) <= len(order) <= min(k, 60) + len(PARTS) - 1
        np.testing.assert_allclose(found.by_part, [by_part[i] for i in order], atol=1e-5)
        np.testing.assert_allclose(found.similarities, found.by_part.sum(axis=1))
        np.testing.assert_allclose(found.similarities, rows[found.rows].astype(float) @ query, atol=1e-5)


def test_one_part_is_a_plain_index():
    rows, query = rows_of_parts(60, 3, (20,)), rows_of_parts(1, 4, (20,))[0].astype(np.float32)
    found, plain = PartedIndex((20,)).build(rows).search(query, 7), PlaceIndex(20).build(rows).search(query[None], 7)
    np.testing.assert_array_equal(found.rows, plain[1][0])
    np.testing.assert_array_equal(found.similarities, plain[0][0])
    np.testing.assert_array_equal(found.by_part[:, 0], found.similarities)


def test_rows_come_and_go_in_all_parts():
    rows, others = rows_of_parts(30, 5), rows_of_parts(10, 6)
    grown = PartedIndex(PARTS)
    for row in rows:
        grown.add(row[None])
    grown.replace_from(20, others)
    whole = np.concatenate([rows[:20], others])
    np.testing.assert_array_equal(grown.vectors(np.arange(30)), whole)
    query = others[3].astype(np.float32)
    for name in ("rows", "similarities", "by_part"):
        built = PartedIndex(PARTS).build(whole)
        np.testing.assert_array_equal(getattr(grown.search(query, 8), name), getattr(built.search(query, 8), name))


def test_the_codes_of_each_part_have_a_file_of_their_own(new_map, drive, tmp_path):
    place_map = new_map(parts=(12, 4))
    drive(place_map, 50)
    rows = place_map.keyframes().descriptors
    index = PartedIndex.of_map(place_map, rows, exact_mb=20 * 32e-6)
    assert index.kind == "coded" and sorted(p.name for p in tmp_path.glob("*.faiss")) == [
        "a.vprmap.0.faiss",
        "a.vprmap.1.faiss",
    ]
    again = PartedIndex.of_map(place_map, rows, exact_mb=20 * 32e-6)
    np.testing.assert_array_equal(again.vectors(np.arange(50)), rows)
    exact, query = PartedIndex.of_map(place_map, rows), rows[7].astype(np.float32)
    assert exact.kind == "flat"
    for name in ("rows", "similarities", "by_part"):
        for one in (index, again):
            np.testing.assert_array_equal(getattr(one.search(query, 5), name), getattr(exact.search(query, 5), name))
