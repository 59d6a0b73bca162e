"""Where half precision ends: parts of the network that need float32 whatever surrounds them."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


def without_autocast(device_type: str) -> AbstractContextManager[Any]:
    """No automatic half precision inside; where there is none nothing is said, so that a graph can be captured."""
    if not torch.is_autocast_enabled(device_type):
        return contextlib.nullcontext()
    return torch.autocast(device_type, enabled=False)


def at_least_float32(values: Tensor) -> Tensor:
    """The same tensor, in float32 where it has less."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
