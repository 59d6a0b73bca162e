"""MCAP files byte by byte, as its specification lays them out: of any profile and encoding, with or without index."""

from dataclasses import dataclass, field
from struct import pack
from zlib import crc32

MAGIC = b"\x89MCAP0\r\n"


def text(value: str) -> bytes:
    return pack("<I", len(value.encode())) + value.encode()


def record(kind: int, content: bytes) -> bytes:
    return pack("<BQ", kind, len(content)) + content


@dataclass
class Channel:
    topic: str
    schema: str
    message_encoding: str = "cdr"
    schema_encoding: str = "ros2msg"
    definition: bytes = b""


@dataclass
class McapBytes:
    """`bytes(...)` of it is the file. Messages are (channel number from 0, time in ns, payload)."""

    channels: list[Channel]
    messages: list[tuple[int, int, bytes]]
    profile: str = "ros2"
    per_chunk: int | None = 4  # messages; None: without chunks
    compression: str = ""
    compress: object = staticmethod(bytes)
    index: bool = True
    promised: dict[int, int] | None = None  # what the statistics say, else the truth
    chunk_crc: bool = True
    chunk_ends: list[int] = field(default_factory=list)

    def described(self) -> bytes:
        out = b""
        for i, c in enumerate(self.channels, 1):
            schema = pack("<H", i) + text(c.schema) + text(c.schema_encoding) + pack("<I", len(c.definition))
            out += record(3, schema + c.definition)
            out += record(4, pack("<HH", i, i) + text(c.topic) + text(c.message_encoding) + pack("<I", 0))
        return out

    def __bytes__(self) -> bytes:
        out = MAGIC + record(1, text(self.profile) + text("test"))
        indexes = b""
        rows = [
            (channel + 1, time, pack("<HIQQ", channel + 1, i, time, time) + payload)
            for i, (channel, time, payload) in enumerate(self.messages)
        ]
        if self.per_chunk is None:
            out += self.described() + b"".join(record(5, row) for _, _, row in rows)
        for begin in range(0, len(rows), self.per_chunk or len(rows) + 1) if self.per_chunk else ():
            some = rows[begin : begin + self.per_chunk]
            plain = (self.described() if not begin else b"") + b"".join(record(5, row) for _, _, row in some)
            packed = self.compress(plain)
            times = [time for _, time, _ in some]
            head = pack("<QQQI", min(times), max(times), len(plain), crc32(plain) if self.chunk_crc else 0)
            chunk = record(6, head + text(self.compression) + pack("<Q", len(packed)) + packed)
            offset = len(out)
            out += chunk
            self.chunk_ends.append(len(out))
            table, first_index = b"", len(out)
            for channel in sorted({c for c, _, _ in some}):
                entries = b"".join(pack("<QQ", time, 0) for c, time, _ in some if c == channel)
                table += pack("<HQ", channel, len(out))
                out += record(7, pack("<HI", channel, len(entries)) + entries)
            row = pack("<QQQQ", min(times), max(times), offset, len(chunk)) + pack("<I", len(table)) + table
            row += pack("<Q", len(out) - first_index) + text(self.compression) + pack("<QQ", len(packed), len(plain))
            indexes += record(8, row)
        out += record(0x0F, pack("<I", 0))
        start = len(out)
        if self.index:
            counts = {c + 1: sum(m[0] == c for m in self.messages) for c in range(len(self.channels))}
            counts |= {c + 1: n for c, n in (self.promised or {}).items()}
            times = [time for _, time, _ in self.messages]
            table = b"".join(pack("<HQ", c, n) for c, n in counts.items())
            numbers = pack(
                "<QHIIIIQQ",
                sum(counts.values()),
                len(self.channels),
                len(self.channels),
                0,
                0,
                len(self.chunk_ends),
                min(times),
                max(times),
            )
            out += self.described() + record(0x0B, numbers + pack("<I", len(table)) + table) + indexes
        foot = pack("<BQQQ", 2, 20, start if self.index else 0, 0)
        crc = crc32(out[start:] + foot) if self.index else 0
        return out + foot + pack("<I", crc) + MAGIC
