"""The one thread beside the executor: it owns the model and everything that takes longer than a callback may."""

import threading
from collections.abc import Callable

from vpr_ros.errors import VprError

_PAUSE_S = 0.1  # after a failed step, so that one that always fails does not take a whole core


class Worker:
    """Calls `step()` again and again in a thread of its own, from `start` to `stop`; may be started again.

    `step` waits for its work itself, for at most a fraction of a second, so that `stop` need not wait long. An
    exception that leaves `step` is handed to `failed(error)`, and the loop goes on: one bad frame never ends it.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], object],
        failed: Callable[[Exception], object],
    ):
        self.name, self._step, self._failed = name, step, failed
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the thread is alive, also where it was told to stop and is still busy."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called; a long step may look at it and give up early."""
        return self._stop.is_set()

    def start(self) -> None:
        """Start the thread; no effect while it runs. VprError while the last one is still busy after `stop`."""
        if self.running and not self.stopping:
            return
        if self.running:
            raise VprError(f"the thread '{self.name}' is still busy with its last frame: try again in a few seconds")
        self._stop = threading.Event()
        # Daemon: a step that hangs in a driver must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, args=(self._stop,), name=self.name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> bool:
        """Let the current step end and wait for it; False where it takes longer than `timeout_s` seconds."""
        self._stop.set()
        thread = self._thread
        if thread is None:
            return True
        if thread is threading.current_thread():
            return False
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._step()
            except Exception as error:  # whatever it is: the thread must outlive it, and the caller names it
                self._failed(error)
                stop.wait(_PAUSE_S)
