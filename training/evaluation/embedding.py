"""Embeddings of a whole sample set by any model: a teacher, the student, or the student as a robot runs it."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import D2VPR, normalise, resize
from vpr_ros.training.data.sample import BOTH, Modality, Sample, SampleSet
from vpr_ros.training.teachers import Teacher, check_unit, collate

Embedder = Callable[[Sequence[Sample], np.random.Generator], np.ndarray]


def embed(model: Any, samples: SampleSet, batch: int = 32, progress: Callable[[int], None] | None = None) -> np.ndarray:
    """Embeddings (N, D) float32 as the model gives them, in the set's order; samples are read batch by batch, and of
    each only what the model takes.

    model: a `Teacher`, a `D2VPR`, anything with `describe_raw(images)`, or a function of samples. Networks run in eval
    mode on the device they are on, and their mode is restored. Random thinning of clouds is seeded by the number of the
    batch's first sample. `progress` gets the number of samples done. VprError for another model, for a sample without
    what the model takes, and for embeddings that are not finite.
    """
    if not len(samples):
        raise VprError(f"the sample set {samples.name} is empty: there is nothing to embed.")
    network = model if isinstance(model, torch.nn.Module) else None
    training = network is not None and network.training
    if isinstance(model, Teacher):
        check_unit(model, samples)
    rows, (one, modalities) = [], embedder_of(model)
    if network is not None:
        network.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(samples), batch):
                chosen = [samples.read(i, modalities) for i in range(start, min(start + batch, len(samples)))]
                rows.append(np.asarray(one(chosen, np.random.default_rng(start)), dtype=np.float32))
                if progress:
                    progress(start + len(chosen))
    finally:
        if network is not None:
            network.train(training)
    found = np.concatenate(rows)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if len(bad):
        raise VprError(f"the model gave numbers that are not finite for sample {bad[0]} of {samples.name}.")
    return found


def embedder_of(model: Any) -> tuple[Embedder, Collection[Modality]]:
    """The function from a batch of samples to embeddings (B, D), and which parts of a sample it takes, by the model's
    type."""
    if isinstance(model, Teacher):
        inputs = model.inputs
        return (lambda samples, rng: model.embed(collate(samples, inputs, rng)).cpu().numpy()), inputs.modalities
    if isinstance(model, D2VPR):
        return (lambda samples, rng: _student(model, samples)), ("image",)
    describe: Any = getattr(model, "describe_raw", None)
    if describe is not None:
        return (lambda samples, rng: describe(_images(samples))), ("image",)
    if callable(model) and not isinstance(model, torch.nn.Module):
        function: Callable[..., Any] = model
        return (lambda samples, rng: function(samples)), BOTH
    raise VprError(f"a {type(model).__name__} is no model that samples can be given to: use a teacher or a student.")


def _student(model: D2VPR, samples: Sequence[Sample]) -> np.ndarray:
    device = next(model.parameters()).device
    config = model.config
    pixels = np.stack([resize(image, config.image_size) for image in _images(samples)])
    x = normalise(torch.from_numpy(pixels).to(device), config.input_mean, config.input_std)
    return model(x).float().cpu().numpy()


def _images(samples: Sequence[Sample]) -> list[np.ndarray]:
    images = [sample.image for sample in samples if sample.image is not None]
    if len(images) != len(samples):
        lacking = next(sample for sample in samples if sample.image is None)
        raise VprError(
            f"the sample at {lacking.stamp_ns} ns of drive '{lacking.drive}' has no image, which the student sees."
        )
    return images
