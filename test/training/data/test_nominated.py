"""Batches of frames that a teacher finds alike, held to what a group may hold."""

from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.training.data.sampling.nominated import NEAREST, NominatedBatchSampler

PLACES, DRIVES = 30, 4


def world(cities=2, drives=DRIVES):
    """Drives past the same places; the teacher sees a place as a point on a line, each drive a little beside it."""
    place = np.tile(np.arange(PLACES), cities * drives)
    city = np.repeat(np.arange(cities), PLACES * drives)
    drive = np.repeat(np.arange(cities * drives), PLACES)
    samples = SimpleNamespace(areas=city.astype(str), drives=drive.astype(str))
    embeddings = np.column_stack([10.0 * place, np.zeros(len(place))]) + 0.1 * (drive % drives)[:, None]
    return samples, embeddings.astype(np.float32), place, city, drive


def rows_of(sampler):
    return [[row for row, _, _ in keys] for keys in sampler]


def test_groups_hold_what_is_alike_of_every_drive():
    samples, embeddings, place, city, drive = world()
    batches = rows_of(NominatedBatchSampler(samples, lambda: embeddings, 6, 4, 10, seed=1, cities_per_batch=1))
    exact = 0
    for rows in batches:
        assert len(rows) == len(set(rows)) == 24 and len(set(city[rows])) == 1
        for start in range(0, 24, 4):
            group = rows[start : start + 4]
            assert set(drive[group] % DRIVES) == set(range(DRIVES)), "one of each drive"
            gap = np.abs(place[group] - place[group[0]])
            assert gap.max() <= 2 * NEAREST, "the nearest that are not taken"
            exact += int((gap[1:] == 0).sum())
    assert 0.2 < exact / (10 * 6 * 3) < 0.6, "one of the nearest three is drawn"
    assert len({row for rows in batches for row in rows}) > 100
    assert len({city[rows[0]] for rows in batches}) == 2


def test_a_single_drive_gives_its_own_and_unseen_frames_are_left_out():
    samples, embeddings, place, _, _ = world(cities=1, drives=1)
    embeddings[::2] = np.nan
    for rows in rows_of(NominatedBatchSampler(samples, lambda: embeddings, 3, 3, 4)):
        assert len(rows) == 9 and all(place[row] % 2 for row in rows)
    embeddings[:] = np.nan
    with pytest.raises(VprError, match="no city has 3 frames that the teacher sees"):
        rows_of(NominatedBatchSampler(samples, lambda: embeddings, 3, 3, 4))


def test_a_city_that_is_used_up_gives_smaller_batches():
    samples, embeddings, *_ = world(cities=1, drives=1)
    (rows,) = rows_of(NominatedBatchSampler(samples, lambda: embeddings, 20, 4, 1))
    assert len(rows) == len(set(rows)) <= PLACES


def test_what_is_drawn_depends_on_seed_epoch_and_step_alone():
    samples, embeddings, *_ = world()
    asked = []

    def keys(seed=1, epoch=2, before=()):
        sampler = NominatedBatchSampler(samples, lambda: asked.append(1) or embeddings, 4, 3, 5, seed=seed)
        for other in before:
            sampler.set_epoch(other)
            list(sampler)
        sampler.set_epoch(epoch)
        assert len(sampler) == 5
        return list(sampler)

    first = keys()
    assert len(asked) == 1, "embeddings are asked for once, when they are there"
    assert first == keys(before=(0, 1)) and first != keys(seed=2) and first != keys(epoch=3)
    assert len({seed for batch in first for _, seed, _ in batch}) == 60
