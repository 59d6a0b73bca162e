"""Weights of samples in the distillation losses: against plain loops, and at their ends."""

import itertools
import math

import pytest
import torch
from distil_naive import embeddings, euclidean, smooth_l1, table

from vpr_ros.training.losses import DISTILLATION


def weights_of(count, seed=0):
    return torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.1


@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_equal_weights_are_none(name):
    student, teacher = embeddings(size=7)
    alone = DISTILLATION[name](student, teacher)
    for weight in (1.0, 0.3):
        for key, value in DISTILLATION[name](student, teacher, torch.full((7,), weight)).items():
            assert float(value) == pytest.approx(float(alone[key]), rel=1e-5, abs=1e-7), key


@pytest.mark.parametrize("name", sorted(DISTILLATION))
def test_a_sample_of_hardly_any_weight_is_as_good_as_left_out(name):
    student, teacher = embeddings(size=8, seed=2)
    weights = torch.ones(8)
    weights[[2, 5]] = 1e-7
    kept = [0, 1, 3, 4, 6, 7]
    expected = DISTILLATION[name](student[kept], teacher[kept])
    leaf = student.float().requires_grad_()
    found = DISTILLATION[name](leaf, teacher, weights)
    for key, value in found.items():
        assert float(value.detach()) == pytest.approx(float(expected[key]), rel=1e-4, abs=1e-6), key
    sum(found.values()).backward()
    largest = leaf.grad.abs().amax(1)
    assert torch.isfinite(leaf.grad).all() and largest[[2, 5]].max() < 1e-4 * largest[kept].max()


@pytest.mark.parametrize("seed", range(3))
def test_weighted_relations_are_those_of_loops(seed):
    """A pair counts with the product of its samples' weights, a triple with that of its three."""
    student, teacher = embeddings(size=6, seed=seed)
    w = weights_of(6, seed)
    d = [table(euclidean, x.tolist()) for x in (student, teacher)]
    pairs = list(itertools.product(range(6), repeat=2))
    apart = sum(float(w[i] * w[j]) for i, j in pairs if i != j)
    means = [sum(float(w[i] * w[j]) * x[i][j] for i, j in pairs) / apart for x in d]
    r = [[[v / mean for v in row] for row in x] for x, mean in zip(d, means, strict=True)]
    total = float(w.sum())
    distance = sum(float(w[i] * w[j]) * smooth_l1(r[0][i][j], r[1][i][j]) for i, j in pairs) / total**2

    def cosine(x, i, j, k):
        if i in (j, k):
            return 0.0
        return (x[i][j] ** 2 + x[i][k] ** 2 - x[j][k] ** 2) / (2 * x[i][j] * x[i][k])

    angle = sum(
        float(w[i] * w[j] * w[k]) * smooth_l1(cosine(d[0], i, j, k), cosine(d[1], i, j, k))
        for i, j, k in itertools.product(range(6), repeat=3)
    )
    neighbours = 0.0
    for i in range(6):
        near = [[float(w[j]) * math.exp(-(x[i][j] ** 2) / 0.1) if j != i else 0.0 for j in range(6)] for x in r]
        p, q = ([v / sum(row) for v in row] for row in (near[1], near[0]))
        neighbours += float(w[i]) * sum(p[j] * math.log(p[j] / q[j]) for j in range(6) if j != i and p[j] > 0)
    found = DISTILLATION["relations"](student, teacher, w.float())
    assert float(found["relation_distance"]) == pytest.approx(distance, rel=1e-5)
    assert float(found["relation_angle"]) == pytest.approx(angle / total**3, rel=1e-4)
    assert float(found["relation_neighbours"]) == pytest.approx(neighbours / total, rel=1e-4)
