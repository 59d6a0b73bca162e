"""What the first bytes of a picture file tell without decoding it: its format, its size, and whether its end is there.

Read from JPEG (ITU T.81), PNG, WebP, TIFF 6.0 (and BigTIFF), BMP, GIF and PNM; no other format is decoded here.
"""

import re
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np

Bytes = bytes | bytearray | memoryview | np.ndarray
Format = Literal["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "PNM"]
FORMATS: tuple[Format, ...] = ("JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "PNM")

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn; the others are tables
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD8)))  # markers without a length
_IN_SCAN = re.compile(rb"\xff[\xc4\xd8-\xfe]")  # what ends compressed data; 0xFF00 and RSTn belong to it
_PNM = re.compile(rb"P[1-6](?:\s*#[^\n]*\n|\s)+(\d{1,9})(?:\s*#[^\n]*\n|\s)+(\d{1,9})\s")


@dataclass(frozen=True)
class Header:
    """Format and size in pixels, as the file claims them."""

    format: Format
    width: int
    height: int


def header_of(data: Bytes) -> Header | None:
    """The header of a picture file's bytes; None where they are none of `FORMATS` or too few to tell."""
    try:
        return _header(bytes(data))
    except (struct.error, IndexError):
        return None


def is_whole(data: Bytes) -> bool:
    """Whether a JPEG or PNG has its end, whatever bytes a driver left behind it; other formats count as whole."""
    data = bytes(data)
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)[1]
    return data[:4] != b"\x89PNG" or _png_has_end(data)


def _header(data: bytes) -> Header | None:
    if data[:2] == b"\xff\xd8":
        size = _jpeg(data)[0]
        return size and Header("JPEG", *size)
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
        return Header("PNG", *struct.unpack_from(">II", data, 16))
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return Header("GIF", *struct.unpack_from("<HH", data, 6))
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Header("WebP", *_webp(data))
    if data[:2] == b"BM":
        short = struct.unpack_from("<I", data, 14)[0] == 12  # OS/2
        width, height = struct.unpack_from("<HH" if short else "<ii", data, 18)
        return Header("BMP", abs(width), abs(height))
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return Header("TIFF", *_tiff(data))
    found = _PNM.match(data[:4096])
    return Header("PNM", int(found[1]), int(found[2])) if found else None


def _jpeg(data: bytes) -> tuple[tuple[int, int] | None, bool]:
    """(width, height) of the frame, None before it, and whether the end of the image was reached.

    Segments are skipped by their length, so that the thumbnail inside EXIF data counts for neither.
    """
    size, at = None, 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 2 <= len(data):
        marker = data[at + 1]
        if marker == _SOI:  # another image begins: this one was cut
            break
        if marker == _EOI:
            return size, size is not None
        if marker == 0xFF or marker in _JPEG_BARE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_FRAMES and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            size = (width, height) if size is None else (max(width, size[0]), max(height, size[1]))
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            found = _IN_SCAN.search(data, at)
            at = found.start() if found else len(data)
    return size, False


def _png_has_end(data: bytes) -> bool:
    at = 8
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at += 12 + struct.unpack_from(">I", data, at)[0]
    return False


def _webp(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":  # the canvas, each side less one in 24 bits
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: bytes) -> tuple[int, int]:
    """Width and height of the first directory, the one that is decoded; of its tiles, where they are larger."""
    order, big = "<" if data[:2] == b"II" else ">", 43 in (data[2], data[3])
    at = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
    count = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)[0]
    at, step = (at + 8, 20) if big else (at + 2, 12)
    sides, tags = [0, 0], {256: 0, 257: 1, 322: 0, 323: 1}  # ImageWidth, ImageLength, TileWidth, TileLength
    for entry in range(at, at + min(count, 4096) * step, step):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in tags:
            code = {3: "H", 4: "I", 16: "Q"}.get(kind, "I")
            side = tags[tag]
            sides[side] = max(sides[side], struct.unpack_from(order + code, data, entry + (12 if big else 8))[0])
    return sides[0], sides[1]
