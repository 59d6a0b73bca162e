"""Contrastive loss on raw distances, for embeddings that are ranked by Euclidean distance without normalisation."""

import torch
from torch import Tensor


def distance_contrast(embeddings: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Mean over positive pairs (i, p) of -log(e^{-d_ip²} / (e^{-d_ip²} + sum over negatives n of e^{-d_in²})).

    d is the Euclidean distance of `embeddings` (B, D), which are not normalised; masks (B, B) as from
    `masks_by_position`. As in neighbourhood component analysis (Goldberger et al., NIPS 2004) the network learns the
    scale, which replaces a temperature. In a concatenated embedding squared distances add up, so the scale of each part
    is its weight; a loss on unit vectors does not determine it, and one part can dominate the other. Every anchor has
    the same weight. Without pairs the loss is 0 with a gradient.
    """
    x = embeddings.float()
    square = (x * x).sum(1)
    similarity = -(square[:, None] + square[None] - 2 * x @ x.T).clamp(min=0)
    # -inf is safe in logsumexp only where one finite term remains: the pair itself always does
    from_negatives = similarity.masked_fill(~negatives, -torch.inf).logsumexp(dim=1, keepdim=True)
    terms = torch.logaddexp(similarity, from_negatives.expand_as(similarity)) - similarity
    count = positives.sum(1)
    anchors = count > 0
    if not anchors.any():
        return embeddings.sum() * 0.0
    return (terms.masked_fill(~positives, 0.0).sum(1)[anchors] / count[anchors]).mean()
