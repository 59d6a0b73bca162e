"""Folders of pictures: what counts as a picture file, and in which order a folder's files are taken."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.lfs import refuse_pointer

# Ending of a picture file -> format of a sensor_msgs/CompressedImage with its bytes.
FORMATS = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".gif": "gif",
    ".ppm": "pnm",
    ".pgm": "pnm",
}
_PACKED_BY_MACOS = "__MACOSX"


def is_picture_name(path: Path) -> bool:
    """Whether a file's name is that of a picture: one of the endings, and not hidden (`._db1.jpg`)."""
    return path.suffix.lower() in FORMATS and not path.name.startswith(".")


def in_utf8(name: str) -> str:
    """A file's name for messages and tables, whatever encoding the disk has it in."""
    return os.fsencode(name).decode("utf-8", "replace")


def natural(text: str) -> tuple:
    """Key of an order in which digits compare as numbers: photo 9, photo 10, without leading zeros."""
    parts = re.split(r"([0-9]+)", text)  # words and numbers take turns, so that keys compare place by place
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), text


def list_pictures(folder: str | Path) -> list[Path]:
    """Picture files of a folder and of those below it, in the natural order of their paths; hidden ones are left out.

    Raises VprError where there are none.
    """
    folder = _folder(folder)
    found: list[Path] = []
    for home, inside, names in os.walk(folder):
        inside[:] = [name for name in inside if not name.startswith(".") and name != _PACKED_BY_MACOS]
        found += _pictures(Path(home) / name for name in names)
    if not found:
        raise VprError(lack_of_pictures(folder))
    refuse_pointer(found[0], "picture")
    return sorted(found, key=lambda path: natural(path.relative_to(folder).as_posix()))


def drive_pictures(folder: str | Path) -> list[Path]:
    """Picture files that lie in a folder itself, in the natural order of their names: the frames of one drive.

    Raises VprError where there are none, naming folders below that have some: those are drives or cameras of their own.
    """
    folder = _folder(folder)
    found = _pictures(folder.iterdir())
    if not found:
        raise VprError(lack_of_pictures(folder))
    refuse_pointer(found[0], "picture")
    return sorted(found, key=lambda path: natural(path.name))


def _folder(folder: str | Path) -> Path:
    if not Path(folder).is_dir():
        raise VprError(f"{folder} is not a folder; give the folder that holds the pictures")
    if not os.access(folder, os.R_OK | os.X_OK):
        raise VprError(f"folder {folder} may not be read by this user; check its rights")
    return Path(folder)


def _pictures(paths: Iterable[Path]) -> list[Path]:
    """Those that are pictures by name; a link whose target is missing counts, and is told where it is read."""
    return [path for path in paths if is_picture_name(path) and (path.is_file() or not path.exists())]


def lack_of_pictures(folder: Path) -> str:
    """A sentence on a folder that has no pictures of its own: what it has instead."""
    inside = sorted(folder.iterdir(), key=lambda path: natural(path.name))
    full = [path.name for path in inside if path.is_dir() and _pictures(path.iterdir())]
    if full:
        named = ", ".join(full[:4]) + (", …" if len(full) > 4 else "")
        return f"{folder} holds no pictures itself, but its folders do ({named}): give one of them"
    others = Counter(path.suffix.lower() for path in inside if path.suffix and path.is_file())
    held = ", ".join(f"{count} {ending}" for ending, count in others.most_common(3))
    return f"{folder} holds no pictures ({', '.join(FORMATS)})" + (f", but {held}" if held else "")
