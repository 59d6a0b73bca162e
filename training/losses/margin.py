"""AdaFusion's loss: a margin on the L1 distance of every pair."""

import torch
from torch import Tensor


def pairwise_margin(
    embeddings: Tensor, positives: Tensor, negatives: Tensor, *, boundary: float = 25.0, margin: float = 1.0
) -> Tensor:
    """Mean over pairs of max(0, margin + y (d - boundary)), d the L1 distance, y +1 for positives and -1 for negatives.

    METHODS section 5 gives the term and not its reduction: here the mean over the positive and the mean over the
    negative pairs of a batch have the same weight, since a batch holds far more negatives. `embeddings` (B, D) are not
    normalised; masks (B, B) as from `masks_by_position`. Without pairs the loss is 0 with a gradient.
    """
    distance = torch.cdist(embeddings.float(), embeddings.float(), p=1)
    parts = []
    for sign, mask in ((1.0, positives), (-1.0, negatives)):
        if bool(mask.any()):
            parts.append(torch.relu(margin + sign * (distance[mask] - boundary)).mean())
    return torch.stack(parts).mean() if parts else embeddings.sum() * 0.0
