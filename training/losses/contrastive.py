"""Supervised contrastive loss with a temperature (InfoNCE over all positives of an anchor)."""

import torch


def contrastive_loss(
    descriptors: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, *, temperature: float = 0.07
) -> torch.Tensor:
    """Mean over positive pairs (i, p) of -log(e^{s_ip/t} / (e^{s_ip/t} + sum over negatives n of e^{s_in/t})).

    `descriptors` (B, D) unit vectors; masks (B, B) as from `masks_by_pose`. Other positives of an anchor are not in the
    denominator, so that they do not repel one another. Every anchor has the same weight. Without pairs the loss is 0
    with a gradient.
    """
    similarity = (descriptors @ descriptors.T).float() / temperature
    # -inf is safe in logsumexp only where one finite term remains: the pair itself always does.
    from_negatives = similarity.masked_fill(~negatives, -torch.inf).logsumexp(dim=1, keepdim=True)
    terms = torch.logaddexp(similarity, from_negatives.expand_as(similarity)) - similarity
    count = positives.sum(1)
    anchors = count > 0
    if not anchors.any():
        return descriptors.sum() * 0.0
    per_anchor = terms.masked_fill(~positives, 0.0).sum(1)[anchors] / count[anchors]
    return per_anchor.mean()
