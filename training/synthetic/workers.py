"""Processes that render: one pool for all, which an interrupt ends at once and without their tracebacks."""

import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context


@contextmanager
def rendering_pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of new processes. What is not done when the block raises is given up, and the processes end."""
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(active_children()) - others:
            child.terminate()
        raise
    pool.shutdown()


def _begin() -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to them too; the first process ends them
    cv2.setNumThreads(1)
