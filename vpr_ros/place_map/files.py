"""Creating, opening and checking map files; everything that can be wrong with one becomes one sentence."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.lfs import refuse_pointer
from vpr_ros.place_map import schema

REQUIRED_META = {"map_id", "version", "fingerprint", "dim", "preprocessing", "place_radius_m", "frame_id", "model_name"}
_BUSY_TIMEOUT_S = 5.0
# SQLite's own words (Python 3.10 gives no error codes) -> what they mean to the owner of a map
_SENTENCES = {
    "disk is full": "the disk is full: free some space",
    "disk i/o error": "the disk refused to write or read (full, over quota, or failing): free space and check it",
    "readonly": "it cannot be written: check the permissions of the file and of its directory, or copy it elsewhere",
    "locked": "another process is writing it: stop that process first",
    "not a database": "it is not a place map (no SQLite file): give the file that `vpr_ros map` wrote",
    "malformed": "the file is damaged or was cut short: restore a copy or map the drive again",
    "no such table": "the file is damaged (a table is missing): restore a copy or map the drive again",
    "no such column": "the file is damaged (a column is missing): restore a copy or map the drive again",
    "user-defined function": "the file is damaged (a text in it is none): restore a copy or map the drive again",
    "could not decode": "the file is damaged (a text in it is none): restore a copy or map the drive again",
    "unable to open": "it cannot be opened: check the permissions of the file and of its directory",
}


def explain(error: Exception, path: str | Path, doing: str) -> VprError:
    """The sentence for an SQLite error that met `doing` ("read", "save 3 keyframes to", ...) the map at `path`."""
    text = str(error).lower()
    meaning = next((sentence for words, sentence in _SENTENCES.items() if words in text), str(error))
    return VprError(f"could not {doing} map {path}: {meaning}")


def beside(path: Path, suffix: str) -> Path:
    """SQLite's companion file: `-wal`, `-shm` or `-journal`."""
    return path.with_name(path.name + suffix)


def connect(path: Path, query: str, timeout_s: float = _BUSY_TIMEOUT_S) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?{query}",
        uri=True,
        isolation_level=None,  # transactions are begun and ended by us alone
        check_same_thread=False,
        timeout=timeout_s,
    )
    db.execute("PRAGMA foreign_keys=ON")
    schema.add_functions(db)
    return db


