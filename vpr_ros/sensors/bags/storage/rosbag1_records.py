"""The records of ROS 1 bags, read without their index: a header of named fields, then data, each after its length."""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, error

from vpr_ros.sensors.bags.storage.base import Connection, DamageError, Definition, ros2_name

MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION = 0x02, 0x03, 0x04, 0x05, 0x06, 0x07
KINDS = (MESSAGE, BAG_HEADER, INDEX, CHUNK, CHUNK_INFO, CONNECTION)
_U32, _TIME = Struct("<I"), Struct("<II")
MOST_HEADER_BYTES = 1 << 20


def fields_of(data: bytes) -> dict[bytes, bytes]:
    """The named fields of a header; DamageError where their lengths do not fit."""
    found, at = {}, 0
    while at + 4 <= len(data):
        (size,) = _U32.unpack_from(data, at)
        name, equals, value = data[at + 4 : at + 4 + size].partition(b"=")
        at += 4 + size
        if not equals or at > len(data):
            raise DamageError("a header does not fit its length")
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Record:
    """The header of a record, and where its data lie; `size` is what the record says."""

    kind: int
    fields: dict[bytes, bytes]
    begin: int
    size: int

    def number(self, name: bytes) -> int:
        try:
            return _U32.unpack(self.fields[name])[0]
        except (KeyError, error):
            raise DamageError(f"a record lacks its field {name.decode()}") from None

    @property
    def time_ns(self) -> int:
        try:
            seconds, nanoseconds = _TIME.unpack(self.fields[b"time"])
        except (KeyError, error):
            raise DamageError("a record lacks its time") from None
        return seconds * 10**9 + nanoseconds


def record_at(read, at: int, size: int) -> Record | None:
    """The record at a place, of what `read(at, count)` gives; None where its header is not whole.

    Raises DamageError where no record is.
    """
    if at + 4 > size:
        return None
    (length,) = _U32.unpack(read(at, 4))
    if at + 8 + length > size:
        return None
    if not 0 < length <= MOST_HEADER_BYTES:
        raise DamageError("no record is there")
    fields = fields_of(read(at + 4, length))
    kind = fields.get(b"op", b"")
    if len(kind) != 1 or kind[0] not in KINDS:
        raise DamageError("no record is there")
    (data_size,) = _U32.unpack(read(at + 4 + length, 4))
    return Record(kind[0], fields, at + 8 + length, data_size)


def records(data: bytes) -> Iterator[Record]:
    """The whole records of a chunk's bytes; stops before one that is not whole."""
    at = 0
    while True:
        try:
            record = record_at(lambda begin, count: data[begin : begin + count], at, len(data))
        except DamageError:
            return
        if record is None or record.begin + record.size > len(data):
            return
        yield record
        at = record.begin + record.size


def connection_of(record: Record, data: bytes) -> Connection:
    """The connection that a record and its data describe."""
    fields = fields_of(data)
    topic = record.fields.get(b"topic", b"").decode(errors="replace")
    parts = [part for part in topic.split("/") if part]
    return Connection(
        record.number(b"conn"),
        ("/" if topic.startswith("/") else "") + "/".join(parts),
        ros2_name(fields.get(b"type", b"").decode(errors="replace")),
        "ros1",
        Definition("msg", fields.get(b"message_definition", b"").decode(errors="replace")),
    )
