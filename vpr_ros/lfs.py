"""Git LFS pointers: the few lines that a clone holds in place of a large file that was not fetched."""

from pathlib import Path

from vpr_ros.errors import VprError

_LONGEST = 1024  # bytes; a larger file is not even opened: that would drop the locks that SQLite holds on a map
_BEGINNING = b"version https://git-lfs.github.com/spec/"


def is_pointer(data: bytes) -> bool:
    """Whether these bytes of a file are a pointer."""
    return len(data) <= _LONGEST and data.startswith(_BEGINNING)


def refuse_pointer(path: str | Path, what: str) -> None:
    """VprError where the file is a Git LFS pointer instead of a `what` ('map'); else, and for no file, nothing."""
    path = Path(path)
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST:
            return
        with path.open("rb") as file:
            pointer = file.read(len(_BEGINNING)) == _BEGINNING
    except OSError:
        return
    if pointer:
        raise VprError(
            f"'{path}' is a Git LFS pointer, not the {what} itself: run 'git lfs pull' in its repository, or download "
            "the file."
        )
