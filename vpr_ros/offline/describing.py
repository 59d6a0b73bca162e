"""Observations with their descriptors, several images per forward pass."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from vpr_ros.observation import Observation

GPU_BATCH = 16


def batch_size_for(extractor, asked: int = 0) -> int:
    """Images per forward pass: `asked`, or one on a CPU and several on a GPU when 0.

    One at a time is what a robot does live, so a CPU run gives the robot's answers to the last bit; a GPU needs the
    batch to be busy, and its descriptors agree to float16 rounding.
    """
    if asked > 0:
        return asked
    return 1 if str(extractor.device).startswith("cpu") else GPU_BATCH


def described(
    observations: Iterable[Observation], extractor, batch_size: int = 1
) -> Iterator[tuple[Observation, np.ndarray]]:
    """Each observation with its descriptor (dim,) float16, in order; at most `batch_size` images are held."""
    stream = iter(observations)
    while batch := list(islice(stream, batch_size)):
        descriptors = extractor.describe([observation.image for observation in batch])
        yield from zip(batch, descriptors, strict=True)
