"""Whether two streams of one recording are stamped by one clock: stamps against the times of receipt."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr_ros.sensors.stamps import nearest

APART_S = 0.5  # images are often sent a little late; stamps further apart than that are of two clocks
_TOGETHER_NS = 1_000_000_000  # messages received within this time are compared
_FEWEST = 5  # pairs of messages that say anything


@dataclass(frozen=True)
class Clock:
    """Stamps (N,) of a stream's messages and when each was received (N,), int64 nanoseconds, in order of receipt."""

    stamps_ns: np.ndarray
    received_ns: np.ndarray

    @classmethod
    def of(cls, stamps_ns: Sequence[int] | np.ndarray, received_ns: Sequence[int] | np.ndarray) -> "Clock":
        """The clock of the messages that have a stamp."""
        stamps, received = np.array(stamps_ns, np.int64), np.array(received_ns, np.int64)
        return cls(stamps[stamps != 0], received[stamps != 0])

    def moved(self, offset_ns: int) -> "Clock":
        """The clock as it would be, were its stamps so much later."""
        return Clock(self.stamps_ns + offset_ns, self.received_ns)


@dataclass(frozen=True)
class ClockOffset:
    """By how many seconds a stream is stamped ahead of another one that arrives at the same time."""

    offset_s: float  # in the middle of the recording
    first_s: float  # in its first quarter
    last_s: float  # in its last one

    @property
    def apart(self) -> bool:
        """Whether the two are stamped by two clocks."""
        return abs(self.offset_s) >= APART_S

    @property
    def steady(self) -> bool:
        """Whether the two clocks run alike."""
        return abs(self.last_s - self.first_s) < APART_S / 2

    def phrase(self, other: str) -> str:
        """Such as '3.20 s behind /camera'; with what becomes of it where the clocks do not run alike."""
        words = f"{abs(self.offset_s):.2f} s {'ahead of' if self.offset_s > 0 else 'behind'} {other}"
        return words if self.steady else f"{words} ({self.first_s:+.2f} s at first, {self.last_s:+.2f} s at last)"


def clock_offset(of: Clock, against: Clock) -> ClockOffset | None:
    """How far the stamps of one stream are ahead of another's, by messages that were received together.

    Medians, so that single late messages do not count. None where too few messages were received together.
    """
    if not len(of.stamps_ns) or not len(against.stamps_ns):
        return None
    order = np.argsort(of.received_ns, kind="stable")
    stamps, received = of.stamps_ns[order], of.received_ns[order]
    rows = nearest(against.received_ns, received)[:, 0]
    together = np.abs(received[rows] - against.received_ns) <= _TOGETHER_NS
    if together.sum() < _FEWEST:
        return None
    ahead = (stamps - received)[rows] - (against.stamps_ns - against.received_ns)
    ahead_s = ahead[together] * 1e-9
    quarter = max(len(ahead_s) // 4, 1)
    return ClockOffset(
        float(np.median(ahead_s)), float(np.median(ahead_s[:quarter])), float(np.median(ahead_s[-quarter:]))
    )
