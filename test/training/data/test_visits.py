"""Batches of places with several pictures each."""

from collections import Counter

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.sampling.visits import PlaceVisits


def many(places=23, cities=("b", "a", "c")):
    """Places of several cities with 4 to 7 pictures each, in mixed order; one with three."""
    place_of, areas = [], []
    for c, city in enumerate(cities):
        for p in range(places):
            count = 3 if p == 5 else 4 + p % 4
            place_of += [100000 * c + p] * count
            areas += [city] * count
    shuffled = np.random.default_rng(0).permutation(len(place_of))
    shuffled = shuffled[np.argsort(np.array(areas)[shuffled] != "b", kind="stable")]
    return np.array(place_of)[shuffled], np.array(areas)[shuffled]


@pytest.mark.parametrize("redraw", [True, False])
def test_every_place_is_visited_once_by_four_pictures_of_it(redraw):
    place_of, areas = many()
    visits = PlaceVisits(place_of, areas, 8, seed=3, redraw=redraw)
    orders, pictures = [], []
    for epoch in (0, 1, 0):
        visits.set_epoch(epoch)
        batches = list(visits)
        assert len(batches) == len(visits) == 9 and [len(b) for b in batches] == [32] * 8 + [8]
        rows = [row for batch in batches for row, _, _ in batch]
        groups = [rows[i : i + 4] for i in range(0, len(rows), 4)]
        order = [int(place_of[g[0]]) for g in groups]
        assert all(len(set(g)) == 4 and len(set(place_of[g])) == 1 for g in groups)
        assert Counter(order) == Counter({p for p in place_of.tolist() if p % 100000 != 5})
        cities = [areas[g[0]] for g in groups]
        assert [c for c, before in zip(cities, [None, *cities], strict=False) if c != before][0] == "b"
        assert sum(c != before for c, before in zip(cities[1:], cities, strict=False)) == 2  # one after the other
        assert len({shared for batch in batches for _, _, shared in batch}) == 9
        assert order != sorted(order)
        orders.append(order)
        pictures.append(rows)
    assert (orders[0] == orders[1]) is not redraw and orders[0] == orders[2]
    assert pictures[0] != pictures[1] and pictures[0] == pictures[2]


def test_all_pictures_of_a_place_have_their_turn():
    place_of, areas = np.repeat([7, 8], 6), np.full(12, "a")
    visits, seen = PlaceVisits(place_of, areas, 2), Counter()
    for epoch in range(60):
        visits.set_epoch(epoch)
        seen.update(row for batch in visits for row, _, _ in batch)
    assert set(seen) == set(range(12)) and max(seen.values()) < 2 * min(seen.values())


def test_a_single_place_is_no_batch():
    place_of, areas = np.repeat(np.arange(5), 4), np.full(20, "a")
    assert [len(b) for b in PlaceVisits(place_of, areas, 2)] == [8, 8]  # the fifth place has no negative
    with pytest.raises(VprError, match="1 places have 4 pictures or more"):
        PlaceVisits(np.repeat([0], 8), np.full(8, "a"), 2)
    with pytest.raises(VprError, match="0 places"):
        PlaceVisits(np.zeros(0, int), np.zeros(0, str), 2)
