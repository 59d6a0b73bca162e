"""Waiting for what other threads deliver, with deadlines in steady and in simulated time."""

import threading
import time
from collections.abc import Callable

_LOOK_AGAIN_S = 0.02  # no event tells that a deadline in simulated time has passed: it must be asked for


class Arrivals:
    """A lock for data that threads deliver (`with arrivals:`; it may be taken twice) and a way to wait for them."""

    def __init__(self):
        self._changed = threading.Condition()
        self._wakes = 0

    def __enter__(self) -> "Arrivals":
        self._changed.acquire()
        return self

    def __exit__(self, *_) -> None:
        self._changed.release()

    def notify(self) -> None:
        """Something has come; called with the lock held."""
        self._changed.notify_all()

    def wake(self) -> None:
        """End every wait."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def wait_until(self, ready: Callable[[], bool], expired: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `ready()`, which is asked with the lock held; returns what it said last.

        Gives up when `expired()` says so (asked every few milliseconds, without the lock), after `timeout_s` of
        steady time in any case, and on `wake`.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            wakes = self._wakes
        while True:
            over = expired()
            with self._changed:
                if ready():
                    return True
                left = deadline - time.monotonic()
                if over or left <= 0 or self._wakes != wakes:
                    return False
                self._changed.wait(min(left, _LOOK_AGAIN_S))
