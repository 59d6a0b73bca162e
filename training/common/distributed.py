"""The batch of all processes: losses on pairs and triples need every sample of a step."""

from typing import Any

import torch
import torch.distributed as dist


def ranks() -> int:
    """Number of processes that share a batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among them, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def gather(x: torch.Tensor) -> torch.Tensor:
    """(B, ...) of every process -> (ranks * B, ...) on all of them, in the order of ranks, with gradients.

    Every process must compute the same loss of the whole batch from it, and every trained parameter must be applied
    before it, to the process's own part.
    """
    if ranks() == 1:
        return x
    return _Gather.apply(x)  # type: ignore[return-value]


class _Gather(torch.autograd.Function):
    """The loss is the same on all processes, so each computes the gradient of its own part without communication.

    Data-parallel training averages the gradients of the processes, but the gradient of the loss is their sum: hence
    the factor `ranks()`.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x) for _ in range(ranks())]
        dist.all_gather(parts, x.contiguous())
        ctx.own = slice(rank() * len(x), (rank() + 1) * len(x))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0][ctx.own] * ranks()
