"""Whole files or none: the one place where a file is written beside its target and renamed over it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vpr_ros.errors import VprError


@contextmanager
def whole_file(
    path: str | Path,
    *,
    replace: bool = True,
    durable: bool = True,
    make_folder: bool = True,
    explain: Callable[[OSError], VprError] | None = None,
) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the name `path` only if the block ends without an exception.

    A missing folder is made, unless `make_folder` is False. With `durable` the file and its name survive a power cut.
    Without `replace` a file that has the name already stays, and FileExistsError is raised. Any other OSError becomes
    the VprError that `explain` makes of it; a former file then stays as it was.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        if durable:
            sync(draft)
        if replace:
            os.replace(draft, path)
        else:
            _take_name(draft, path)
        if durable:
            sync(path.parent)
    except FileExistsError:
        if not replace:
            raise
        raise _unwritable(path, FileExistsError(17, "a file stands in its way"), explain) from None
    except OSError as error:
        raise _unwritable(path, error, explain) from error
    finally:
        if path.parent.is_dir():
            draft.unlink(missing_ok=True)


@contextmanager
def whole_text(path: str | Path, *, explain: Callable[[OSError], VprError] | None = None) -> Iterator[TextIO]:
    """A UTF-8 text stream for `path`, under the rules of `whole_file`.

    Line ends are left to the writer: the csv module and JSON lines each bring their own.
    """
    with whole_file(path, explain=explain) as draft, open(draft, "w", encoding="utf-8", newline="") as stream:
        yield stream


def write_whole(
    path: str | Path,
    content: bytes | str,
    *,
    durable: bool = True,
    explain: Callable[[OSError], VprError] | None = None,
) -> None:
    """Write bytes, or text as UTF-8, to `path` under the rules of `whole_file`."""
    with whole_file(path, durable=durable, explain=explain) as draft:
        draft.write_bytes(content.encode() if isinstance(content, str) else content)


def move_whole(source: Path, path: Path) -> None:
    """Give a finished file of the same file system its final name, replacing what has it; both survive a power cut."""
    sync(source)
    os.replace(source, path)
    sync(path.parent)


def is_draft(name: str) -> bool:
    """Whether a file's name is one that a killed `whole_file` leaves behind."""
    return name.startswith(".") and name.endswith(".part")


def sync(path: Path) -> None:
    """Make a file's content, or the new and renamed entries of a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_name(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)  # unlike a rename, never replaces a file that was made in between
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links (USB sticks)
        if path.exists():
            raise FileExistsError(path) from None
        os.replace(draft, path)


def _unwritable(path: Path, error: OSError, explain: Callable[[OSError], VprError] | None) -> VprError:
    if explain is not None:
        return explain(error)
    return VprError(f"cannot write {path}: {error.strerror or error}; choose another output folder")
