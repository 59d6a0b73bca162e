"""The tables of a map file, sums that tell flipped bits in them, and the way from every older layout to this one."""

import json
import math
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vpr_ros.plain_files import parse_json

APPLICATION_ID = 0x5650524D  # "VPRM" in the SQLite header: tells a place map from any other SQLite file
SCHEMA_VERSION = 5  # kept in PRAGMA user_version
READ_AS_IS = 3  # files from this version on are read without being lifted
SUMS_SINCE = 4

_POSE_PARTS = ("x", "y", "z", "qx", "qy", "qz", "qw")
ODOM_COLUMNS = tuple(f"odom_{part}" for part in _POSE_PARTS)
MAP_COLUMNS = tuple(f"map_{part}" for part in _POSE_PARTS)
POSE_COLUMNS = ODOM_COLUMNS + MAP_COLUMNS
KEYFRAME_COLUMNS = ("id", "session", "stamp_ns", *POSE_COLUMNS, "covariance")
# What a robot needs to localise; images, clouds and local features may be large and are read one at a time.
CORE_TABLES = ("meta", "sessions", "keyframes", "descriptors")
PAYLOAD_TABLES = {"descriptors": "vector", "thumbnails": "jpeg", "clouds": "points", "features": "points"}
_OF_VERSION_4 = ("descriptors", "thumbnails", "clouds")

_ORIGINS = """CREATE TABLE origins (
    map_id TEXT NOT NULL, old_id INTEGER NOT NULL,
    id INTEGER NOT NULL REFERENCES keyframes(id) ON DELETE CASCADE,
    PRIMARY KEY (map_id, old_id)) WITHOUT ROWID"""

# CRC-32 of a keyframe's row, and of what each of the other tables holds of it (NULL where that is nothing). A table of
# its own, so that old maps get it without being written anew.


def _checksums(tables: Iterable[str]) -> str:
    return f"""CREATE TABLE checksums (
        id INTEGER PRIMARY KEY REFERENCES keyframes(id) ON DELETE CASCADE,
        keyframes INTEGER NOT NULL, {", ".join(f"{table} INTEGER" for table in tables)})"""


def _payload_table(table: str) -> str:
    return f"""CREATE TABLE {table} (
        id INTEGER PRIMARY KEY REFERENCES keyframes(id) ON DELETE CASCADE, {PAYLOAD_TABLES[table]} BLOB NOT NULL)"""


# AUTOINCREMENT: an id that was handed out is never given to another keyframe, even after a prune.
TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, created TEXT NOT NULL,
        source TEXT NOT NULL DEFAULT '', total BLOB, frames REAL, checksum INTEGER)""",
    f"""CREATE TABLE keyframes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session INTEGER NOT NULL REFERENCES sessions(id), stamp_ns INTEGER NOT NULL,
        {", ".join(f"{column} REAL" for column in POSE_COLUMNS)}, covariance BLOB,
        UNIQUE (session, stamp_ns))""",
    *map(_payload_table, PAYLOAD_TABLES),
    _checksums(PAYLOAD_TABLES),
    _ORIGINS,
    "CREATE INDEX origins_by_id ON origins(id)",
)


# Settings that hold something of each session, under its number as text: its camera, views that the map answered
# already, keyframes that were removed again.
OF_SESSIONS = ("cameras", "passed_over", "removed")
_META_SUM = "checksum"  # key of the sum of all other settings
_ROW = f"crc32_of_keyframe({', '.join(f'k.{column}' for column in KEYFRAME_COLUMNS)})"
_KEYFRAME = struct.Struct(f"<3q{len(POSE_COLUMNS)}d")
_SESSION = "crc32_of_row(id, name, created, source, total, frames)"


def _from_1(db: sqlite3.Connection) -> None:
    """Version 1 knew neither pose covariance, nor where a session came from, nor merged maps."""
    db.execute("ALTER TABLE keyframes ADD COLUMN covariance BLOB")
    db.execute("ALTER TABLE sessions ADD COLUMN source TEXT NOT NULL DEFAULT ''")
    db.execute(_ORIGINS)
    db.execute("CREATE INDEX origins_by_id ON origins(id)")


def _from_2(db: sqlite3.Connection) -> None:
    """Version 2 kept no sum of a session's descriptors; it is NULL where only the keyframes can tell it."""
    db.execute("ALTER TABLE sessions ADD COLUMN total BLOB")
    db.execute("ALTER TABLE sessions ADD COLUMN frames REAL")


