"""Batch-hard triplets with anchor swap on raw embeddings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Triplets:
    """The loss of one embedding, with the numbers of its triplets and of the active ones."""

    loss: Tensor  # scalar
    count: int  # anchors with a positive and a negative
    active: int  # triplets with a loss above zero


def batch_hard_triplet(embeddings: Tensor, positives: Tensor, negatives: Tensor, *, margin: float = 0.2) -> Triplets:
    """Mean over triplets with non-zero loss of max(0, d(a, p) - min(d(a, n), d(p, n)) + margin) (METHODS section 3.3).

    Per anchor a, p is its farthest positive and n its nearest negative by Euclidean distance of `embeddings` (B, D),
    which are not normalised. Anchors without a positive or without a negative make no triplet. Without an active
    triplet the loss is 0 with a gradient.
    """
    x = embeddings.float()
    # exact differences: the expanded square loses the precision of small distances, which the hinge needs
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")
    with torch.no_grad():
        anchors = torch.nonzero(positives.any(1) & negatives.any(1))[:, 0]
        farthest = distance.masked_fill(~positives, -torch.inf).argmax(1)[anchors]
        nearest = distance.masked_fill(~negatives, torch.inf).argmin(1)[anchors]
    to_negative = torch.minimum(distance[anchors, nearest], distance[farthest, nearest])
    terms = torch.relu(distance[anchors, farthest] - to_negative + margin)
    active = int((terms > 0).sum())
    loss = terms.sum() / active if active else x.sum() * 0.0
    return Triplets(loss, len(anchors), active)


def weighted_heads(
    heads: Mapping[str, Tensor],
    weights: Mapping[str, float],
    positives: Tensor,
    negatives: Tensor,
    *,
    margin: float,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> tuple[Tensor, dict[str, Triplets]]:
    """Sum of the heads' losses times their weights (MinkLoc++: final 0.5, cloud 0.5, image 0).

    The loss is that of the triplets, or `loss(embeddings, positives, negatives)`. Heads that `weights` does not name
    have weight 0; named heads that a teacher does not have are ignored. The triplets of all heads are returned, also
    of those with weight 0: the growth of the batch depends on them.
    """
    found = {}
    total = next(iter(heads.values())).sum() * 0.0
    for name, embeddings in heads.items():
        weight = weights.get(name, 0.0)
        with torch.set_grad_enabled(torch.is_grad_enabled() and weight > 0 and loss is None):
            found[name] = batch_hard_triplet(embeddings, positives, negatives, margin=margin)
        if weight > 0:
            value = found[name].loss if loss is None else loss(embeddings, positives, negatives)
            total = total + weight * value
    return total, found