def require_folder(path: Path) -> None:
    """VprError unless a map can be made at `path`: its folder is there and may be written."""
    if not path.parent.is_dir():
        raise VprError(f"cannot create map {path}: the directory {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise VprError(f"cannot create map {path}: the directory {path.parent} is not writable")


def create(path: Path, meta: dict[str, Any]) -> None:
    """Write an empty map. It appears under its name only when it is complete, so that no kill leaves half a map."""
    taken = VprError(f"map {path} exists already: choose another name, or add a session to it")
    if path.exists():
        raise taken
    require_folder(path)
    try:
        with whole_file(path, replace=False, explain=lambda error: explain(error, path, "create")) as draft:
            try:
                db = connect(draft, "mode=rwc")
                try:
                    db.execute("PRAGMA synchronous=FULL")
                    schema.create_tables(db, meta)
                finally:
                    db.close()
            finally:
                beside(draft, "-journal").unlink(missing_ok=True)
    except FileExistsError:
        raise taken from None
    except sqlite3.Error as error:
        raise explain(error, path, "create") from error


def open_readonly(path: Path, unchecked: str = "") -> sqlite3.Connection:
    """Connection that never changes the map; works on read-only media.

    A map of a much older schema is lifted in a temporary copy. Raises VprError for whatever is wrong with the file,
    less flipped bits in the table `unchecked`.
    """
    _check_file(path)
    try:
        directory_writable = os.access(path.parent, os.W_OK)
        companions = [beside(path, suffix) for suffix in ("-wal", "-journal")]
        left_open = any(map(size, companions))
        if directory_writable and os.access(path, os.W_OK) and any(file.exists() for file in companions):
            _recover(path)
        # Without write permission SQLite cannot make the -shm file that a WAL header asks for; immutable=1 does
        # without, but would also ignore a write-ahead log, so only where there is none.
        query = "mode=ro" if directory_writable or left_open else "mode=ro&immutable=1"
        db = connect(path, query)
        try:
            _verify(db, path, unchecked)
            if schema.schema_version(db) < schema.READ_AS_IS:
                db = _lifted_copy(db)
        except BaseException:
            db.close()
            raise
        return db
    except sqlite3.Error as error:
        if size(beside(path, "-wal")) and "unable to open" in str(error):
            raise VprError(
                f"map {path} was not closed and its directory is read-only: copy it together with its -wal file "
                "to a writable directory and open it there"
            ) from error
        raise explain(error, path, "read") from error


def open_writable(path: Path, unchecked: str = "") -> sqlite3.Connection:
    """Connection in WAL mode inside an open write transaction, which keeps other writers out.

    Lifts an older schema in place. Raises VprError as `open_readonly` does.
    """
    _check_file(path)
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise VprError(
            f"map {path} cannot be written: check the permissions of the file and of the directory {path.parent}, "
            "or copy it elsewhere"
        )
    db = connect(path, "mode=rw", timeout_s=0.0)  # a second writer must not wait for the moment between two commits
    try:
        _verify(db, path, unchecked)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        if schema.schema_version(db) < schema.SCHEMA_VERSION:
            schema.migrate(db)
        db.execute("BEGIN IMMEDIATE")
        db.execute(f"PRAGMA busy_timeout={int(_BUSY_TIMEOUT_S * 1000)}")
    except sqlite3.Error as error:
        db.close()
        raise explain(error, path, "write") from error
    except BaseException:
        db.close()
        raise
    return db


def close_writable(db: sqlite3.Connection) -> None:
    """Fold the log into the one map file. While a reader is attached the log stays, and the map stays valid."""
    try:
        with suppress(sqlite3.OperationalError):
            if db.in_transaction:
                db.execute("ROLLBACK")
            db.execute("PRAGMA busy_timeout=200")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA journal_mode=DELETE")
    finally:
        db.close()


def size(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def _check_file(path: Path) -> None:
    # Only stat and access: opening and closing the file here would drop the locks of another PlaceMap of this process.
    if not path.exists():
        raise VprError(f"map {path} does not exist: make it with `vpr_ros map BAG -o {path}`")
    if path.is_dir():
        raise VprError(f"map {path} is a directory: give the map file in it")
    if not os.access(path, os.R_OK):
        raise VprError(f"map {path} may not be read: check its permissions")
    if path.stat().st_size == 0:
        raise VprError(f"map {path} is empty (zero bytes): restore a copy or map the drive again")
    refuse_pointer(path, "map")


def _verify(db: sqlite3.Connection, path: Path, unchecked: str) -> None:
    """Raise VprError unless this is an undamaged place map of a schema that we know."""
    db.execute("BEGIN")  # of one state, even while another process is mapping
    try:
        _require_map(db, path)
        _require_undamaged(db, path, unchecked)
    finally:
        if db.in_transaction:
            db.execute("COMMIT")


def _require_map(db: sqlite3.Connection, path: Path) -> None:
    application, version = db.execute("PRAGMA application_id").fetchone()[0], schema.schema_version(db)
    if application != schema.APPLICATION_ID:
        raise VprError(f"{path} is an SQLite file but not a place map: give the file that `vpr_ros map` wrote")
    if version > schema.SCHEMA_VERSION:
        raise VprError(
            f"map {path} has schema version {version}, and this vpr_ros reads up to {schema.SCHEMA_VERSION}: "
            "update vpr_ros"
        )
    if any(v not in schema.MIGRATIONS for v in range(version, schema.SCHEMA_VERSION)):
        raise VprError(f"map {path} has the unknown schema version {version}: map the drive again")
    # SQLite overlooks a cut within the last page; a write-ahead log may hold pages that the file does not have yet.
    pages, page_size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    if not size(beside(path, "-wal")) and path.stat().st_size < pages * page_size:
        raise VprError(f"map {path} was cut short: restore a copy or map the drive again")


def _require_undamaged(db: sqlite3.Connection, path: Path, unchecked: str) -> None:
    tables = set(schema.CORE_TABLES)
    if schema.schema_version(db) >= schema.SUMS_SINCE:  # the sums look at every row of the large table
        tables = tables - {"descriptors"} | {"checksums"}
    for table in sorted(tables):
        faults = db.execute(f"PRAGMA quick_check('{table}')").fetchall()
        if faults != [("ok",)]:
            raise VprError(
                f"map {path} is damaged or was cut short (table {table}): restore a copy or map the drive again"
            )
    missing = REQUIRED_META - {key for (key,) in db.execute("SELECT key FROM meta")}
    if missing:
        names = ", ".join(sorted(missing))
        raise VprError(f"map {path} is damaged (it lacks {names}): restore a copy or map the drive again")
    damage = schema.damage(db, unchecked)
    if damage:
        cure = f", or make the descriptors anew with `vpr_ros redescribe {path}`" if "descriptor" in damage else ""
        raise VprError(f"map {path} is damaged ({damage}): restore a copy or map the drive again{cure}")


def _recover(path: Path) -> None:
    """Bring in what a killed process had saved; a process that is still mapping keeps its lock and is left alone."""
    with suppress(sqlite3.OperationalError):
        db = connect(path, "mode=rw", timeout_s=0.0)
        try:
            db.execute("SELECT count(*) FROM meta")
            db.execute("PRAGMA journal_mode=DELETE")
        finally:
            db.close()


def _lifted_copy(db: sqlite3.Connection) -> sqlite3.Connection:
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # private, on disk, gone when closed
    schema.add_functions(copy)
    db.backup(copy)
    db.close()
    schema.migrate(copy)
    copy.execute("PRAGMA foreign_keys=ON")
    return copy
