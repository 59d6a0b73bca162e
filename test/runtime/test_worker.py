"""The worker thread: it outlives errors, stops in bounded time and can be started again."""

import threading
import time

import pytest

from vpr_ros.errors import VprError
from vpr_ros.runtime.worker import Worker


def until(condition, timeout_s=5.0):
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


def test_errors_are_reported_and_the_loop_goes_on():
    steps, errors = [], []

    def step():
        steps.append(threading.current_thread().name)
        if len(steps) == 1:
            raise RuntimeError("bad frame")
        time.sleep(0.001)

    worker = Worker("eyes", step, errors.append)
    worker.start()
    until(lambda: len(steps) > 3)
    assert worker.stop() and not worker.running
    assert [str(e) for e in errors] == ["bad frame"] and set(steps) == {"eyes"}
    count = len(steps)
    time.sleep(0.01)
    assert len(steps) == count


def test_fifty_starts_and_stops_leave_no_thread():
    before = threading.active_count()
    worker = Worker("w", lambda: time.sleep(0.001), lambda e: None)
    for _ in range(50):
        worker.start()
        worker.start()  # no second thread
        assert threading.active_count() == before + 1
        assert worker.stop()
    assert threading.active_count() == before


def test_a_hanging_step_neither_blocks_stop_nor_gets_a_second_thread():
    release = threading.Event()
    worker = Worker("w", lambda: release.wait(10), lambda e: None)
    worker.start()
    begin = time.monotonic()
    assert not worker.stop(timeout_s=0.05) and time.monotonic() - begin < 1 and worker.stopping
    with pytest.raises(VprError, match="'w' is still busy"):
        worker.start()
    release.set()
    assert worker.stop()
    worker.start()
    assert worker.stop()


def test_a_step_that_always_fails_does_not_spin():
    errors = []
    worker = Worker("w", lambda: 1 / 0, errors.append)
    worker.start()
    time.sleep(0.25)
    worker.stop()
    assert 1 <= len(errors) <= 5


def test_stop_from_within_and_before_the_start():
    worker = Worker("w", lambda: worker.stop(), lambda e: None)
    assert worker.stop()
    worker.start()
    until(lambda: not worker.running)
