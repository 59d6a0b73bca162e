"""The batch of all processes, so that losses on pairs and triples see every sample of a step."""

import torch
import torch.distributed as dist
from torch.distributed.nn.functional import all_gather


def ranks() -> int:
    """Number of processes that share a batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def gather(x: torch.Tensor) -> torch.Tensor:
    """(B, ...) of every process -> (ranks * B, ...) on all of them, in the order of ranks, with gradients.

    Every process computes the same loss of the whole batch; the backward pass adds up what all of them want of this
    process's part, and data-parallel training divides by their number: together the gradients of one process that
    holds the whole batch. What is learnt must act before the gathering, on the process's own part.
    """
    if ranks() == 1:
        return x
    if not x.requires_grad:
        parts = [torch.empty_like(x) for _ in range(ranks())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)
    return torch.cat(all_gather(x.contiguous()))
