"""The transactions of a map file: what is pending, when it becomes durable, how a failure is undone and told."""

import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vpr_ros.errors import VprError
from vpr_ros.place_map import files
from vpr_ros.place_map.mounting import MountedCamera
from vpr_ros.place_map.schema import put_meta, read_meta, schema_version

if TYPE_CHECKING:
    from typing_extensions import Self

COMMIT_INTERVAL_S = 1.0  # with commit_if_due() called at least once a second: saved and reported within 2 s
COMMIT_KEYFRAMES = 32


class MapFile:
    """An open map file and its header; `PlaceMap` adds the keyframes.

    A writer is always inside a transaction, which keeps other writers out; each commit begins the next one at once.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, writable: bool):
        self.path = path
        self.writable = writable
        self.on_saved: Callable[[list[int]], None] | None = None  # called with the ids of each commit
        self.commit_interval_s = COMMIT_INTERVAL_S
        self.commit_keyframes = COMMIT_KEYFRAMES
        self._db = db
        self._closed = False
        self._lock = threading.RLock()
        self._meta = read_meta(db)
        self._pending: list[int] = []
        self._edited = False
        self._last_commit = time.monotonic()
        self._saved_up_to = db.execute("SELECT coalesce(max(id), 0) FROM keyframes").fetchone()[0]

    @property
    def map_id(self) -> str:
        return self._meta["map_id"]

    @property
    def version(self) -> int:
        """Grows with every edit and once per writing session; (map_id, version, keyframe count) names the content."""
        return self._meta["version"]

    @property
    def dim(self) -> int:
        return self._meta["dim"]

    @property
    def parts(self) -> tuple[int, ...]:
        """Lengths of the parts of a descriptor; their sum is `dim`."""
        return tuple(self._meta.get("parts") or (self.dim,))

    @property
    def fingerprint(self) -> str:
        return self._meta["fingerprint"]

    @property
    def model_name(self) -> str:
        return self._meta["model_name"]

    @property
    def preprocessing(self) -> dict[str, Any]:
        return self._meta["preprocessing"]

    @property
    def place_radius_m(self) -> float:
        """Radius of one place in metres; in frames for a map without poses."""
        return self._meta["place_radius_m"]

    @property
    def frame_id(self) -> str:
        return self._meta["frame_id"]

    @property
    def datum(self) -> tuple[float, float, float] | None:
        """Latitude, longitude (degrees), altitude (m) of the map frame's origin."""
        datum = self._meta.get("datum")
        return None if datum is None else tuple(datum)

    @property
    def cameras(self) -> dict[int, MountedCamera]:
        """The camera of each session, for the sessions where it is known."""
        return {int(i): MountedCamera.from_dict(camera) for i, camera in self._meta.get("cameras", {}).items()}

    @property
    def created(self) -> str:
        return self._meta.get("created", "")

    @property
    def file_bytes(self) -> int:
        """Size on disk, with what a program that maps into it has saved beside the file until it closes it."""
        return files.size(self.path) + files.size(files.beside(self.path, "-wal"))

    @property
    def schema_version(self) -> int:
        return schema_version(self._db)

    def commit_if_due(self) -> None:
        """Make pending keyframes durable once the oldest waits a second; call it from the owner's idle loop."""
        with self._lock:
            due = time.monotonic() - self._last_commit >= self.commit_interval_s
            if self._pending and (due or len(self._pending) >= self.commit_keyframes):
                self.flush()

    def flush(self) -> None:
        """Make every added keyframe durable now and report it."""
        if not self.writable:
            return
        with self._lock:
            if not self._pending:
                return
            with self._writing():
                self._commit()
            saved, self._pending = self._pending, []
            self._saved_up_to = saved[-1]
        if self.on_saved is not None:
            self.on_saved(saved)

    def saved_up_to(self) -> int:
        """Highest id that is durable; 0 for an empty map."""
        return self._saved_up_to

    @contextmanager
    def edit(self) -> Generator[sqlite3.Connection, None, None]:
        """One change, all or nothing: saves pending keyframes, then yields the connection inside a transaction."""
        self._require_writable()
        with self._lock:
            self.flush()
            with self._writing():
                self._bump_version()
                yield self._db
                self._commit()
                self._meta = read_meta(self._db)

    def compact(self) -> None:
        """Give the space of deleted keyframes back to the disk (needs as much free space as the map has)."""
        self._require_writable()
        with self._lock:
            self.flush()
            with self._writing():
                self._db.execute("ROLLBACK")
                try:
                    self._db.execute("VACUUM")
                finally:
                    self._db.execute("BEGIN IMMEDIATE")

    def close(self) -> None:
        """Save what is pending and leave one file behind. Closing twice is allowed."""
        with self._lock:
            if self._closed:
                return
            try:
                self.flush()
            finally:
                self._closed = True
                if self.writable:
                    files.close_writable(self._db)
                else:
                    self._db.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _require_writable(self) -> None:
        if not self.writable:
            raise VprError(f"map {self.path} is open for reading only: open it with writable=True to change it")

    def _bump_version(self) -> None:
        put_meta(self._db, "version", self.version + 1)
        self._meta["version"] += 1
        self._edited = True

    def _commit(self) -> None:
        self._db.execute("COMMIT")
        self._db.execute("BEGIN IMMEDIATE")
        self._last_commit = time.monotonic()

    def _one_row(self, query: str, *values: int | str) -> tuple[Any, ...]:
        with self.reading() as db:
            return db.execute(query, values).fetchone() or (None,)

    def _one(self, query: str, *values: int | str) -> Any:
        return self._one_row(query, *values)[0]

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection, None, None]:
        """The connection, for reading one state of the map, keyframes not yet durable included."""
        with self._lock:
            if self._closed:
                raise VprError(f"map {self.path} is closed")
            try:
                if self._db.in_transaction:
                    yield self._db
                else:  # several selects see one state, even while another process is mapping
                    self._db.execute("BEGIN")
                    try:
                        yield self._db
                    finally:
                        self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise files.explain(error, self.path, "read") from error

    @contextmanager
    def _writing(self) -> Generator[None, None, None]:
        """Whatever is raised inside undoes everything since the last commit; SQLite's errors become sentences."""
        if self._closed:
            raise VprError(f"map {self.path} is closed")
        try:
            yield
        except sqlite3.Error as error:
            lost = self._undo()
            kept = "everything reported as saved is in it"
            doing = f"save the last keyframes ({lost + 1} at most; {kept}) to" if lost else "write"
            raise files.explain(error, self.path, doing) from error
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> int:
        """Roll back to the last commit; returns how many keyframes, never reported as saved, are lost."""
        lost, self._pending, self._edited = len(self._pending), [], False
        with suppress(sqlite3.Error):  # the first error is the one to tell
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._meta = read_meta(self._db)
            self._db.execute("BEGIN IMMEDIATE")
        return lost
