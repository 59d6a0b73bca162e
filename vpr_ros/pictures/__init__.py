"""Pictures as files and bytes: the one place that decodes and encodes them, and that knows OpenCV's colour order.

Arrays are RGB everywhere else in the package. Before anything is decoded its header is read: a picture of more than
`MAX_PIXELS` costs nothing, whichever way it came.
"""

from vpr_ros.pictures.codecs import (
    MAX_PIXELS,
    Reading,
    decode,
    encode,
    fraction_for,
    load,
    pixels_of,
    read,
    refuse_large,
)
from vpr_ros.pictures.headers import Header, header_of, is_whole

__all__ = [
    "MAX_PIXELS",
    "Header",
    "Reading",
    "decode",
    "encode",
    "fraction_for",
    "header_of",
    "is_whole",
    "load",
    "pixels_of",
    "read",
    "refuse_large",
]
