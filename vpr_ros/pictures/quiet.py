"""Keeps what image codecs write to the process's error output, in their own words, off the terminal."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import cv2

_COMPLAINTS = re.compile(
    rb"^(?:libpng (?:error|warning)|Corrupt JPEG data|Premature end of JPEG|Invalid SOS parameters|"
    rb"Inconsistent progression|Unknown Adobe color|Warning: unknown JFIF|Unsupported marker type).*\n?",
    re.MULTILINE,
)
_lock = threading.Lock()  # the error output and OpenCV's level belong to the whole process


@contextmanager
def quiet_codecs() -> Iterator[None]:
    """Swallows what libjpeg, libpng and OpenCV say meanwhile; whatever else is written to stderr follows at the end."""
    with _lock:
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            with _held_back():
                yield
        finally:
            cv2.utils.logging.setLogLevel(level)


@contextmanager
def _held_back() -> Iterator[None]:
    try:
        held, stderr = os.memfd_create("stderr"), os.dup(2)
    except OSError:  # stderr is closed: nothing can leak
        yield
        return
    os.dup2(held, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        size = os.lseek(held, 0, os.SEEK_CUR)
        text = os.pread(held, size, 0) if size else b""
        os.close(held)
        rest = _COMPLAINTS.sub(b"", text)
        if rest:
            os.write(stderr, rest)
        os.close(stderr)
