"""Queries of a set against plain loops, and the interval of a difference."""

import numpy as np
import pytest

from vpr_ros.evaluation.paired import expanded_tail
from vpr_ros.training.data.sample import METRES, SampleSet
from vpr_ros.training.evaluation.retrieval import RESAMPLES, Queries


class Streets(SampleSet):
    """Two areas of three drives each along a street of 300 m; some frames look the other way, some are elsewhere."""

    name, cloud_unit = "streets", METRES

    def __init__(self):
        rng = np.random.default_rng(0)
        rows = [
            (
                7.0 * k,
                rng.normal(0, 6),
                rng.choice([0.0, 0.3, 3.0]),
                area,
                f"{area}{drive}",
                ("day", "dusk", "night")[drive],
            )
            for area in "ab"
            for drive in range(3)
            for k in range(43)
        ]
        x, y, heading, areas, drives, conditions = map(np.array, zip(*rows, strict=True))
        self.positions_m, self.headings_rad = np.column_stack([x, y]), heading
        self.areas, self.drives, self.conditions = areas, drives, conditions
        self.stamps_ns = np.arange(len(rows))

    def read(self, row, modalities):
        raise NotImplementedError("only the columns are looked at")


def near(samples, i, j):
    turn = abs((samples.headings_rad[i] - samples.headings_rad[j] + np.pi) % (2 * np.pi) - np.pi)
    return np.linalg.norm(samples.positions_m[i] - samples.positions_m[j]) <= 10 and turn <= 0.8


def test_recalls_are_those_of_plain_loops():
    samples = Streets()
    embeddings = (
        np.random.default_rng(1).normal(3.0, 1.0, (len(samples), 5)) * np.linspace(0.5, 2, len(samples))[:, None]
    )
    embeddings[:, :2] += samples.positions_m / 10
    by_condition, rows = {}, []
    for i in range(len(samples)):
        area = samples.areas[i]
        base = np.flatnonzero(samples.drives == f"{area}0")
        if samples.drives[i] != f"{area}0" and any(near(samples, i, j) for j in base):
            best = min(base, key=lambda j, i=i: np.linalg.norm(embeddings[i] - embeddings[j]))
            by_condition.setdefault(str(samples.conditions[i]), []).append(near(samples, i, best))
            rows.append(i)
    queries = Queries(samples)
    assert queries.rows.tolist() == rows and 80 < len(queries) < 172
    expected = {name: np.mean(hits) for name, hits in by_condition.items()}
    expected["all"] = np.mean([hit for hits in by_condition.values() for hit in hits])
    assert queries.recalls(queries.right(embeddings)) == pytest.approx(expected)
    assert set(expected) == {"dusk", "night", "all"} and 0.1 < expected["all"] < 0.9
    one_drive = samples.select(samples.drives == "a1")
    assert len(Queries(one_drive)) == 0 and Queries(one_drive).recalls(np.empty(0, dtype=bool)) == {}


def test_the_interval_of_a_difference_draws_whole_stretches():
    samples = Streets()
    queries = Queries(samples)
    rng = np.random.default_rng(2)
    first, second = rng.random(len(queries)) < 0.8, rng.random(len(queries)) < 0.6
    found = queries.difference(first, second)
    stretches = {}
    for row, gain in zip(queries.rows, first.astype(int) - second, strict=True):
        square = tuple(np.floor(samples.positions_m[row] / 50).astype(int))
        stretches.setdefault((str(samples.areas[row]), square), []).append(gain)
    assert found.stretches == len(stretches)
    assert found.mean == pytest.approx(queries.recalls(first)["all"] - queries.recalls(second)["all"])
    gains, rng, means = list(stretches.values()), np.random.default_rng(3), []
    for _ in range(RESAMPLES):
        drawn = [gains[k] for k in rng.integers(0, len(gains), len(gains))]
        means.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    tail = expanded_tail(len(gains))
    assert [found.low, found.high] == pytest.approx(np.quantile(means, [tail, 1 - tail]), abs=0.01)
    assert found.low < found.mean < found.high
    nothing, everything = np.zeros(len(queries), dtype=bool), np.ones(len(queries), dtype=bool)
    for one, other, value in ((nothing, everything, -1.0), (first, first, 0.0)):
        same = queries.difference(one, other)
        assert (same.mean, same.low, same.high) == (value, value, value)
    few = Queries(samples.select((samples.areas == "a") & (samples.positions_m[:, 0] < 60)))
    assert len(few) > 5 and few.difference(few.right(samples.positions_m), few.right(samples.positions_m)) is None
