"""Files beside a map that can be made anew from it, and are never trusted: each ends with what it holds and its sum."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

from vpr_ros.plain_files import parse_json

_LENGTH_BYTES = 8
_BLOCK = 1 << 22


def seal(draft: Path, key: str, **facts: Any) -> None:
    """End a file with the name of its content and its sum, behind bytes that are read from the front."""
    trailer = json.dumps({**facts, "key": key, "crc": _crc(draft, os.path.getsize(draft))}).encode()
    with open(draft, "ab") as stream:
        stream.write(trailer + len(trailer).to_bytes(_LENGTH_BYTES, "little"))


def sealed(path: Path, key: str) -> dict[str, Any] | None:
    """The facts of a file that is whole and holds the content `key`; None of any other and where there is none."""
    try:
        size = os.path.getsize(path)
        with open(path, "rb") as stream:
            stream.seek(size - _LENGTH_BYTES)
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            stream.seek(size - _LENGTH_BYTES - length)
            trailer = parse_json(stream.read(length))
        if trailer["key"] == key and trailer["crc"] == _crc(path, size - _LENGTH_BYTES - length):
            return trailer
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass
    return None


def _crc(path: Path, left: int) -> int:
    crc = 0
    with open(path, "rb") as stream:
        while left > 0 and (block := stream.read(min(left, _BLOCK))):
            crc = zlib.crc32(block, crc)
            left -= len(block)
    return crc
