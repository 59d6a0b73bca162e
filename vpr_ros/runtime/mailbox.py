"""Where a callback leaves the newest message for the worker."""

import threading
from typing import Any


class Mailbox:
    """One slot: what is put in replaces what has not been taken yet, so a slow worker always gets the newest image."""

    def __init__(self):
        self._condition = threading.Condition()
        self._item: Any = None
        self.received = 0
        self.dropped = 0  # overwritten before they were taken

    def put(self, item: Any) -> bool:
        """Leaves an item; True when it replaced another one."""
        with self._condition:
            dropped = self._item is not None
            self._item = item
            self.received += 1
            self.dropped += dropped
            self._condition.notify()
            return dropped

    def take(self, timeout_s: float) -> Any:
        """The item, or None when none came within `timeout_s` of steady time or the box was cleared meanwhile."""
        with self._condition:
            if self._item is None:
                self._condition.wait(timeout_s)
            item, self._item = self._item, None
            return item

    def clear(self) -> None:
        """Discards the item that was not taken; a `take` that waits returns None."""
        with self._condition:
            self._item = None
            self._condition.notify_all()