def _from_3(db: sqlite3.Connection) -> None:
    """Version 3 had no sums: what stands in the file now is taken for right."""
    db.execute("ALTER TABLE sessions ADD COLUMN checksum INTEGER")
    db.execute(_checksums(_OF_VERSION_4))
    seal_keyframes(db, tables=_OF_VERSION_4)
    seal_sessions(db)
    _seal_meta(db)


def _from_4(db: sqlite3.Connection) -> None:
    """Version 4 had no local features."""
    db.execute(_payload_table("features"))
    db.execute("ALTER TABLE checksums ADD COLUMN features INTEGER")


# version -> function that lifts a file from that version to the next, inside the caller's transaction
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1, 2: _from_2, 3: _from_3, 4: _from_4}


def schema_version(db: sqlite3.Connection) -> int:
    return db.execute("PRAGMA user_version").fetchone()[0]


def migrate(db: sqlite3.Connection) -> None:
    """Lift a file of any older version to SCHEMA_VERSION in one transaction: a crash leaves the old file."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for version in range(schema_version(db), SCHEMA_VERSION):
            MIGRATIONS[version](db)
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def create_tables(db: sqlite3.Connection, meta: dict[str, Any]) -> None:
    """Make an empty map with these settings, in one transaction."""
    db.execute("BEGIN IMMEDIATE")
    for statement in TABLES:
        db.execute(statement)
    for key, value in meta.items():
        put_meta(db, key, value)
    db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    db.execute("COMMIT")


def read_meta(db: sqlite3.Connection) -> dict[str, Any]:
    return {key: parse_json(value) for key, value in db.execute("SELECT key, value FROM meta")}


def put_meta(db: sqlite3.Connection, key: str, value: Any) -> None:
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, json.dumps(value)))
    _seal_meta(db)


def count_more(db: sqlite3.Connection, key: str, more: Mapping[int, int]) -> None:
    """Add to the numbers that the setting `key` holds of each session."""
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    counts: dict[str, int] = parse_json(row[0]) if row else {}
    put_meta(db, key, counts | {str(session): counts.get(str(session), 0) + n for session, n in more.items()})


# Sums. They are made of what SQLite gives back, after it was written: of a number as it is kept, not as it was given.


def add_functions(db: sqlite3.Connection) -> None:
    """Give a connection the SQL functions that the sums are made with."""
    db.create_function("crc32", 1, _crc32, deterministic=True)
    db.create_function("crc32_of_keyframe", len(KEYFRAME_COLUMNS), _crc32_of_keyframe, deterministic=True)
    db.create_function("crc32_of_row", -1, _crc32_of_row, deterministic=True)


def seal_keyframes(
    db: sqlite3.Connection, ids: Iterable[int] | None = None, tables: Iterable[str] = tuple(PAYLOAD_TABLES)
) -> None:
    """Note the sums of new keyframes and of all that `tables` keep of them; of all keyframes without `ids`."""
    statement = f"INSERT OR REPLACE INTO checksums SELECT k.id, {_ROW}, {', '.join(map(_payload, tables))}"
    _for_each(db, f"{statement} FROM keyframes k", "k.id", ids)


def seal(db: sqlite3.Connection, table: str, ids: Iterable[int] | None = None) -> None:
    """Note the sums anew of keyframes whose row in one table was changed: "keyframes" or a table of PAYLOAD_TABLES."""
    value = f"(SELECT {_ROW} FROM keyframes k WHERE k.id = checksums.id)"
    if table != "keyframes":
        value = _payload(table).replace("k.id", "checksums.id")
    _for_each(db, f"UPDATE checksums SET {table} = {value}", "id", ids)


def seal_sessions(db: sqlite3.Connection, ids: Iterable[int] | None = None) -> None:
    """Note the sums of sessions that are new or were changed."""
    _for_each(db, f"UPDATE sessions SET checksum = {_SESSION}", "id", ids)


def damage(db: sqlite3.Connection, without: str = "") -> str:
    """Where a file does not hold what was written to it, in a few words; empty where it does, or is too old to know.

    Sums of the table `without` are left out. Images, clouds and local features may be large: they are compared when
    they are read.
    """
    if schema_version(db) < SUMS_SINCE:
        return ""
    if db.execute("SELECT value FROM meta WHERE key = ?", (_META_SUM,)).fetchone() != (_sum_of_meta(db),):
        return "its settings are not those that were written"
    rows = "FROM keyframes k NOT INDEXED LEFT JOIN checksums c ON c.id = k.id WHERE"
    for table, what, now in (
        ("keyframes", "the stamp or pose", _ROW),
        ("descriptors", "the descriptor", _payload("descriptors")),
    ):
        if table != without:
            select = f"SELECT count(*), min(k.id) {rows} c.{table} IS NOT {now}"
            count, first = db.execute(select).fetchone()
            if count:
                return f"{what} of keyframe {first} is not what was written, {count} in all"
    counts = "SELECT (SELECT count(*) FROM checksums), (SELECT count(*) FROM keyframes NOT INDEXED)"
    written, left = db.execute(counts).fetchone()
    if written != left:
        return f"it has {left} of {written} keyframes"
    session = db.execute(f"SELECT id FROM sessions WHERE checksum IS NOT {_SESSION}").fetchone()
    return "" if session is None else f"session {session[0]} is not what was written"


def payload_tables(db: sqlite3.Connection) -> dict[str, str]:
    """Those of PAYLOAD_TABLES that a file has: older ones, which are read as they are, lack the newest."""
    old = schema_version(db) < SCHEMA_VERSION
    return {table: column for table, column in PAYLOAD_TABLES.items() if not old or table in _OF_VERSION_4}


def payload(db: sqlite3.Connection, table: str, keyframe_id: int) -> bytes | None:
    """What a table of PAYLOAD_TABLES holds of a keyframe, None where nothing; ValueError where bits have flipped."""
    if table not in payload_tables(db):
        return None
    select = f"SELECT {PAYLOAD_TABLES[table]} FROM {table} WHERE id = ?"
    data = (db.execute(select, (keyframe_id,)).fetchone() or (None,))[0]
    if schema_version(db) >= SUMS_SINCE:
        known = (db.execute(f"SELECT {table} FROM checksums WHERE id = ?", (keyframe_id,)).fetchone() or (None,))[0]
        if known != _crc32(data):
            raise ValueError(f"{table} of keyframe {keyframe_id}")
    return data


def _payload(table: str) -> str:
    """SQL for the sum of what a table holds of keyframe k."""
    return f"(SELECT crc32({PAYLOAD_TABLES[table]}) FROM {table} WHERE id = k.id)"


def _for_each(db: sqlite3.Connection, statement: str, column: str, ids: Iterable[int] | None) -> None:
    if ids is None:
        db.execute(statement)
    else:
        db.executemany(f"{statement} WHERE {column} = ?", ((i,) for i in ids))


def _seal_meta(db: sqlite3.Connection) -> None:
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (_META_SUM, _sum_of_meta(db)))


def _sum_of_meta(db: sqlite3.Connection) -> str:
    rows = db.execute("SELECT key, value FROM meta NOT INDEXED WHERE key != ? ORDER BY key", (_META_SUM,)).fetchall()
    return str(_crc32_of_row(*rows))


def _crc32(data: object) -> int | None:
    if data is None:
        return None
    return zlib.crc32(data) if isinstance(data, bytes) else -1  # one flipped bit makes a text of bytes


def _crc32_of_keyframe(*values: float | bytes | None) -> int:
    """Of a row in the order of KEYFRAME_COLUMNS: little-endian integers and doubles, NaN for NULL, then the blob."""
    *numbers, covariance = values
    if None in numbers:
        numbers = [math.nan if number is None else number for number in numbers]
    own = zlib.crc32(_KEYFRAME.pack(*numbers))
    return own if covariance is None else zlib.crc32(covariance, own)  # type: ignore[arg-type]


def _crc32_of_row(*values: object) -> int:
    return zlib.crc32(repr(values).encode())
