"""ROS 1 bags: by their index through rosbags, else record by record as far as they are whole."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from operator import itemgetter
from pathlib import Path

from rosbags.rosbag1 import Reader

from vpr_ros.sensors.bags.storage.base import (
    Connection,
    DamageError,
    Definition,
    Lost,
    Part,
    Raw,
    StorageError,
    in_time_order,
    keep_known,
    totals,
    written_size,
)
from vpr_ros.sensors.bags.storage.compression import decompressed, decompressed_beginning
from vpr_ros.sensors.bags.storage.rosbag1_records import (
    BAG_HEADER,
    CHUNK,
    CONNECTION,
    MESSAGE,
    Record,
    connection_of,
    record_at,
    records,
)

MAGIC = b"#ROSBAG V2.0\n"


class Rosbag1File:
    """An opened ROS 1 bag, a `.bag` or the `.bag.active` that a recorder left.

    `lost` is told what an unclosed or damaged file lacks, when it is opened or where it is read. Raises StorageError
    when nothing of it can be read.
    """

    def __init__(self, path: Path, lost: Lost):
        self._path, self._lost = path, lost
        self._unindexed: _Unindexed | None = None
        _refuse_other_kinds(path)
        self._reader = Reader(path)
        try:
            self._reader.open()
            self.connections = [
                Connection(c.id, c.topic, c.msgtype, "ros1", Definition("msg", c.msgdef.data), c.msgcount)
                for c in self._reader.connections
            ]
            stamped = self._reader.message_count > 0
            self.start_ns = self._reader.start_time if stamped else 0
            self.end_ns = self._reader.end_time - 1 if stamped else 0
        except Exception:  # rosbags lets struct and assertion errors of damaged files through
            self.close()
            self._unindexed = _Unindexed(path, lost)
            self.connections = self._unindexed.connections
            self.start_ns, self.end_ns = self._unindexed.start_ns, self._unindexed.end_ns

    def messages(self, wanted: set[int]) -> Iterator[Raw]:
        """Raw messages of the connections with these ids by time."""
        if self._unindexed is not None:
            yield from self._unindexed.messages(wanted)
            return
        read, stream = 0, self._reader.messages([c for c in self._reader.connections if c.id in wanted])
        while True:
            try:
                connection, time_ns, data = next(stream)
            except StopIteration:
                return
            except Exception:  # the index does not fit: what is left is read without
                break
            read += 1
            yield time_ns, connection.id, data
        self._unindexed = _Unindexed(self._path, self._lost)
        for item in islice(self._unindexed.messages(wanted), read, None):
            read += 1
            yield item
        promised = sum(c.count for c in self.connections if c.id in wanted)
        if read < promised:
            topics = ", ".join(sorted({c.topic for c in self.connections if c.id in wanted}))
            self._lost(f"{self._path}: its index counts {promised} messages on {topics}, of which {read} are there")

    def close(self) -> None:
        """Close the file."""
        if self._unindexed is not None:
            self._unindexed.close()
        if self._reader.bio is not None:
            self._reader.close()


class _Unindexed:
    """A ROS 1 bag whose index is missing or wrong, read record by record."""

    def __init__(self, path: Path, lost: Lost):
        self._path, self._lost = path, lost
        self._file = path.open("rb")
        self._all, self._size = self._file.seek(0, 2), written_size(self._file)
        self._connections: dict[int, Connection] = {}
        self._parts: list[Part] = []
        try:
            self._scan()
        except BaseException:
            self.close()
            raise
        counts, self.start_ns, self.end_ns = totals(self._parts)
        self.connections = [replace(c, count=counts.get(c.id, 0)) for c in self._connections.values()]

    def messages(self, wanted: set[int]) -> Iterator[Raw]:
        return in_time_order(self._parts, wanted)

    def close(self) -> None:
        self._file.close()

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)

    def _scan(self) -> None:
        at, index_at, chunks = len(MAGIC), 0, 0
        try:
            while (record := record_at(self._bytes, at, self._size)) is not None:
                begin, end = record.begin, record.begin + record.size
                if record.kind == CHUNK and (end > self._size or not record.size):
                    # The recorder writes a chunk's size when it is full: an unfinished one reaches to the end.
                    self._add(record, begin, self._size - begin, whole=False)
                    at = self._all if not record.size else at
                    break
                if end > self._size:
                    break
                if record.kind == CHUNK:
                    chunks -= 1
                    self._add_told(record, begin, at)
                elif record.kind == CONNECTION:
                    self._take(record, self._bytes(begin, record.size))
                elif record.kind == BAG_HEADER:
                    index_at = int.from_bytes(record.fields.get(b"index_pos", b""), "little")
                    chunks += int.from_bytes(record.fields.get(b"chunk_count", b""), "little")
                at = end
        except DamageError:
            pass
        keep_known(self._parts, self._connections, self._path, self._lost)
        counts, start_ns, end_ns = totals(self._parts)
        if not counts:
            raise StorageError("it holds no whole message")
        rest = self._all - at
        if rest or not 0 < index_at <= at:
            self._lost(
                f"{self._path} was cut short or never closed: its first {sum(counts.values())} messages "
                f"({(end_ns - start_ns) * 1e-9:.1f} s) are read"
                + (f"; its last {rest} bytes were not written whole" if rest else ", and what came after is missing")
                + f"; 'rosbag reindex {self._path.name}' makes a sound file of them"
            )
        elif chunks > 0:
            self._lost(f"{self._path}: {chunks} chunks are missing of those that its index counts")

    def _add_told(self, record: Record, begin: int, at: int) -> None:
        try:
            self._add(record, begin, record.size)
        except DamageError as why:
            self._lost(
                f"{self._path}: the messages in its chunk at byte {at} are left out as far as it is damaged ({why})"
            )

    def _add(self, record: Record, begin: int, size: int, whole: bool = True) -> None:
        data = self._chunk(record, begin, size, whole)
        counts, times, end = dict[int, int](), [], 0
        for inner in records(data):
            end = inner.begin + inner.size
            if inner.kind == CONNECTION:
                self._take(inner, data[inner.begin : inner.begin + inner.size])
            elif inner.kind == MESSAGE:
                number = inner.number(b"conn")
                counts[number] = counts.get(number, 0) + 1
                times.append(inner.time_ns)
        if counts:
            read = partial(self._chunk_messages, record, begin, size, whole)
            self._parts.append(Part(min(times), max(times), counts, read))
        if whole and end != len(data):
            raise DamageError("its records do not fit its length")

    def _take(self, record: Record, data: bytes) -> None:
        connection = connection_of(record, data)
        self._connections.setdefault(connection.id, connection)

    def _chunk(self, record: Record, begin: int, size: int, whole: bool) -> bytes:
        compression = record.fields.get(b"compression", b"none").decode(errors="replace")
        data = self._bytes(begin, size)
        return decompressed(data, compression) if whole else decompressed_beginning(data, compression)

    def _chunk_messages(self, record: Record, begin: int, size: int, whole: bool, wanted: set[int]) -> Iterator[Raw]:
        data = self._chunk(record, begin, size, whole)
        found: list[Raw] = [
            (inner.time_ns, inner.number(b"conn"), data[inner.begin : inner.begin + inner.size])
            for inner in records(data)
            if inner.kind == MESSAGE and inner.number(b"conn") in wanted
        ]
        yield from sorted(found, key=itemgetter(0))


def _refuse_other_kinds(path: Path) -> None:
    """StorageError for bags that are whole and that nobody here can read."""
    with path.open("rb") as file:
        head = file.read(8192)
    if head.startswith(b"#ROSBAG V") and not head.startswith(MAGIC):
        version = head[9:].split(b"\n")[0][:10].decode(errors="replace")
        raise StorageError(
            f"it is a ROS 1 bag of version {version}; bring it to 2.0 with 'rosbag fix'", unsupported=True
        )
    if not head.startswith(MAGIC):
        raise StorageError("its beginning is missing")
    try:
        record = record_at(lambda at, count: head[at : at + count], len(MAGIC), len(head))
    except DamageError:
        return
    if record is not None and record.fields.get(b"encryptor"):
        raise StorageError("it is encrypted", unsupported=True)
