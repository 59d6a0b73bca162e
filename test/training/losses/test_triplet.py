"""Batch-hard triplets and AdaFusion's pairs, against plain loops over the definitions."""

import math

import numpy as np
import pytest
import torch

from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.masks import masks_by_position
from vpr_ros.training.losses.distance_contrast import distance_contrast
from vpr_ros.training.losses.margin import pairwise_margin
from vpr_ros.training.losses.triplet import batch_hard_triplet, weighted_heads


def batch(seed, count=14, dim=5, spread=1.0):
    rng = np.random.default_rng(seed)
    positions = torch.from_numpy(rng.uniform(0, 120, (count, 2)))
    positions[1::2] = positions[::2] + torch.from_numpy(rng.uniform(-4, 4, (count // 2, 2)))
    areas = torch.from_numpy(rng.integers(0, 2, count // 2)).repeat_interleave(2)
    embeddings = torch.from_numpy(rng.normal(0, spread, (count, dim))).float()
    return embeddings, positions, areas, torch.arange(count)


def masks_of(positions, areas, rows):
    return masks_by_position(Nearness.of_maps(positions.numpy(), None, areas.numpy()).among(rows), rows.numpy())


def naive_triplet(embeddings, positive, negative, margin):
    def d(i, j):
        return math.dist(embeddings[i].tolist(), embeddings[j].tolist())

    terms, n = [], len(embeddings)
    for a in range(n):
        near = [j for j in range(n) if positive[a][j]]
        far = [j for j in range(n) if negative[a][j]]
        if near and far:
            p, q = max(near, key=lambda j: d(a, j)), min(far, key=lambda j: d(a, j))
            terms.append(max(0.0, d(a, p) - min(d(a, q), d(p, q)) + margin))
    active = [t for t in terms if t > 0]
    return (sum(active) / len(active) if active else 0.0), len(terms), len(active)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("spread", [0.05, 1.0])
def test_the_triplet_loss_is_that_of_a_loop(seed, spread):
    embeddings, positions, areas, rows = batch(seed, spread=spread)
    masks = masks_of(positions, areas, rows)
    loss, count, active = naive_triplet(embeddings, *[m.numpy() for m in masks], 0.2)
    found = batch_hard_triplet(embeddings, *masks, margin=0.2)
    assert (found.count, found.active) == (count, active) and count > 0
    assert float(found.loss) == pytest.approx(loss, rel=1e-5, abs=1e-6)


def test_it_agrees_with_the_public_library():
    library = pytest.importorskip("pytorch_metric_learning")
    from pytorch_metric_learning import distances, losses, miners, reducers

    assert library
    distance = distances.LpDistance(normalize_embeddings=False)
    miner = miners.BatchHardMiner(distance=distance)
    function = losses.TripletMarginLoss(margin=0.2, swap=True, distance=distance, reducer=reducers.AvgNonZeroReducer())
    labels = torch.arange(8).repeat_interleave(3)
    embeddings = torch.randn(24, 6, generator=torch.Generator().manual_seed(4)).requires_grad_()
    same = labels[:, None] == labels[None]
    expected = function(embeddings, labels, miner(embeddings, labels))
    found = batch_hard_triplet(embeddings, same & ~torch.eye(24, dtype=torch.bool), ~same).loss
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    a, b = (torch.autograd.grad(value, embeddings)[0] for value in (found, expected))
    assert torch.allclose(a, b, atol=1e-6)


def test_the_swap_takes_the_positives_distance_to_the_negative():
    embeddings = torch.tensor([[0.0], [1.0], [1.1]])
    positive = torch.tensor([[0, 1, 0], [0, 0, 0], [0, 0, 0]]).bool()
    negative = torch.tensor([[0, 0, 1], [0, 0, 0], [0, 0, 0]]).bool()
    assert float(batch_hard_triplet(embeddings, positive, negative, margin=0.2).loss) == pytest.approx(1 - 0.1 + 0.2)


@pytest.mark.parametrize("which", ["no positive", "no negative", "all easy", "one"])
def test_batches_without_an_active_triplet_give_zero_with_a_gradient(which):
    embeddings = torch.tensor([[0.0], [0.0], [50.0], [50.0]]).requires_grad_()
    same = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).bool()
    other = ~same & ~torch.eye(4, dtype=torch.bool)
    none = torch.zeros(4, 4, dtype=torch.bool)
    masks = {"no positive": (none, other), "no negative": (same, none), "all easy": (same, other), "one": (none, none)}
    if which == "one":
        embeddings, masks["one"] = torch.zeros(1, 3, requires_grad=True), (none[:1, :1], none[:1, :1])
    found = batch_hard_triplet(embeddings, *masks[which], margin=0.2)
    assert float(found.loss) == 0 and found.active == 0
    assert found.count == (4 if which == "all easy" else 0)
    found.loss.backward()
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


def test_equal_embeddings_give_the_margin_and_finite_gradients():
    embeddings = torch.zeros(4, 3, requires_grad=True)
    same = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).bool()
    found = batch_hard_triplet(embeddings, same, ~same & ~torch.eye(4, dtype=torch.bool), margin=0.2)
    found.loss.backward()
    assert float(found.loss) == pytest.approx(0.2) and torch.isfinite(embeddings.grad).all()


def test_heads_are_weighed_and_a_head_of_no_weight_gets_no_gradient():
    embeddings, positions, areas, rows = batch(1)
    masks = masks_of(positions, areas, rows)
    heads = {name: (embeddings + k).requires_grad_() for k, name in enumerate(("final", "cloud", "image"))}
    heads = {name: value.detach().mul(1 + k).requires_grad_() for k, (name, value) in enumerate(heads.items())}
    total, found = weighted_heads(heads, {"final": 0.5, "cloud": 0.25, "image": 0.0, "depth": 9.0}, *masks, margin=0.2)
    alone = {name: float(batch_hard_triplet(value, *masks, margin=0.2).loss) for name, value in heads.items()}
    assert float(total) == pytest.approx(0.5 * alone["final"] + 0.25 * alone["cloud"], rel=1e-6)
    assert set(found) == set(heads) and float(found["image"].loss) == pytest.approx(alone["image"])
    total.backward()
    assert heads["image"].grad is None or not heads["image"].grad.any()
    assert heads["final"].grad.any() and heads["cloud"].grad.any()


@pytest.mark.parametrize("seed", range(4))
def test_adafusions_pairs_are_those_of_a_loop(seed):
    embeddings, positions, areas, rows = batch(seed, dim=20, spread=1.3)
    positive, negative = masks_of(positions, areas, rows)
    terms = {1: [], -1: []}
    for i in range(len(rows)):
        for j in range(len(rows)):
            d = sum(abs(a - b) for a, b in zip(embeddings[i].tolist(), embeddings[j].tolist(), strict=True))
            if positive[i, j]:
                terms[1].append(max(0.0, 1 + (d - 25)))
            if negative[i, j]:
                terms[-1].append(max(0.0, 1 - (d - 25)))
    expected = np.mean([np.mean(values) for values in terms.values() if values])
    found = pairwise_margin(embeddings, positive, negative)
    assert len(terms[1]) and len(terms[-1]) and expected > 0
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_no_pairs_no_loss():
    embeddings = torch.ones(3, 2, requires_grad=True)
    none = torch.zeros(3, 3, dtype=torch.bool)
    pairwise_margin(embeddings, none, none).backward()
    assert torch.equal(embeddings.grad, torch.zeros(3, 2))
    one = none.clone()
    one[0, 1] = True
    assert float(pairwise_margin(embeddings, none, one)) == 26 and float(pairwise_margin(embeddings, one, none)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_the_distance_contrast_is_that_of_a_loop(seed):
    embeddings, positions, areas, rows = batch(seed, spread=0.6)
    positive, negative = masks_of(positions, areas, rows)

    def d2(i, j):
        return sum((a - b) ** 2 for a, b in zip(embeddings[i].tolist(), embeddings[j].tolist(), strict=True))

    anchors = []
    for i in range(len(rows)):
        near = [j for j in range(len(rows)) if positive[i, j]]
        far = sum(math.exp(-d2(i, j)) for j in range(len(rows)) if negative[i, j])
        if near:
            anchors.append(np.mean([-math.log(math.exp(-d2(i, p)) / (math.exp(-d2(i, p)) + far)) for p in near]))
    assert float(distance_contrast(embeddings, positive, negative)) == pytest.approx(np.mean(anchors), rel=1e-4)


def test_the_distance_contrast_without_pairs_and_far_apart():
    embeddings = torch.tensor([[0.0], [1.0], [2000.0]], requires_grad=True)
    none = torch.zeros(3, 3, dtype=torch.bool)
    distance_contrast(embeddings, none, ~none).backward()
    assert torch.equal(embeddings.grad, torch.zeros(3, 1))
    positive = none.clone()
    positive[0, 2] = positive[2, 0] = True
    negative = none.clone()
    negative[0, 1] = True
    loss = distance_contrast(embeddings, positive, negative)
    loss.backward()
    assert float(loss.detach()) == pytest.approx((2000.0**2 - 1) / 2) and torch.isfinite(embeddings.grad).all()


def test_squared_distances_of_joined_parts_add_up():
    """So a part's scale decides how much it is believed: doubled, it counts four times as much."""
    a, b = (torch.randn(6, 3, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    mask = ~torch.eye(6, dtype=torch.bool)
    alone = distance_contrast(torch.cat([a, torch.zeros_like(b)], 1), mask, mask)
    assert torch.allclose(alone, distance_contrast(a, mask, mask))
    assert not torch.allclose(alone, distance_contrast(torch.cat([a, b], 1), mask, mask))
    turned = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))[0]
    joined = torch.cat([a, b], 1)
    assert torch.allclose(
        distance_contrast(joined, mask, mask), distance_contrast(joined @ turned, mask, mask), atol=1e-5
    )
