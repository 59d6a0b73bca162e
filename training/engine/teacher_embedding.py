"""Embeddings of a whole sample set by a teacher, in eval mode."""

import numpy as np
import torch

from ..data.sample import SampleSet
from ..teachers import Teacher, collate


def embed_samples(model: Teacher, samples: SampleSet, batch: int = 64) -> np.ndarray:
    """Final embeddings (N, D) float32, not normalised, in the set's order; the model's mode is given back."""
    device, training, rows = next(model.parameters()).device, model.training, []
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(samples), batch):
                chosen = [samples[i] for i in range(start, min(start + batch, len(samples)))]
                inputs = to_device(collate(chosen, model.inputs, np.random.default_rng(start)), device)
                rows.append(model(**inputs).float().cpu().numpy())
    finally:
        model.train(training)
    return np.concatenate(rows)


def to_device(inputs: dict, device: torch.device) -> dict:
    """The forward's keyword arguments on a device."""
    move = lambda value: value.to(device) if isinstance(value, torch.Tensor) else [v.to(device) for v in value]  # noqa: E731
    return {name: move(value) for name, value in inputs.items()}
