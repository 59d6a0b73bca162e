"""The records of MCAP, as its specification lays them out: one byte of kind, eight of length, then the content."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, error, iter_unpack
from typing import Final

from vpr_ros.sensors.bags.storage.base import Connection, DamageError, Definition, ros2_name

MAGIC: Final = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
CHUNK_INDEX, STATISTICS = 0x08, 0x0B
PREFIX = Struct("<BQ")  # kind and length
MESSAGE_HEAD = Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK_HEAD = Struct("<QQQI")  # first time, last time, size uncompressed, CRC
_FOOTER = Struct("<QQI")  # start of the summary, start of its offsets, CRC of the summary
FOOTER_BYTES = PREFIX.size + _FOOTER.size + len(MAGIC)
_U16, _U32, _U64 = Struct("<H"), Struct("<I"), Struct("<Q")
_LANGUAGES = {"ros2msg": "msg", "ros1msg": "msg", "ros2idl": "idl", "omgidl": "idl"}


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(kind, begin, end) of the content of each whole record in a piece; stops before one that is not whole."""
    at, size, ahead, unpack = 0, len(data), PREFIX.size, PREFIX.unpack_from
    while at + ahead <= size:
        kind, length = unpack(data, at)
        begin = at + ahead
        if kind == 0 or begin + length > size:
            return
        yield kind, begin, begin + length
        at = begin + length


class Fields:
    """Reads the fields of one record one after the other; DamageError where they do not fit."""

    def __init__(self, data: bytes):
        self._data, self.at = data, 0

    def _number(self, layout: Struct) -> int:
        try:
            (value,) = layout.unpack_from(self._data, self.at)
        except error:
            raise DamageError("a record is too short") from None
        self.at += layout.size
        return value

    def u16(self) -> int:
        return self._number(_U16)

    def u32(self) -> int:
        return self._number(_U32)

    def u64(self) -> int:
        return self._number(_U64)

    def blob(self) -> bytes:
        size = self.u32()
        value = self._data[self.at : self.at + size]
        if len(value) != size:
            raise DamageError("a record is too short")
        self.at += size
        return value

    def text(self) -> str:
        return self.blob().decode(errors="replace")


@dataclass(frozen=True, slots=True)
class ChunkHead:
    """The beginning of a chunk's content; its compressed records lie from `begin` on."""

    start_ns: int
    end_ns: int
    size: int
    crc: int
    compression: str
    begin: int
    packed: int


def chunk_head(content: bytes) -> ChunkHead:
    """Reads the head of a chunk; DamageError where it is cut."""
    try:
        start_ns, end_ns, size, crc = _CHUNK_HEAD.unpack_from(content)
    except error:
        raise DamageError("a chunk is too short") from None
    fields = Fields(content)
    fields.at = _CHUNK_HEAD.size
    compression, packed = fields.text(), fields.u64()
    return ChunkHead(start_ns, end_ns, size, crc, compression, fields.at, packed)


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """What the index says of one chunk."""

    start_ns: int
    end_ns: int
    offset: int
    length: int
    counts: dict[int, int]


def chunk_index(content: bytes) -> ChunkIndex:
    """Reads a chunk's index; how many messages each channel has follows from where their own indexes begin."""
    fields = Fields(content)
    start_ns, end_ns, offset, length = fields.u64(), fields.u64(), fields.u64(), fields.u64()
    table = fields.blob()
    places = sorted((at, channel) for channel, at in iter_unpack("<HQ", table[: len(table) // 10 * 10]))
    end = offset + length + fields.u64()
    bounds = [at for at, _ in places[1:]] + [end]
    counts = {
        channel: max(bound - at - 15, 0) // 16
        for (at, channel), bound in zip(places, bounds[: len(places)], strict=True)
    }
    return ChunkIndex(start_ns, end_ns, offset, length, counts)


def statistics(content: bytes) -> dict[int, int]:
    """How many messages of each channel the index promises."""
    fields = Fields(content)
    fields.at = 42
    table = fields.blob()
    return dict(iter_unpack("<HQ", table[: len(table) // 10 * 10]))


def footer(tail: bytes) -> tuple[int, int] | None:
    """(start of the summary, its CRC) from the last FOOTER_BYTES of a file; None where no footer ends it."""
    if len(tail) != FOOTER_BYTES or not tail.endswith(MAGIC) or tail[0] != FOOTER:
        return None
    start, _, crc = _FOOTER.unpack_from(tail, PREFIX.size)
    return start, crc


class Catalogue:
    """Schemas and channels of a file, gathered record by record."""

    def __init__(self):
        self._schemas: dict[int, tuple[str, str, str]] = {}
        self.channels: dict[int, Connection] = {}

    def take(self, kind: int, content: bytes) -> None:
        """Take one record of either kind; the first of a number stands. DamageError where it cannot be read."""
        fields = Fields(content)
        number = fields.u16()
        if kind == SCHEMA:
            self._schemas.setdefault(number, (fields.text(), fields.text(), fields.text()))
        elif number not in self.channels:
            name, encoding, text = self._schemas.get(fields.u16(), ("", "", ""))
            language = _LANGUAGES.get(encoding)
            self.channels[number] = Connection(
                number,
                fields.text(),
                ros2_name(name) if language else name,
                fields.text() or "unknown",
                Definition(language, text) if language in ("msg", "idl") else None,
            )
