"""Whole files or none: text is written beside its target and renamed over it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vpr_ros.errors import VprError


@contextmanager
def atomic_text(path: str | Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file that takes the name `path` only if the block ends without an exception.

    Raises VprError where the folder cannot be written or the disk is full; a former file then stays as it was.
    """
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # newline="" leaves line ends to the writer: the csv module and json lines each bring their own.
        with open(partial, "w", encoding="utf-8", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True) if partial.parent.is_dir() else None
        raise VprError(f"cannot write {path}: {error.strerror or error}; choose another output folder") from error
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
