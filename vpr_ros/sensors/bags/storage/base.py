"""What all storages of bags have in common: connections, raw messages in the order of time, and what was lost."""

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

Raw = tuple[int, int, bytes]  # receive time in ns, connection id, serialised message
Lost = Callable[[str], None]  # takes a sentence about what a file lacks
_BLOCK, _ZEROS = 1 << 20, 4096
READABLE = ("cdr", "ros1")  # encodings of messages that are decoded


class DamageError(Exception):
    """A piece of a file cannot be read; says why in a few words."""


class StorageError(Exception):
    """Nothing of a file can be read; says why. `unsupported`: the file is of another kind, and not damaged."""

    def __init__(self, why: str, unsupported: bool = False):
        super().__init__(why)
        self.unsupported = unsupported


@dataclass(frozen=True, slots=True)
class Definition:
    """The text that defines a message type, as a bag brings it."""

    language: Literal["msg", "idl"]
    text: str


@dataclass(frozen=True, slots=True)
class Connection:
    """One recorded stream of a file. Message types are spelled as in ROS 2."""

    id: int
    topic: str
    msgtype: str
    encoding: str = "cdr"
    definition: Definition | None = None
    count: int = 0

    @property
    def readable(self) -> bool:
        """Whether messages of its encoding can be decoded at all."""
        return self.encoding in READABLE


class Storage(Protocol):
    """An opened file. Times are receive times in ns, both 0 where it holds no message."""

    connections: list[Connection]
    start_ns: int
    end_ns: int

    def messages(self, wanted: set[int]) -> Iterator[Raw]:
        """Messages of the connections with these ids by time. What is damaged is left out and told."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


@dataclass(slots=True)
class Part:
    """A stretch of a file that is read at once or in order, such as a chunk."""

    start_ns: int
    end_ns: int
    counts: dict[int, int]  # messages by connection
    messages: Callable[[set[int]], Iterator[Raw]]  # of wanted connections, by time


def in_time_order(parts: list[Part], wanted: set[int]) -> Iterator[Raw]:
    """Messages of all parts by time; a part is read when its first message is due, so that few are in memory."""
    streams = [_announced(part, wanted) for part in parts if wanted & part.counts.keys()]
    for item in merge(*streams, key=itemgetter(0)):
        if item[2] is not None:
            yield item


def _announced(part: Part, wanted: set[int]) -> Iterator:
    yield part.start_ns, -1, None
    yield from part.messages(wanted)


def totals(parts: list[Part]) -> tuple[dict[int, int], int, int]:
    """Messages by connection, and the first and last time, of parts."""
    counts: dict[int, int] = {}
    for part in parts:
        for key, count in part.counts.items():
            counts[key] = counts.get(key, 0) + count
    filled = [p for p in parts if any(p.counts.values())]
    return counts, min((p.start_ns for p in filled), default=0), max((p.end_ns for p in filled), default=0)


def keep_known(parts: list[Part], known: Container[int], path: Path, lost: Lost) -> None:
    """Leave out of parts the messages of connections that nothing describes, and tell of them."""
    unknown = 0
    for part in parts:
        unknown += sum(n for k, n in part.counts.items() if k not in known)
        part.counts = {k: n for k, n in part.counts.items() if k in known}
    if unknown:
        lost(f"{path}: {unknown} messages are left out, whose topic is not described where the file is whole")


def written_size(file: BinaryIO) -> int:
    """Bytes of a file that was never closed, without a long tail of zeros: space that was reserved and not written."""
    size = end = file.seek(0, 2)
    while end:
        begin = max(end - _BLOCK, 0)
        file.seek(begin)
        kept = file.read(end - begin).rstrip(b"\0")
        end = begin + len(kept)
        if kept:
            break
    return end if size - end >= _ZEROS else size


def ros2_name(msgtype: str) -> str:
    """sensor_msgs/Image as ROS 2 spells it, sensor_msgs/msg/Image; other names as they are."""
    package, slash, name = msgtype.partition("/")
    return f"{package}/msg/{name}" if slash and "/" not in name else msgtype
