"""Multi-similarity loss with its miner, as D2-VPR's second stage uses it (alpha 1, beta 50, base 0, epsilon 0.1)."""

import torch


def mine_pairs(
    similarity: torch.Tensor, positives: torch.Tensor, negatives: torch.Tensor, epsilon: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Keep positives less similar than the hardest negative plus epsilon, and negatives the other way round."""
    hardest_negative = similarity.masked_fill(~negatives, -torch.inf).amax(1, keepdim=True)
    hardest_positive = similarity.masked_fill(~positives, torch.inf).amin(1, keepdim=True)
    return positives & (similarity < hardest_negative + epsilon), negatives & (similarity > hardest_positive - epsilon)


def multi_similarity_loss(
    descriptors: torch.Tensor,
    positives: torch.Tensor,
    negatives: torch.Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 50.0,
    base: float = 0.0,
    epsilon: float = 0.1,
) -> torch.Tensor:
    """Mean over anchors of log(1 + sum_P e^{-alpha(s - base)})/alpha + log(1 + sum_N e^{beta(s - base)})/beta.

    `descriptors` (B, D) unit vectors, s their cosine; masks (B, B) as from `masks_by_pose`. P and N are the mined
    pairs. Anchors without a mined pair count as 0, as in the public metric-learning library. Without pairs the loss
    is 0 with a gradient.
    """
    similarity = (descriptors @ descriptors.T).float()
    with torch.no_grad():
        mined_positives, mined_negatives = mine_pairs(similarity, positives, negatives, epsilon)
    zero = similarity.new_zeros(len(similarity), 1)
    attract = (-alpha * (similarity - base)).masked_fill(~mined_positives, -torch.inf)
    repel = (beta * (similarity - base)).masked_fill(~mined_negatives, -torch.inf)
    attract = torch.cat([zero, attract], 1).logsumexp(1) / alpha
    repel = torch.cat([zero, repel], 1).logsumexp(1) / beta
    return (attract + repel).mean()
