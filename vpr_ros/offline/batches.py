"""How many images go through the network at once."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from vpr_ros.runtime.opening import Extractor

GPU_BATCH = 16
T = TypeVar("T")


def batch_size_for(extractor: Extractor, asked: int = 0) -> int:
    """Images per forward pass: `asked`, or one on a CPU and several on a GPU when 0.

    One at a time is what a robot does live, so a CPU run gives the robot's answers to the last bit; a GPU needs the
    batch to be busy, and its descriptors agree to float16 rounding.
    """
    if asked > 0:
        return asked
    return 1 if str(extractor.device).startswith("cpu") else GPU_BATCH


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items in order, the last one shorter; no more than one list is held."""
    stream = iter(items)
    while batch := list(islice(stream, size)):
        yield batch
