"""A drive in overlapping stages: while a frame is answered the next is described, and the one after that is read."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from typing import TypeVar

from vpr_ros.errors import FrameError
from vpr_ros.observation import Observation
from vpr_ros.place_map.describer import prepared
from vpr_ros.runtime.answer import Answer
from vpr_ros.runtime.opening import Extractor
from vpr_ros.runtime.pipeline import Pipeline

GPU_BATCH = 16
FRAMES_AHEAD = 4  # that a stage may be ahead of the next one: their pictures wait in memory
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


@contextmanager
def answered(
    pipeline: Pipeline, observations: Iterable[Observation], batch_size: int
) -> Iterator[Iterator[Answer | FrameError]]:
    """What `Pipeline.process_batch` answers to all observations, described `batch_size` at a time, to the last bit.

    Frames are read in one thread and described in another, both ahead of the answers, which are given in the caller's.
    What a stage raises is raised where its frame would have been answered. Both threads have ended when the block ends.
    """
    count = max(1, FRAMES_AHEAD // batch_size)
    read = map(partial(prepared, pipeline.extractor), observations)
    with ahead(batches(read, batch_size), count) as ready, ahead(map(pipeline.describe, ready), count) as described:
        yield chain.from_iterable(map(pipeline.answer, described))


@contextmanager
def ahead(items: Iterable[T], count: int) -> Iterator[Iterator[T]]:
    """The items in order, made by a thread of its own, which is up to `count` items ahead of who takes them.

    What `items` raises is raised to who takes. The thread has ended when the block ends, and makes no more items then.
    """
    thread = ThreadPoolExecutor(1)
    try:
        yield _taken(thread, iter(items), count)
    finally:
        thread.shutdown(cancel_futures=True)


def _taken(thread: ThreadPoolExecutor, stream: Iterator[T], count: int) -> Iterator[T]:
    end = object()
    waiting: deque[Future[T | object]] = deque(thread.submit(next, stream, end) for _ in range(count))
    while (item := waiting.popleft().result()) is not end:
        waiting.append(thread.submit(next, stream, end))
        yield item  # type: ignore[misc]  # all but the end
