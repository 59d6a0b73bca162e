"""The file `meta.json` of a recorded set: its drives, and the frames of their poses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

from vpr_ros.atomic import is_draft, write_whole
from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.training_set.format import FORMAT, META, RECORDED, TABLE, VERSION

PoseKind = Literal["map", "odometry", "none"]  # poses in the map frame, in the drive's own, or no poses


class DriveEntry(TypedDict):
    """One drive in `meta.json`."""

    name: str
    city: str
    condition: str
    poses: PoseKind | None  # None: no picture yet
    camera: dict[str, Any] | None  # intrinsics of the images as they came, before any shrinking
    source: str


class RecordedMeta:
    """The drives of a recorded set in memory, and their file.

    VprError for a folder with other content, and with `explain` for a file that cannot be written.
    """

    def __init__(self, folder: Path, explain: Callable[[OSError], VprError]):
        self._path, self._explain = folder / META, explain
        self.exists = self._path.exists()
        if not self.exists and not all(_is_unfinished(path.name) for path in folder.iterdir()):
            raise VprError(f"{folder} holds other files and no training set; name a new or empty folder")
        new = {"format": FORMAT, "version": VERSION, "kind": RECORDED, "drives": []}
        self._meta = _read(self._path) if self.exists else new

    @property
    def drives(self) -> list[DriveEntry]:
        return self._meta["drives"]

    def append(self, entry: DriveEntry) -> None:
        """Add a drive to the file; VprError where it cannot be written."""
        self.drives.append(entry)
        try:
            self.write()
        except VprError:
            self.drives.remove(entry)
            raise

    def remove(self, entry: DriveEntry) -> None:
        """Take a drive out of the file."""
        self.drives.remove(entry)
        self.write()

    def write(self) -> None:
        """Replace the file, as a whole."""
        write_whole(self._path, json.dumps(self._meta, indent=1), explain=self._explain)


def _is_unfinished(name: str) -> bool:
    """Whether a kill in the first moments of a recording leaves a file of this name (also of earlier versions)."""
    return name in (TABLE, META + ".partial") or is_draft(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        meta = parse_json(path.read_text(encoding="utf-8"))
        recorded = meta["format"] == FORMAT and meta["kind"] == RECORDED
        if recorded and meta["version"] == VERSION and isinstance(meta["drives"], list):
            return meta
    except (ValueError, KeyError, TypeError):
        recorded = False
    if recorded:
        raise VprError(f"{path.parent} was recorded by another version of this package; name another folder")
    raise VprError(
        f"{path.parent} holds a set that was not recorded, and drives are not mixed into it; name another folder"
    )
