"""MCAP files: by their index where it holds, else record by record as far as they are whole."""

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from operator import itemgetter
from pathlib import Path
from zlib import crc32

import numpy as np

from vpr_ros.sensors.bags.storage.base import (
    DamageError,
    Lost,
    Part,
    Raw,
    StorageError,
    in_time_order,
    keep_known,
    totals,
    written_size,
)
from vpr_ros.sensors.bags.storage.compression import MOST_BYTES, decompressed, decompressed_beginning
from vpr_ros.sensors.bags.storage.mcap_records import (
    CHANNEL,
    CHUNK,
    CHUNK_INDEX,
    FOOTER,
    FOOTER_BYTES,
    HEADER,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    PREFIX,
    SCHEMA,
    STATISTICS,
    Catalogue,
    chunk_head,
    chunk_index,
    footer,
    records,
    statistics,
)


class McapFile:
    """An opened MCAP file of any profile. Channels of other encodings are listed, and their messages passed over.

    `lost` is told what an unclosed or damaged file lacks, when it is opened or where it is read. Raises StorageError
    when nothing of it can be read.
    """

    def __init__(self, path: Path, lost: Lost):
        self._path, self._lost = path, lost
        self._file = path.open("rb")
        try:
            self._size = self._file.seek(0, 2)
            self._data_start = self._first_record()
            self._catalogue, self._parts, self._promised = Catalogue(), [], {}
            self._damaged = False
            if not self._read_index():
                self._scan()
        except BaseException:
            self._file.close()
            raise
        counts, self.start_ns, self.end_ns = totals(self._parts)
        self.connections = [replace(c, count=counts.get(c.id, 0)) for c in self._catalogue.channels.values()]
        self._tell_broken_promises(counts, self._promised)

    def messages(self, wanted: set[int]) -> Iterator[Raw]:
        """Raw messages of the channels with these ids by time."""
        read: dict[int, int] = {}
        for item in in_time_order(self._parts, wanted):
            read[item[1]] = read.get(item[1], 0) + 1
            yield item
        self._tell_broken_promises(read, {c.id: c.count for c in self.connections if c.id in wanted})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _bytes(self, at: int, count: int) -> bytes:
        self._file.seek(at)
        return self._file.read(count)

    def _first_record(self) -> int:
        head = self._bytes(0, len(MAGIC) + PREFIX.size)
        if not head.startswith(MAGIC) or len(head) < len(MAGIC) + PREFIX.size:
            raise StorageError("its beginning is missing")
        kind, length = PREFIX.unpack_from(head, len(MAGIC))
        if kind != HEADER or len(head) + length > self._size:
            raise StorageError("its beginning is missing")
        return len(head) + length

    def _read_index(self) -> bool:
        """Take schemas, channels and chunks from the summary; False where there is none that holds."""
        tail = self._bytes(max(self._size - FOOTER_BYTES, 0), FOOTER_BYTES)
        found = footer(tail)
        if found is None or not self._data_start <= found[0] <= self._size - FOOTER_BYTES:
            return False
        start, crc = found
        summary = self._bytes(start, self._size - FOOTER_BYTES - start)
        if crc and crc32(tail[: PREFIX.size + 16], crc32(summary)) != crc:
            return False
        catalogue, chunks, promised = Catalogue(), [], None
        try:
            for kind, begin, end in records(summary):
                content = summary[begin:end]
                if kind in (SCHEMA, CHANNEL):
                    catalogue.take(kind, content)
                elif kind == CHUNK_INDEX:
                    chunks.append(chunk_index(content))
                elif kind == STATISTICS:
                    promised = statistics(content)
        except DamageError:
            return False
        self._promised = promised or {}
        parts = [
            Part(c.start_ns, c.end_ns, c.counts, partial(self._chunk_messages, c.offset, c.length)) for c in chunks
        ]
        counts, _, _ = totals(parts)
        there = [self._bytes(c.offset, PREFIX.size) == PREFIX.pack(CHUNK, c.length - PREFIX.size) for c in chunks]
        holds = (
            any(there)
            and counts.keys() <= catalogue.channels.keys()
            and sum(counts.values()) == sum((promised or counts).values())
            and all(c.counts for c in chunks)
        )
        if holds:
            self._catalogue, self._parts = catalogue, parts
        return holds

    def _scan(self) -> None:
        """Read the whole file once, record by record, up to where it is whole."""
        at, size, closed = self._data_start, written_size(self._file), False
        loose = _Loose()
        while at + PREFIX.size <= size and not closed:
            kind, length = PREFIX.unpack(self._bytes(at, PREFIX.size))
            begin, end = at + PREFIX.size, at + PREFIX.size + length
            if kind == 0 or end > size:
                if kind == CHUNK:
                    with suppress(DamageError):
                        self._add_chunk(at, size - at, whole=False)
                break
            try:
                if kind in (SCHEMA, CHANNEL):
                    self._catalogue.take(kind, self._bytes(begin, length))
                elif kind == MESSAGE:
                    loose.add(self._bytes(begin, MESSAGE_HEAD.size), begin, length)
                elif kind == CHUNK:
                    self._add_chunk(at, end - at)
            except DamageError as why:
                self._tell_damage(at, why)
            closed = kind == FOOTER and self._bytes(end, len(MAGIC)) == MAGIC
            at = end
        if len(loose):
            self._parts.append(loose.part(self._bytes))
        keep_known(self._parts, self._catalogue.channels, self._path, self._lost)
        if not closed:
            self._tell_cut(at)

    def _add_chunk(self, at: int, length: int, whole: bool = True) -> None:
        """Take a chunk's channels and count its messages; of one that is not whole as many as there are."""
        data = self._chunk_records(at, length, whole)
        counts, first, last, end = dict[int, int](), 2**64, 0, 0
        for kind, begin, end in records(data):
            if kind in (SCHEMA, CHANNEL):
                self._catalogue.take(kind, data[begin:end])
            elif kind == MESSAGE and end - begin >= MESSAGE_HEAD.size:
                channel, _, time_ns, _ = MESSAGE_HEAD.unpack_from(data, begin)
                counts[channel] = counts.get(channel, 0) + 1
                first, last = min(first, time_ns), max(last, time_ns)
        if whole and end != len(data):
            self._tell_damage(at, DamageError("its records do not fit its length"))
        if counts:
            self._parts.append(Part(first, last, counts, partial(self._chunk_messages, at, length, whole=whole)))

    def _chunk_records(self, at: int, length: int, whole: bool) -> bytes:
        """The records of the chunk at a place, uncompressed; DamageError where they are not what was written."""
        prefix = self._bytes(at, PREFIX.size)
        content = self._bytes(at + PREFIX.size, length - PREFIX.size)
        if prefix[:1] != bytes([CHUNK]) or len(content) != length - PREFIX.size:
            raise DamageError("no chunk is there")
        head = chunk_head(content)
        packed = content[head.begin : head.begin + head.packed]
        if not whole:
            return decompressed_beginning(packed, head.compression)
        if head.size > MOST_BYTES or len(packed) != head.packed:
            raise DamageError("its sizes do not fit")
        data = decompressed(packed, head.compression, max(head.size, 1))
        if len(data) != head.size or (head.crc and crc32(data) != head.crc):
            raise DamageError("its checksum does not fit")
        return data

    def _chunk_messages(self, at: int, length: int, wanted: set[int], whole: bool = True) -> Iterator[Raw]:
        try:
            data = self._chunk_records(at, length, whole)
        except DamageError as why:
            self._tell_damage(at, why)
            return
        found: list[Raw] = []
        for kind, begin, end in records(data):
            if kind == MESSAGE and end - begin >= MESSAGE_HEAD.size:
                channel = data[begin] | data[begin + 1] << 8  # cheaper than the whole head, of the many not wanted
                if channel in wanted:
                    _, _, time_ns, _ = MESSAGE_HEAD.unpack_from(data, begin)
                    found.append((time_ns, channel, data[begin + MESSAGE_HEAD.size : end]))
        yield from sorted(found, key=itemgetter(0))

    def _tell_damage(self, at: int, why: DamageError) -> None:
        self._damaged = True
        self._lost(f"{self._path}: the messages in its piece at byte {at} are left out, which is damaged ({why})")

    def _tell_cut(self, at: int) -> None:
        counts, start_ns, end_ns = totals(self._parts)
        count, rest = sum(counts.values()), self._size - at
        if not count:
            raise StorageError("it holds no whole message")
        self._damaged = True
        self._lost(
            f"{self._path} was cut short or never closed: its first {count} messages "
            f"({(end_ns - start_ns) * 1e-9:.1f} s) are read"
            + (f"; its last {rest} bytes were not written whole" if rest else ", and what came after is missing")
            + f"; 'mcap recover {self._path.name}' writes what is whole as a sound file"
        )

    def _tell_broken_promises(self, read: dict[int, int], promised: dict[int, int]) -> None:
        if self._damaged:
            return  # told already
        short = [(c.topic, promised.get(c.id, 0), read.get(c.id, 0)) for c in self._catalogue.channels.values()]
        told = ", ".join(
            f"{count} messages on {topic}, of which {there} are there" for topic, count, there in short if there < count
        )
        if told:
            self._damaged = True
            self._lost(f"{self._path}: its index counts {told}")


class _Loose:
    """Messages outside of chunks: where each lies, which is all that is kept of it."""

    def __init__(self):
        self._channels, self._times, self._begins, self._sizes = array("H"), array("Q"), array("Q"), array("Q")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, head: bytes, begin: int, length: int) -> None:
        if length < MESSAGE_HEAD.size:
            raise DamageError("a message is too short")
        channel, _, time_ns, _ = MESSAGE_HEAD.unpack(head)
        self._channels.append(channel)
        self._times.append(time_ns)
        self._begins.append(begin + MESSAGE_HEAD.size)
        self._sizes.append(length - MESSAGE_HEAD.size)

    def part(self, read) -> Part:
        channels, times = np.array(self._channels), np.array(self._times)
        order = np.argsort(times, kind="stable")

        def messages(wanted: set[int]) -> Iterator[Raw]:
            for i in order[np.isin(channels[order], list(wanted))].tolist():
                yield self._times[i], self._channels[i], read(self._begins[i], self._sizes[i])

        numbers, counts = np.unique(channels, return_counts=True)
        return Part(
            int(times.min()), int(times.max()), dict(zip(numbers.tolist(), counts.tolist(), strict=True)), messages
        )
