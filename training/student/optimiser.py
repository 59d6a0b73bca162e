"""The optimiser of a student's parameters."""

from collections.abc import Iterable

import torch
from torch import nn

from vpr_ros.training.student.config import OptimisationConfig


def make_optimiser(config: OptimisationConfig, parts: Iterable[nn.Module]) -> torch.optim.Optimizer:
    """Adam or AdamW over the trained parameters of the parts; AdamW decays matrices alone."""
    trained = [parameter for part in parts for parameter in part.parameters() if parameter.requires_grad]
    if config.optimiser == "adam":
        return torch.optim.Adam(trained, lr=config.learning_rate, weight_decay=config.weight_decay)
    matrices, vectors = [p for p in trained if p.ndim >= 2], [p for p in trained if p.ndim < 2]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}],
        lr=config.learning_rate,
    )
