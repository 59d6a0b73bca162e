"""Ways in which a file comes to be broken, as a hypothesis strategy: each takes bytes and gives other bytes.

`VPR_FUZZ=500 pytest -k fuzz` looks longer, at other damages each time.
"""

import os
import re
import signal
import warnings
from collections.abc import Callable
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONGEST_S = 60  # for an answer: only an endless loop needs so long
LONGER = int(os.environ.get("VPR_FUZZ", "0"))

NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
ODD_VALUES = (
    b"nan", b"inf", b"-inf", b"-1", b"0", b"1e400", b"1e-300", b"9" * 30, b"9" * 400, b"", b'"', b"null", b"true",
    b"[]", b"{}", b"*a", b"&a", b"!!python/name:os.system", b"\x00", b"\xff\xfe", "٣".encode(), b"0x10", b"1_0", b",",
    b"\n",
)  # fmt: skip


def _at(data: bytes, where: float) -> int:
    return int(where * len(data))


def _cut(data: bytes, where: float, _bytes: bytes) -> bytes:
    return data[: _at(data, where)]


def _overwrite(data: bytes, where: float, other: bytes) -> bytes:
    i = _at(data, where)
    return data[:i] + other + data[i + len(other) :]


def _insert(data: bytes, where: float, other: bytes) -> bytes:
    i = _at(data, where)
    return data[:i] + other + data[i:]


def _leave_out(data: bytes, where: float, other: bytes) -> bytes:
    i = _at(data, where)
    return data[:i] + data[i + len(other) :]


def _say_twice(data: bytes, where: float, other: bytes) -> bytes:
    i = _at(data, where)
    return data[: i + len(other)] + data[i:]


def _blank_the_rest(data: bytes, where: float, _bytes: bytes) -> bytes:
    """What a file system leaves after a crash: the size is there, the bytes are zeros."""
    i = _at(data, where)
    return data[:i] + bytes(len(data) - i)


def _odd_number(data: bytes, where: float, other: bytes) -> bytes:
    """A number of a text becomes something else."""
    numbers = list(NUMBER.finditer(data))
    if not numbers:
        return data
    found = numbers[min(int(where * len(numbers)), len(numbers) - 1)]
    value = ODD_VALUES[sum(other) % len(ODD_VALUES)]
    return data[: found.start()] + value + data[found.end() :]


def _nest(data: bytes, where: float, other: bytes) -> bytes:
    """Brackets that a parser follows deeper than its stack."""
    i = _at(data, where)
    return data[:i] + b"{["[len(other) % 2 :][:1] * 20_000 + data[i:]


def _only(_data: bytes, _where: float, other: bytes) -> bytes:
    return other


KINDS: tuple[Callable[[bytes, float, bytes], bytes], ...] = (
    _cut, _overwrite, _insert, _leave_out, _say_twice, _blank_the_rest, _odd_number, _odd_number,
    _nest, _only,
)  # fmt: skip

places = st.floats(0, 1, exclude_max=True) | st.integers(0, 200).map(
    lambda n: n / 5000
)  # headers oftener than the rest
damages = st.lists(
    st.tuples(st.sampled_from(KINDS), places, st.binary(min_size=1, max_size=24)), min_size=1, max_size=3
)


def damaged(data: bytes, damage: list[tuple[Callable[[bytes, float, bytes], bytes], float, bytes]]) -> bytes:
    """The bytes after every damage in turn."""
    for kind, where, other in damage:
        data = kind(data, where, other)
    return data


def examples(count: int) -> settings:
    """So many damages, the same ones each time unless VPR_FUZZ asks for more."""
    return settings(
        max_examples=LONGER or count,
        derandomize=not LONGER,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


@contextmanager
def alert():
    """Fails a reader that hangs, or lets numpy say what it should say itself."""

    def too_long(*_):
        raise AssertionError(f"no answer within {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
