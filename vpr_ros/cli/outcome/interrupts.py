"""Signals that end a command: what was saved is kept, the user is told what that is, and the exit code says which."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGHUP)  # `kill`, and a terminal that is closed
_last: int = signal.SIGINT


def take_signals() -> None:
    """From now on the other signals that end a process end a command as Ctrl-C does."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as `nohup` leaves it
            signal.signal(number, _interrupt)


def exit_code() -> int:
    """What the shell is to see after an interrupt: 130 after Ctrl-C, 143 after `kill`."""
    return 128 + _last


@contextmanager
def interrupts_say(sentence: str) -> Iterator[None]:
    """An interrupt of the block says this, unless it says something already."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(str(interrupt) or sentence) from None


def _interrupt(number: int, _frame: object) -> None:
    global _last
    _last = number
    raise KeyboardInterrupt
