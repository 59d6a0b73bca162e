"""Whole files or none: the one place where a file is written beside its target and renamed over it.

Its counterpart for what grows over hours is `lasting_lines`: a file that keeps every line it was given.
"""

import fcntl
import glob
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from vpr_ros.errors import VprError

SYNC_EVERY_S = 1.0  # a power cut costs so much of a growing file


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


@contextmanager
def whole_entry(path: Path) -> Iterator[Path]:
    """A path to write to, as in `whole_file`, for a file or a folder whose writer needs its very name.

    It has the name of `path`, in a hidden folder beside it. What has that name already, file or folder, stays until the
    block ends without an exception. What a killed process left of an earlier try is removed first. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        _remove_unless_in_use(left)
    shelter = path.with_name(f".{path.name}.{os.getpid()}.part")
    shelter.mkdir()
    try:
        with held(shelter):
            yield shelter / path.name
            _exchange(shelter / path.name, path, shelter / "former")
            sync(path.parent)
    finally:
        shutil.rmtree(shelter, ignore_errors=True)


@contextmanager
def lasting_lines(
    path: str | Path, *, explain: Callable[[OSError], VprError] | None = None
) -> Iterator[Callable[[str], None]]:
    """A function that appends a line to the new file `path`. What it has taken stays, whatever happens afterwards.

    A killed process leaves every line, a power cut all but those of the last second. Errors are those of
    `whole_file`; where a disk takes a part of a line only, that part is cut off again.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb", buffering=0) as stream:
            size, synced = 0, time.monotonic()

            def write(line: str) -> None:
                nonlocal size, synced
                data = rest = f"{line}\n".encode()
                try:
                    while rest:
                        rest = rest[stream.write(rest) :]
                except OSError:
                    with suppress(OSError):
                        stream.truncate(size)
                    raise
                size += len(data)
                if time.monotonic() - synced >= SYNC_EVERY_S:
                    os.fsync(stream.fileno())
                    synced = time.monotonic()

            yield write
            os.fsync(stream.fileno())
        sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error, explain) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a file or folder as in use; `in_use` says so to others. The system lets go of it when the process dies."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def in_use(path: Path) -> bool:
    """Whether a living process holds a file or folder by `held`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


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


def _exchange(draft: Path, path: Path, former: Path) -> None:
    """Give a draft its final name. A folder cannot be replaced in one step: it is moved to `former` first."""
    if not path.exists() or not (path.is_dir() or draft.is_dir()):
        os.replace(draft, path)
        return
    os.replace(path, former)
    try:
        os.replace(draft, path)
    except OSError:
        os.replace(former, path)
        raise


def _remove_unless_in_use(left: Path) -> None:
    with suppress(OSError):
        if in_use(left):
            return
        shutil.rmtree(left) if left.is_dir() else left.unlink()


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
