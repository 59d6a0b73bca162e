"""A map file: its header, what it keeps of a keyframe, and its transactions: what is pending, when it becomes durable,
how a failure is undone and told."""

import sqlite3
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.place_map import files
from vpr_ros.place_map.clouds import decode_cloud
from vpr_ros.place_map.mounting import MountedCamera
from vpr_ros.place_map.schema import payload, payload_tables, put_meta, read_meta, schema_version

if TYPE_CHECKING:
    from typing_extensions import Self

    from vpr_ros.local_features import LocalFeatures

COMMIT_INTERVAL_S = 1.0  # with commit_if_due() called at least once a second: saved and reported within 2 s
COMMIT_KEYFRAMES = 32
_WORDS = {"thumbnails": "the thumbnail", "clouds": "the cloud", "features": "the local features"}


class MapFile:
    """An open map file, its header and what it keeps beside the keyframes, which `PlaceMap` adds.

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
        self._passed = False  # a view was passed over since the last commit
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
    def passed_over(self) -> dict[int, int]:
        """Of sessions: the views that made no keyframe because the map answered them, where there were any."""
        return {int(i): count for i, count in self._meta.get("passed_over", {}).items()}

    @property
    def removed(self) -> dict[int, int]:
        """Of sessions: their keyframes that were removed again, where there were any."""
        return {int(i): count for i, count in self._meta.get("removed", {}).items()}

    @property
    def local_features(self) -> str | None:
        """The kind of the keyframes' local features, "xfeat" say; None where there never were any."""
        return self._meta.get("local_features")

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

    # What it keeps of each keyframe, read one at a time

    @property
    def has_clouds(self) -> bool:
        """Whether any keyframe has a LiDAR cloud."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM clouds)"))

    @property
    def has_features(self) -> bool:
        """Whether any keyframe has local features."""
        with self.reading() as db:
            if "features" not in payload_tables(db):
                return False
            return bool(db.execute("SELECT EXISTS (SELECT 1 FROM features)").fetchone()[0])

    def thumbnail(self, keyframe_id: int) -> bytes | None:
        """JPEG of the network's input, None when the keyframe has none; VprError for a damaged one."""
        return self._payload("thumbnails", keyframe_id)

    def cloud(self, keyframe_id: int) -> np.ndarray | None:
        """Cloud (M, 3) float32 in metres in the base frame, None when the keyframe has none; VprError for a damaged."""
        data = self._payload("clouds", keyframe_id)
        try:
            return None if data is None else decode_cloud(data)
        except ValueError as error:  # of a file that is too old to have sums
            raise self._damaged(f"the cloud of keyframe {keyframe_id}") from error

    def features(self, keyframe_id: int) -> "LocalFeatures | None":
        """Local features of a keyframe's picture, None when it has none; VprError for damaged ones."""
        data = self._payload("features", keyframe_id)
        if data is None:
            return None
        from vpr_ros.local_features.packing import unpack

        try:
            return unpack(data)
        except ValueError as error:
            raise self._damaged(f"the local features of keyframe {keyframe_id}") from error

    def _payload(self, table: str, keyframe_id: int) -> bytes | None:
        with self.reading() as db:
            try:
                return payload(db, table, int(keyframe_id))
            except ValueError as error:
                raise self._damaged(f"{_WORDS[table]} of keyframe {keyframe_id}") from error

    def _damaged(self, what: str) -> VprError:
        return VprError(f"{what} in map {self.path} is damaged: restore a copy or map the drive again")

    # Transactions

    def commit_if_due(self) -> None:
        """Make pending keyframes durable once the oldest waits a second; call it from the owner's idle loop."""
        with self._lock:
            due = time.monotonic() - self._last_commit >= self.commit_interval_s
            if (self._pending or self._passed) and (due or len(self._pending) >= self.commit_keyframes):
                self.flush()

    def flush(self) -> None:
        """Make every added keyframe durable now and report it."""
        if not self.writable:
            return
        with self._lock:
            if not self._pending and not self._passed:
                return
            with self._writing():
                self._commit()
            saved, self._pending, self._passed = self._pending, [], False
            if not saved:
                return
            self._saved_up_to = saved[-1]
        if self.on_saved is not None:
            self.on_saved(saved)

    @property
    def pending(self) -> bool:
        """Whether something was added that is not durable yet."""
        return bool(self._pending or self._passed)

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
        lost, self._pending, self._passed, self._edited = len(self._pending), [], False, False
        with suppress(sqlite3.Error):  # the first error is the one to tell
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._meta = read_meta(self._db)
            self._db.execute("BEGIN IMMEDIATE")
        return lost
