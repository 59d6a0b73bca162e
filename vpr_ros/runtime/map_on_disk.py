"""Whether the file of an open map still is the one that was opened."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from vpr_ros.place_map import PlaceMap
from vpr_ros.place_map.schema import read_meta

_PERIOD_S = 2.0


class MapOnDisk:
    """Looks at the file of a map that is in use; `look` is for one thread, `problem` for any.

    A map goes on as it was loaded when its file is replaced, removed or overwritten. That is right, and nobody would
    know: the operator believes that the new map is in use, or that the old one is still there. Other processes may add
    to the map and edit it meanwhile; that is no problem.
    """

    def __init__(self, place_map: PlaceMap):
        self._path, self._map_id, self._writable = place_map.path, place_map.map_id, place_map.writable
        self.problem = ""  # a sentence
        self._next = 0.0
        self._opened = self._seen = _stat(self._path)

    def look(self) -> bool:
        """Look again, at most every two seconds; whether `problem` is another than before."""
        if time.monotonic() < self._next:
            return False
        self._next, before = time.monotonic() + _PERIOD_S, self.problem
        what = self._what_happened()
        goes_on = "what was loaded stays in use until the node is configured anew"
        self.problem = f"map {self._path} {what} since it was opened: {goes_on}" if what else ""
        return self.problem != before

    def _what_happened(self) -> str:
        now = _stat(self._path)
        if now is None or self._opened is None:
            return "was removed"
        if (now.st_dev, now.st_ino) != (self._opened.st_dev, self._opened.st_ino):
            return "was replaced by another file"
        if now.st_size < self._opened.st_size:
            return f"was cut from {self._opened.st_size} to {now.st_size} bytes"
        # A writer locks the file, so it is written by nobody else; and its own connection would notice.
        if not self._writable and not self._same_map(now):
            return "was overwritten by another map"
        self._seen = now
        return ""

    def _same_map(self, now: os.stat_result) -> bool:
        if self._seen is not None and (now.st_mtime_ns, now.st_size) == (self._seen.st_mtime_ns, self._seen.st_size):
            return True
        try:
            with closing(sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                return read_meta(db).get("map_id") == self._map_id
        except sqlite3.OperationalError:  # busy: somebody writes
            return True
        except (sqlite3.DatabaseError, ValueError):
            return False


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None
