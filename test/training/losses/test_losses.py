"""Losses against double loops written from their formulas, and against the public metric-learning library."""

import math

import pytest
import torch
from pytorch_metric_learning import losses as oracle
from pytorch_metric_learning import miners

from vpr_ros.training.losses import LOSSES, contrastive_loss, multi_similarity_loss


def batch(seed=0, size=12, width=8, places=4):
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(size) % places
    x = torch.nn.functional.normalize(torch.randn(size, width, generator=g, dtype=torch.float64), dim=1)
    same = labels[:, None] == labels[None]
    return x, labels, same & ~torch.eye(size, dtype=torch.bool), ~same


def naive_contrastive(x, positives, negatives, temperature):
    per_anchor = []
    for i in range(len(x)):
        terms = []
        for p in range(len(x)):
            if positives[i, p]:
                top = math.exp(float(x[i] @ x[p]) / temperature)
                rest = sum(math.exp(float(x[i] @ x[n]) / temperature) for n in range(len(x)) if negatives[i, n])
                terms.append(-math.log(top / (top + rest)))
        if terms:
            per_anchor.append(sum(terms) / len(terms))
    return sum(per_anchor) / len(per_anchor)


def naive_multi_similarity(x, positives, negatives, alpha=1.0, beta=50.0, base=0.0, epsilon=0.1):
    total = 0.0
    for i in range(len(x)):
        s = [float(x[i] @ x[j]) for j in range(len(x))]
        pos = [j for j in range(len(x)) if positives[i, j]]
        neg = [j for j in range(len(x)) if negatives[i, j]]
        mined_pos = [j for j in pos if neg and s[j] < max(s[k] for k in neg) + epsilon]
        mined_neg = [j for j in neg if pos and s[j] > min(s[k] for k in pos) - epsilon]
        total += math.log(1 + sum(math.exp(-alpha * (s[j] - base)) for j in mined_pos)) / alpha
        total += math.log(1 + sum(math.exp(beta * (s[j] - base)) for j in mined_neg)) / beta
    return total / len(x)


@pytest.mark.parametrize("seed", range(4))
def test_contrastive_equals_the_double_loop(seed):
    x, _, positives, negatives = batch(seed)
    assert float(contrastive_loss(x, positives, negatives, temperature=0.2)) == pytest.approx(
        naive_contrastive(x, positives, negatives, 0.2), rel=1e-5
    )


@pytest.mark.parametrize("seed", range(4))
def test_multi_similarity_equals_the_double_loop_and_the_library(seed):
    x, labels, positives, negatives = batch(seed)
    ours = float(multi_similarity_loss(x, positives, negatives))
    assert ours == pytest.approx(naive_multi_similarity(x, positives, negatives), rel=1e-5)
    library = oracle.MultiSimilarityLoss(alpha=1.0, beta=50.0, base=0.0)(
        x, labels, miners.MultiSimilarityMiner(epsilon=0.1)(x, labels)
    )
    assert ours == pytest.approx(float(library), rel=1e-5)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("case", ["one sample", "duplicates", "all the same place", "no positives", "zero vectors"])
def test_degenerate_batches_keep_the_loss_and_its_gradient_finite(name, case):
    x, _, positives, negatives = batch()
    if case == "one sample":
        x, positives, negatives = x[:1], positives[:1, :1], negatives[:1, :1]
    elif case == "duplicates":
        x = x[:1].repeat(12, 1)
    elif case == "all the same place":
        positives, negatives = ~torch.eye(12, dtype=torch.bool), torch.zeros(12, 12, dtype=torch.bool)
    elif case == "no positives":
        positives = torch.zeros_like(positives)
    else:
        x = torch.zeros_like(x)
    for dtype in (torch.float32, torch.bfloat16):
        leaf = x.to(dtype).requires_grad_()
        loss = LOSSES[name](leaf, positives, negatives)
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_gradient_step_pulls_a_place_together(name):
    x, _, positives, negatives = batch(3)
    leaf = x.clone().requires_grad_()
    LOSSES[name](leaf, positives, negatives).backward()
    moved = torch.nn.functional.normalize(x - 0.05 * leaf.grad, dim=1)

    def gap(y):
        return float((y @ y.T)[positives].mean() - (y @ y.T)[negatives].mean())

    assert gap(moved) > gap(x)
