"""The pool of rendering processes: an interrupt ends it at once."""

import multiprocessing
import time

import pytest

from vpr_ros.training.synthetic.workers import rendering_pool


def test_the_pool_computes_and_ends():
    with rendering_pool(2) as pool:
        assert list(pool.map(abs, (-1, -2, 3))) == [1, 2, 3]
    assert multiprocessing.active_children() == []


def test_an_interrupt_does_not_wait_for_what_is_being_rendered():
    with pytest.raises(KeyboardInterrupt), rendering_pool(1) as pool:
        jobs = [pool.submit(time.sleep, 3600) for _ in range(3)]
        while not jobs[0].running():
            time.sleep(0.01)
        raise KeyboardInterrupt
    for child in multiprocessing.active_children():
        child.join(30)
    assert multiprocessing.active_children() == []
