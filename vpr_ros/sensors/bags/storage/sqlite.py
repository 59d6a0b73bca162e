"""SQLite files of rosbag2: whole, cut short, or with the journal that a crash left beside them."""

import shutil
import sqlite3
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from vpr_ros.sensors.bags.storage.base import Connection, Definition, Lost, Raw, StorageError

_LANGUAGES = {"ros2msg": "msg", "ros2idl": "idl"}
_HOT = bytes.fromhex("d9d505f920a163d7")  # begins a journal of a transaction that was not ended
_MOST_ROWS = 2**40


class SqliteFile:
    """An opened .db3 file. It and what lies beside it are never written.

    A write-ahead log (-wal) that a crash left is read with the file; a rollback journal (-journal) is played back on a
    copy. `lost` is told what a damaged file lacks, `note` what was read beside it. Raises StorageError when nothing of
    it can be read.
    """

    def __init__(self, path: Path, lost: Lost, note: Lost):
        self._path, self._lost = path, lost
        self._copy: TemporaryDirectory | None = None
        try:
            self._db = self._connect(note)
            self.connections = self._connections()
            self._read_rows()
        except sqlite3.Error as error:
            self.close()
            raise StorageError(str(error)) from None
        except BaseException:
            self.close()
            raise

    def messages(self, wanted: set[int]) -> Iterator[Raw]:
        """Raw messages of the topics with these ids by time."""
        order = np.flatnonzero(np.isin(self._topics, list(wanted)))
        order = order[np.argsort(self._times[order], kind="stable")]
        damaged = 0
        for i in order.tolist():
            try:
                row = self._db.execute("SELECT data FROM messages WHERE id = ?", (int(self._ids[i]),)).fetchone()
            except sqlite3.Error:
                row = None
            if row is None or not isinstance(row[0], bytes):
                damaged += 1
                continue
            yield int(self._times[i]), int(self._topics[i]), row[0]
        if damaged:
            self._lost(f"{self._path}: {damaged} messages are left out, whose pages are damaged or missing")

    def close(self) -> None:
        """Close the file and remove the copy, if one was made."""
        with suppress(AttributeError):
            self._db.close()
        if self._copy is not None:
            self._copy.cleanup()

    def _connect(self, note: Lost) -> sqlite3.Connection:
        log, journal = (self._path.with_name(self._path.name + end) for end in ("-wal", "-journal"))
        if journal.is_file() and journal.open("rb").read(8) == _HOT:
            self._copy = TemporaryDirectory(prefix="vpr_ros_bag_")
            copied = Path(shutil.copy(self._path, self._copy.name))
            shutil.copy(journal, self._copy.name)
            note(
                f"{self._path} was not closed: {journal.name} beside it is played back on a copy, to its last "
                "whole state"
            )
            return sqlite3.connect(copied, check_same_thread=False)
        if log.is_file() and log.stat().st_size:
            note(f"{self._path} was not closed: what {log.name} beside it holds is read with it")
            # Without locks and in exclusive mode SQLite keeps the log's index in memory, and writes nothing.
            db = self._open("mode=ro&vfs=unix-none")
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            return db
        return self._open("mode=ro&immutable=1")

    def _open(self, how: str) -> sqlite3.Connection:
        db = sqlite3.connect(f"{self._path.absolute().as_uri()}?{how}", uri=True, check_same_thread=False)
        # SQLite refuses a file that is shorter than its header says, unless it is told that it is being repaired.
        db.execute("PRAGMA writable_schema = ON")
        return db

    def _connections(self) -> list[Connection]:
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"topics", "messages"} <= tables:
            raise StorageError("it is an SQLite file, but it has no tables topics and messages", unsupported=True)
        definitions: dict[str, Definition] = {}
        if "message_definitions" in tables:
            with suppress(sqlite3.Error):  # types can be known without
                for name, encoding, text in self._db.execute(
                    "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
                ):
                    language = _LANGUAGES.get(encoding)
                    if language == "msg" or language == "idl":
                        definitions.setdefault(name, Definition(language, text))
        rows = self._db.execute("SELECT id, name, type, serialization_format FROM topics ORDER BY id")
        return [Connection(i, topic, kind, encoding, definitions.get(kind)) for i, topic, kind, encoding in rows]

    def _cut_short(self) -> bool:
        """Whether the file is shorter than its header says."""
        with self._path.open("rb") as file:
            head, size = file.read(32), file.seek(0, 2)
        page = int.from_bytes(head[16:18], "big")
        return size < (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big") and self._copy is None

    def _drop_torn_end(self, *columns: array) -> None:
        """Leave out the last messages of a file that was cut: SQLite takes a page behind its end for one of zeros."""
        ids = columns[0]
        while ids:
            try:
                (data,) = self._db.execute("SELECT data FROM messages WHERE id = ?", (ids[-1],)).fetchone()
            except (sqlite3.Error, TypeError):
                data = b""
            if data and data[-1]:
                return
            for column in columns:
                column.pop()
            if data:  # pages are filled in order, so all before this one are whole
                return

    def _read_rows(self) -> None:
        """Where each message lies. Behind a damaged page it goes on in growing steps, until no row is found."""
        ids, topics, times = array("q"), array("q"), array("q")
        last, step, error = 0, 1, None
        while last < _MOST_ROWS:
            try:
                query = "SELECT id, topic_id, timestamp FROM messages WHERE id > ? ORDER BY id"
                for row in self._db.execute(query, (last,)):
                    number, topic, time_ns = array("q", row)
                    ids.append(number)
                    topics.append(topic)
                    times.append(time_ns)
                    last, step = number, 1
                break
            except (sqlite3.Error, TypeError, OverflowError) as why:  # a damaged row may hold any type
                error = error or why
                last, step = last + step, step * 2
        if self._cut_short():
            error = error or sqlite3.DatabaseError("its end is missing")
            self._drop_torn_end(ids, topics, times)
        if error is not None and not ids:
            raise StorageError(str(error))
        self._ids, self._topics, self._times = (np.array(column, np.int64) for column in (ids, topics, times))
        self.start_ns = int(self._times.min(initial=2**63 - 1)) if len(ids) else 0
        self.end_ns = int(self._times.max()) if len(ids) else 0
        found, counts = np.unique(self._topics, return_counts=True)
        of_topic = dict(zip(found.tolist(), counts.tolist(), strict=True))
        self.connections = [
            Connection(c.id, c.topic, c.msgtype, c.encoding, c.definition, of_topic.get(c.id, 0))
            for c in self.connections
        ]
        if error is None:
            return
        self._lost(
            f"{self._path} was cut short or is damaged ({error}): {len(ids)} messages "
            f"({(self.end_ns - self.start_ns) * 1e-9:.1f} s) are found, the others are left out; SQLite's '.recover' "
            "writes what is whole as a sound file"
        )
