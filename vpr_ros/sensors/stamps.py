"""Stamps of a stream: which of an image may follow the last, and which readings are nearest to given stamps."""

from collections.abc import Callable
from typing import Generic, Literal, TypeVar

import numpy as np

JUMP_NS = 1_000_000_000  # a stamp this far back is a restarted clock or a looped bag, less is disorder
PAUSE_NS = 5_000_000_000  # a stamp this far ahead may be a pause of the sensor, and may be a slip of its clock
NEW_DRIVE_NS = 600_000_000_000  # what is this far ahead is another drive
StampProblem = Literal["image stamp zero", "image stamp repeated", "image stamp went backwards", "image stamp slipped"]
ClockJump = Literal["clock jumped back", "clock jumped ahead"]
T = TypeVar("T")


def begins_anew(last_ns: int, stamp_ns: int) -> bool:
    """Whether a stream that goes on from one stamp to another has begun a new drive there."""
    return stamp_ns < last_ns or stamp_ns - last_ns > NEW_DRIVE_NS


def jump_text(last_ns: int, stamp_ns: int) -> str:
    """A jump in words: "back by 5.000 s"."""
    return f"{'back' if stamp_ns < last_ns else 'ahead'} by {abs(stamp_ns - last_ns) * 1e-9:.3f} s"


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


class Slips(Generic[T]):
    """Keeps single wrong stamps out of a stream, and lets the clock jump where the stream goes on from there.

    A stamp more than one second back, or more than five seconds and three times the last step ahead, is held until the
    next one: if that continues the stream as it was, the held one was a slip and is refused by `slipped(stamp_ns,
    last_ns)`; if it continues from the held one, both are passed on.
    """

    def __init__(self, slipped: Callable[[int, int], object]):
        self._slipped = slipped
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        self._last_ns: int | None = None
        self._step_ns = 0
        self._held: tuple[int, T] | None = None

    def take(self, stamp_ns: int, item: T) -> list[tuple[int, T]]:
        """The next item and its stamp; returns those that may be used now, in order."""
        last, held = self._last_ns, self._held
        self._held = None
        if last is None or _continues(last, stamp_ns, self._step_ns):
            self._refuse(held)
            self._pass(stamp_ns)
            return [(stamp_ns, item)]
        if held is not None and _continues(held[0], stamp_ns, max(self._step_ns, held[0] - last)):
            self._pass(held[0])
            self._pass(stamp_ns)
            return [held, (stamp_ns, item)]
        self._refuse(held)
        self._held = stamp_ns, item
        return []

    def end(self) -> list[tuple[int, T]]:
        """What is held at the end of the stream, where it may as well have followed a pause."""
        held, self._held = self._held, None
        if held is not None and self._last_ns is not None and not begins_anew(self._last_ns, held[0]):
            return [held]
        self._refuse(held)
        return []

    def _pass(self, stamp_ns: int) -> None:
        last = self._last_ns
        if last is not None and last < stamp_ns:
            self._step_ns = stamp_ns - last
        if last is None or not last - JUMP_NS <= stamp_ns <= last:
            self._last_ns = stamp_ns

    def _refuse(self, held: tuple[int, T] | None) -> None:
        if held is not None and self._last_ns is not None:
            self._slipped(held[0], self._last_ns)


def _continues(last_ns: int, stamp_ns: int, step_ns: int) -> bool:
    return last_ns - JUMP_NS <= stamp_ns <= last_ns + max(PAUSE_NS, 3 * step_ns)


class StampOrder(Generic[T]):
    """Passes on the images of one stream whose stamps may follow each other, each after the ones before it.

    Zero stamps, repeats, small steps back and slips (see Slips) are refused by `refused(problem, sentence)`. Where the
    clock has jumped, as in a looped bag, frames continue from there, and `jumped(jump, sentence)` tells it if they are
    another drive.
    """

    def __init__(self, refused: Callable[[StampProblem, str], object], jumped: Callable[[ClockJump, str], object]):
        self._refused, self._jumped = refused, jumped
        self._slips: Slips[T] = Slips(self._on_slip)
        self._last_ns: int | None = None

    def take(self, stamp_ns: int, image: T) -> list[T]:
        """The next image; returns those that may be used now, in order."""
        if stamp_ns == 0:
            self._refused(
                "image stamp zero",
                "image has a zero stamp; the camera driver sets none"
                if self._last_ns is None
                else "image has a zero stamp amid stamped ones; the driver lost its clock",
            )
            return []
        return self._ordered(self._slips.take(stamp_ns, image))

    def end(self) -> list[T]:
        """What was held until the end of the stream and may be used."""
        return self._ordered(self._slips.end())

    def reset(self) -> None:
        """Begin a new stream."""
        self._slips.reset()
        self._last_ns = None

    def _ordered(self, images: list[tuple[int, T]]) -> list[T]:
        out: list[T] = []
        for stamp_ns, image in images:
            last = self._last_ns
            if last is not None and last - JUMP_NS <= stamp_ns <= last:
                self._disorder(last, stamp_ns)
                continue
            if last is not None and begins_anew(last, stamp_ns):
                self._jumped(
                    "clock jumped back" if stamp_ns < last else "clock jumped ahead",
                    f"image stamps jumped {jump_text(last, stamp_ns)}: a bag began again, or the clock was set; a new "
                    "drive begins",
                )
            self._last_ns = stamp_ns
            out.append(image)
        return out

    def _disorder(self, last_ns: int, stamp_ns: int) -> None:
        if stamp_ns == last_ns:
            self._refused("image stamp repeated", f"image repeats the stamp {stamp_ns * 1e-9:.6f} s")
        else:
            self._refused(
                "image stamp went backwards",
                f"image stamp went back from {last_ns * 1e-9:.6f} s to {stamp_ns * 1e-9:.6f} s",
            )

    def _on_slip(self, stamp_ns: int, last_ns: int) -> None:
        self._refused(
            "image stamp slipped",
            f"a single image is stamped {abs(stamp_ns - last_ns) * 1e-9:.1f} s "
            f"{'before' if stamp_ns < last_ns else 'after'} the one before it ({stamp_ns * 1e-9:.6f} s): it is left "
            "out; repair the driver's clock",
        )
