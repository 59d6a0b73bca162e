"""Compressed pieces of bags: chunks, messages and whole files, as far as they are whole."""

import bz2
import sys
from pathlib import Path

from lz4.frame import LZ4FrameDecompressor

from vpr_ros.sensors.bags.storage.base import DamageError, StorageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MOST_BYTES = 2**31  # that one chunk or message may hold
_SLICE = 1 << 16
_DECODERS = {"zstd": zstd.ZstdDecompressor, "lz4": LZ4FrameDecompressor, "bz2": bz2.BZ2Decompressor}


def decompressed(data: bytes, compression: str, size: int = MOST_BYTES) -> bytes:
    """The bytes of a whole piece that was compressed with '' or 'none', 'zstd', 'lz4' or 'bz2'; at most `size`.

    Raises DamageError for bytes that do not decompress, StorageError for another compression.
    """
    if compression in ("", "none"):
        return data
    out = bytearray()
    while data:
        decoder = _decoder(compression)
        try:
            out += decoder.decompress(data, max_length=size - len(out))
        except Exception as error:  # each library has its own kind
            raise DamageError(f"it does not decompress: {error}") from None
        if not decoder.eof:
            raise DamageError(f"it holds more than {size} bytes, or its end is missing")
        data = decoder.unused_data or b""
    return bytes(out)


def decompressed_beginning(data: bytes, compression: str) -> bytes:
    """What a piece of which the end is missing holds: as many bytes as decompress. StorageError as `decompressed`."""
    if compression in ("", "none"):
        return data
    decoder, out = _decoder(compression), bytearray()
    for at in range(0, len(data), _SLICE):
        try:
            out += decoder.decompress(data[at : at + _SLICE])
        except Exception:  # what came before is whole
            break
        if decoder.eof or len(out) > MOST_BYTES:
            break
    return bytes(out)


def unpack_zstd(source: Path, target: Path) -> bool:
    """Decompress a file as far as it goes; whether it was whole. Raises OSError where the target cannot be written."""
    with source.open("rb") as packed, target.open("wb") as out:
        decoder = zstd.ZstdDecompressor()
        while block := packed.read(_SLICE):
            while block:
                if decoder.eof:
                    decoder = zstd.ZstdDecompressor()
                try:
                    plain = decoder.decompress(block)
                except Exception:
                    return False
                out.write(plain)
                block = decoder.unused_data if decoder.eof else b""
        return decoder.eof


def _decoder(compression: str):
    if compression not in _DECODERS:
        raise StorageError(f"it is compressed with '{compression}', which is not read", unsupported=True)
    return _DECODERS[compression]()
