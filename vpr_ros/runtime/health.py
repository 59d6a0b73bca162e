"""What a node knows of its own health: counts, ages, rates and times. ROS-free; any thread may write and read."""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

import numpy as np

_KEPT_TIMES = 200
_KEPT_ARRIVALS = 50
_RECENT = 50


@dataclass(frozen=True)
class Timing:
    """Percentiles in seconds over the last uses of a stage."""

    p50_s: float
    p95_s: float
    count: int


class Health:
    """Counters and times by task, which is a stage of a node: input, inference, index, decision, verification, map."""

    def __init__(self):
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forgets everything, as a node does in configure."""
        with self._lock:
            self._counts: dict[str, Counter[str]] = {}
            self._recent: dict[str, deque[str]] = {}
            self._sentences: dict[str, dict[str, tuple[str, float]]] = {}
            self._arrivals: dict[str, deque[float]] = {}
            self._times: dict[str, deque[float]] = {}

    def count(self, task: str, event: str, sentence: str = "") -> None:
        """One more `event` of a task; `sentence` tells people what happened."""
        with self._lock:
            self._counts.setdefault(task, Counter())[event] += 1
            self._recent.setdefault(task, deque(maxlen=_RECENT)).append(event)
            if sentence:
                told = self._sentences.setdefault(task, {})
                told.pop(event, None)  # the newest stands last
                told[event] = (sentence, time.monotonic())

    def seen(self, what: str) -> None:
        """A message of an input has arrived."""
        with self._lock:
            self._arrivals.setdefault(what, deque(maxlen=_KEPT_ARRIVALS)).append(time.monotonic())

    def timed(self, what: str, seconds: float) -> None:
        """A stage has taken so long."""
        with self._lock:
            self._times.setdefault(what, deque(maxlen=_KEPT_TIMES)).append(seconds)

    def counts(self, task: str) -> dict[str, int]:
        """Events of a task with their numbers."""
        with self._lock:
            return dict(self._counts.get(task, {}))

    def recent(self, task: str) -> Counter[str]:
        """The last 50 events of a task with their numbers."""
        with self._lock:
            return Counter(self._recent.get(task, ()))

    def newest(self, task: str, within_s: float = float("inf")) -> str:
        """The newest sentence of each event of a task that was told in so many seconds, joined; the last one first."""
        now = time.monotonic()
        with self._lock:
            told = list(self._sentences.get(task, {}).values())
        return "; ".join(sentence for sentence, at in reversed(told) if now - at <= within_s)

    def age_s(self, what: str) -> float | None:
        """Steady seconds since an input was seen; None when it never was."""
        with self._lock:
            arrivals = self._arrivals.get(what)
            return time.monotonic() - arrivals[-1] if arrivals else None

    def rate_hz(self, what: str) -> float:
        """Messages per second over the last arrivals; 0 when fewer than two came."""
        with self._lock:
            arrivals = list(self._arrivals.get(what, ()))
        if len(arrivals) < 2:
            return 0.0
        # Up to now, not up to the last arrival: the rate of an input that has stopped sinks.
        span = max(arrivals[-1], time.monotonic() - 1.0) - arrivals[0]
        return (len(arrivals) - 1) / max(span, 1e-6)

    def timing(self, what: str) -> Timing | None:
        """Percentiles of a stage; None before its first use."""
        with self._lock:
            times = np.array(self._times.get(what, ()))
        if not len(times):
            return None
        p50, p95 = np.percentile(times, [50, 95])
        return Timing(float(p50), float(p95), len(times))
