"""The sampler of pairs, held to the procedure it follows."""

from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.pairs import PairBatchSampler


def table(seed=0, count=120, areas=3, extent=200.0):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, extent, (count, 2))
    return SimpleNamespace(
        positions_m=positions, areas=rng.choice([f"area{k}" for k in range(areas)], count), __len__=None
    )


class Samples(SimpleNamespace):
    def __len__(self):
        return len(self.positions_m)

    @property
    def nearness(self):
        return Nearness.of_maps(self.positions_m, None, self.areas)


def samples(**options):
    return Samples(**vars(table(**options)))


def naive_neighbours(positions, areas, radius):
    return [
        [
            j
            for j in range(len(positions))
            if j != i and areas[i] == areas[j] and sum((positions[i] - positions[j]) ** 2) <= radius**2
        ]
        for i in range(len(positions))
    ]


def test_neighbours_are_those_of_a_loop():
    data = samples(count=700, extent=150)
    found = data.nearness.neighbours(10.0)
    assert [f.tolist() for f in found] == naive_neighbours(data.positions_m, data.areas, 10.0)
    assert 0 < sum(map(len, found))


@pytest.mark.parametrize("areas_per_batch", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [4, 11, 32])
def test_an_epoch_uses_every_element_that_has_a_positive(batch_size, areas_per_batch):
    data = samples(extent=60)
    data.positions_m[5] = 1e6  # on its own
    sampler = PairBatchSampler(data, batch_size, seed=3, areas_per_batch=areas_per_batch)
    near = naive_neighbours(data.positions_m, data.areas, 10.0)
    batches = sampler.batches()
    used, late = set(), 0
    for rows in batches:
        assert len(rows) % 2 == 0 and len(rows) >= 4
        for element, partner in zip(rows[::2], rows[1::2], strict=True):
            assert element not in used and partner in near[element]
            if partner in used:
                assert not set(near[element]) - used, "a used partner only where no unused one is left"
                late += 1
            used |= {element, partner}
    full = batch_size + batch_size % 2
    assert all(len(rows) == full for rows in batches[:-1]) and 4 <= len(batches[-1]) <= full
    dropped = {i for i in range(len(data)) if near[i]} - used
    assert 5 not in used and len(dropped) <= 2, "only a last single pair may be dropped"
    assert late, "the case of no unused positive must have come up"


def test_batches_of_few_areas():
    data = samples(count=400, areas=8, extent=60)
    spread = [len(set(data.areas[rows])) for rows in PairBatchSampler(data, 16, areas_per_batch=2).batches()]
    assert np.mean(spread[: len(spread) // 2]) == 2
    assert np.mean([len(set(data.areas[rows])) for rows in PairBatchSampler(data, 16).batches()]) > 4


def test_what_is_drawn_depends_on_seed_epoch_and_size_alone():
    def keys(seed=1, epoch=2, size=8, before=()):
        sampler = PairBatchSampler(samples(extent=60), size, seed=seed)
        for other in before:
            sampler.set_epoch(other)
            list(sampler)
        sampler.set_epoch(epoch)
        sampler.batch_size = size
        assert len(sampler) == len(list(sampler))
        return list(sampler)

    first = keys()
    assert first == keys(before=(0, 1)), "a resumed run draws what an uninterrupted one does"
    assert first != keys(seed=2) and first != keys(epoch=3) and first != keys(size=12)
    seeds = [seed for batch in first for _, seed, _ in batch]
    assert len(set(seeds)) == len(seeds)
    shared = [{batch_seed for *_, batch_seed in batch} for batch in first]
    assert all(len(s) == 1 for s in shared) and len(set.union(*shared)) == len(first)


def test_the_order_and_the_partners_are_random():
    data = samples(count=60, areas=1, extent=12)
    firsts, partners = set(), set()
    for seed in range(60):
        rows = PairBatchSampler(data, 8, seed=seed).batches()[0]
        firsts.add(rows[0])
        partners.add(rows[1])
    assert len(firsts) > 30 and len(partners) > 30


def test_a_last_batch_of_less_than_two_pairs_is_dropped():
    data = samples(count=10, areas=1, extent=1)  # all near one another: five pairs
    assert [len(rows) for rows in PairBatchSampler(data, 4).batches()] == [4, 4]
    assert [len(rows) for rows in PairBatchSampler(data, 6).batches()] == [6, 4]


def test_data_without_pairs_is_told():
    data = samples(count=5, extent=1e5)
    with pytest.raises(VprError, match="no two of the 5 samples are known to lie within 10 m"):
        PairBatchSampler(data, 8)
