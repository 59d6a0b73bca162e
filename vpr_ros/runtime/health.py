"""Statistics of a node for its diagnostics: counts, ages, rates and times. ROS-free; any thread may write and read."""

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

_KEPT_TIMES = 200
_KEPT_ARRIVALS = 50
_RECENT = 50

# Whose events are counted.
Task = Literal["input", "inference", "decision", "matching", "verification", "map", "recording", "tf"]
Stage = Literal[
    "decode", "inference", "local features", "depth", "search", "verification", "total"
]  # whose times are measured
Stream = Literal["image", "odom", "pose", "points", "depth"]  # whose messages are counted


@dataclass(frozen=True)
class Timing:
    """Percentiles in seconds over the last uses of a stage."""

    p50_s: float
    p95_s: float
    count: int


class Health:
    """Counters of events, times of stages and arrivals of messages."""

    def __init__(self):
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forgets everything, as a node does in configure."""
        with self._lock:
            self._counts: dict[Task, Counter[str]] = {}
            self._recent: dict[Task, deque[str]] = {}
            self._sentences: dict[Task, dict[str, tuple[str, float]]] = {}
            self._arrivals: dict[Stream, deque[float]] = {}
            self._times: dict[Stage, deque[float]] = {}

    def count(self, task: Task, event: str, sentence: str = "") -> None:
        """One more `event` of a task; `sentence` says what happened."""
        with self._lock:
            self._counts.setdefault(task, Counter())[event] += 1
            self._recent.setdefault(task, deque(maxlen=_RECENT)).append(event)
            if sentence:
                sentences = self._sentences.setdefault(task, {})
                sentences.pop(event, None)  # the newest comes last
                sentences[event] = (sentence, time.monotonic())

    def seen(self, stream: Stream) -> None:
        """A message of a stream has arrived."""
        with self._lock:
            self._arrivals.setdefault(stream, deque(maxlen=_KEPT_ARRIVALS)).append(time.monotonic())

    def timed(self, stage: Stage, seconds: float) -> None:
        """A stage has taken so many seconds."""
        with self._lock:
            self._times.setdefault(stage, deque(maxlen=_KEPT_TIMES)).append(seconds)

    def counts(self, task: Task) -> dict[str, int]:
        """Events of a task with their numbers."""
        with self._lock:
            return dict(self._counts.get(task, {}))

    def recent(self, task: Task) -> Counter[str]:
        """The last 50 events of a task with their numbers."""
        with self._lock:
            return Counter(self._recent.get(task, ()))

    def newest(self, task: Task, within_s: float = float("inf")) -> str:
        """The newest sentence of each event of a task in the last `within_s` seconds, joined; the newest first."""
        now = time.monotonic()
        with self._lock:
            sentences = list(self._sentences.get(task, {}).values())
        return "; ".join(sentence for sentence, at in reversed(sentences) if now - at <= within_s)

    def age_s(self, stream: Stream) -> float | None:
        """Steady seconds since the last message of a stream; None before the first."""
        with self._lock:
            arrivals = self._arrivals.get(stream)
            return time.monotonic() - arrivals[-1] if arrivals else None

    def rate_hz(self, stream: Stream) -> float:
        """Messages per second over the last arrivals; 0 for fewer than two."""
        with self._lock:
            arrivals = list(self._arrivals.get(stream, ()))
        if len(arrivals) < 2:
            return 0.0
        # Up to now, not up to the last arrival, so that the rate of a stream that has stopped falls.
        span = max(arrivals[-1], time.monotonic() - 1.0) - arrivals[0]
        return (len(arrivals) - 1) / max(span, 1e-6)

    def timing(self, stage: Stage) -> Timing | None:
        """Percentiles of a stage; None before its first use."""
        with self._lock:
            times = np.array(self._times.get(stage, ()))
        if not len(times):
            return None
        p50, p95 = np.percentile(times, [50, 95])
        return Timing(float(p50), float(p95), len(times))
