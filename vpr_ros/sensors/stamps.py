"""Stamps of a stream: which of an image may follow the last, and which readings are nearest to given stamps."""

from typing import Literal

import numpy as np

JUMP_NS = 1_000_000_000  # a stamp this far back is a restarted clock or a looped bag, less is disorder
StampProblem = Literal["image stamp zero", "image stamp repeated", "image stamp went backwards"]


def seconds_text(stamp_ns: int) -> str:
    """A stamp in seconds with all nine decimals, which a float64 of seconds cannot hold."""
    return f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"


def nearest(stamps: np.ndarray, of: np.ndarray, count: int = 1) -> np.ndarray:
    """Indices (N, count) of the readings `of` (M,) increasing nearest in time to each stamp (N,), nearest first.

    Of two equally near the earlier comes first. With fewer than `count` readings there are M columns.
    """
    stamps, of = np.asarray(stamps, np.int64), np.asarray(of, np.int64)
    count = min(count, len(of))
    # The nearest `count` are neighbours in time: they lie within `count` places on either side.
    window = min(2 * count, len(of))
    start = np.clip(np.searchsorted(of, stamps) - count, 0, len(of) - window)
    columns = start[:, None] + np.arange(window)
    order = np.argsort(np.abs(of[columns] - stamps[:, None]), axis=1, kind="stable")
    return np.take_along_axis(columns, order[:, :count], axis=1)


class StampOrder:
    """Follows the stamps of one stream of images.

    Zero stamps, repeats and small steps back are refused. A stamp more than one second back is a restarted clock or
    a looped bag: frames continue from there. `refusal` tests a stamp, `take` stores it; an image that proves
    unreadable between the two leaves the order as it was.
    """

    def __init__(self):
        self.last_ns: int | None = None

    def refusal(self, stamp_ns: int) -> tuple[StampProblem, str] | None:
        """(reason, sentence) of a stamp that cannot be used, the reason for counting; None for a usable stamp."""
        last = self.last_ns
        if stamp_ns == 0:
            return "image stamp zero", (
                "image has a zero stamp; the camera driver sets none"
                if last is None
                else "image has a zero stamp amid stamped ones; the driver lost its clock"
            )
        if last is None or stamp_ns > last or last - stamp_ns > JUMP_NS:
            return None
        if stamp_ns == last:
            return "image stamp repeated", f"image repeats the stamp {stamp_ns * 1e-9:.6f} s"
        return (
            "image stamp went backwards",
            f"image stamp went back from {last * 1e-9:.6f} s to {stamp_ns * 1e-9:.6f} s",
        )

    def take(self, stamp_ns: int) -> bool:
        """Continue from a stamp that was not refused; True when the clock jumped back to it."""
        jumped = self.last_ns is not None and stamp_ns < self.last_ns
        self.last_ns = stamp_ns
        return jumped

    def reset(self) -> None:
        """Begin a new stream."""
        self.last_ns = None
