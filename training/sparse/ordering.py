"""Sorting and searching of int64 keys, with numpy on a CPU, where it takes at most half of torch's time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def on_cpu(tensor: Tensor) -> bool:
    """Whether the tensor is in CPU memory: numpy can use it, and operations have no launch time."""
    return tensor.device.type == "cpu"


def sort_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) -> the keys in ascending order and their indices in the input, both (N,)."""
    if not on_cpu(keys):
        return torch.sort(keys)
    order = np.argsort(keys.numpy())
    return keys[torch.from_numpy(order)], torch.from_numpy(order)


def unique_keys(keys: Tensor) -> Tensor:
    """(N,) -> ascending, each once."""
    ordered = torch.from_numpy(np.sort(keys.numpy())) if on_cpu(keys) else torch.sort(keys).values
    return ordered[first_of_run(ordered)]


def first_of_run(ordered: Tensor) -> Tensor:
    """(N,) ascending -> (N,) bool: whether the element differs from the one before it."""
    first = torch.ones(len(ordered), dtype=torch.bool, device=ordered.device)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    return first


def first_not_below(ordered: Tensor, queries: Tensor) -> Tensor:
    """Index (Q,) int64 of the first element of `ordered` that is not below each query, or its length."""
    if not on_cpu(ordered):
        return torch.searchsorted(ordered, queries)
    return torch.from_numpy(np.searchsorted(ordered.numpy(), queries.numpy()))  # fast for sorted queries
