"""What of a periodic stream arrives, judged by the stamps of what does."""

from collections import deque

import numpy as np

from vpr_ros.sensors.stamps import JUMP_NS, PAUSE_NS


class ArrivedStamps:
    """How much of a periodic stream arrives, judged by the stamps of what does.

    A middleware does not tell what it lost, but a sensor stamps at even steps: where many arrive the smallest common
    step is the sensor's, and the gaps are whole numbers of it.
    """

    _KEPT, _NEEDED = 100, 20
    _OFF, _EVEN = 0.2, 0.8  # of a step a gap may be off, and the share of the gaps of which that must hold

    def __init__(self):
        self._stamps: deque[int] = deque(maxlen=self._KEPT)

    @property
    def last_ns(self) -> int | None:
        """The newest; None before the first."""
        return self._stamps[-1] if self._stamps else None

    def add(self, stamp_ns: int) -> None:
        """One message has come."""
        if self._stamps and stamp_ns < self._stamps[-1] - JUMP_NS:
            self._stamps.clear()
        self._stamps.append(stamp_ns)

    def share(self) -> tuple[float, float] | None:
        """(messages a second that were sent, share of them that came); None while that cannot be told."""
        gaps = np.diff(np.sort(np.array(self._stamps, np.int64))).astype(float)
        gaps = gaps[gaps > 0]
        if len(gaps) < self._NEEDED:
            return None
        step = float(np.percentile(gaps, 10))
        gaps = gaps[gaps <= max(PAUSE_NS, 3 * step)]  # longer ones are pauses, or a clock that was set
        steps = gaps / step
        if np.mean(np.abs(steps - np.round(steps)) <= self._OFF) < self._EVEN:
            return None
        sent = float(np.round(steps).clip(1).sum())
        return 1e9 * sent / float(gaps.sum()), len(gaps) / sent
