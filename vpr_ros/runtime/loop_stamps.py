"""Stamps that travelled as float64 seconds, and the way back to the exact ones.

`~/loop_candidate` carries seconds because that is what the LIO-SAM family reads. Between 2004 and 2038 the seconds
since 1970 lie in [2^30, 2^31), where neighbouring float64 numbers are 2^-22 s = 0.238 us apart: a stamp is rounded
by up to 0.119 us, and a consumer that adds seconds and nanoseconds itself by as much again. Cameras and LiDARs give
stamps milliseconds apart, so the one stamp within 1 us is the right one; a comparison for equality would lose most.
"""

from bisect import bisect_left, insort

TOLERANCE_NS = 1000
NANO = 1_000_000_000


def seconds_of(stamp_ns: int) -> float:
    """The nearest float64 to the stamp in seconds."""
    return int(stamp_ns) / NANO  # of two integers: rounded once


def nearest_ns(seconds: float) -> int:
    """The float's own value in whole nanoseconds. ValueError for one that is not finite."""
    try:
        whole = int(seconds)
    except OverflowError as error:
        raise ValueError(f"{seconds} is no time") from error
    return whole * NANO + round((seconds - whole) * NANO)  # seconds * 1e9 would be off by another 0.1 us


class StampIndex:
    """Exact stamps, found again by their seconds."""

    def __init__(self) -> None:
        self._stamps: list[int] = []

    def __len__(self) -> int:
        return len(self._stamps)

    def add(self, stamp_ns: int) -> None:
        insort(self._stamps, int(stamp_ns))

    @property
    def newest_ns(self) -> int | None:
        """The latest stamp; None when empty."""
        return self._stamps[-1] if self._stamps else None

    def nearest(self, seconds: float) -> int | None:
        """The stamp nearest to `seconds`, however far; None when empty."""
        wanted = nearest_ns(seconds)
        at = bisect_left(self._stamps, wanted)
        return min(self._stamps[max(at - 1, 0) : at + 1], key=lambda stamp: abs(stamp - wanted), default=None)

    def find(self, seconds: float, tolerance_ns: int = TOLERANCE_NS) -> int | None:
        """The stamp nearest to `seconds`, None when it is further off than the tolerance."""
        stamp = self.nearest(seconds)
        return stamp if stamp is not None and abs(stamp - nearest_ns(seconds)) <= tolerance_ns else None
