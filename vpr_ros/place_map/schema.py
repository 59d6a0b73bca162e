"""The tables of a map file and the way from every older layout to the present one."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

from vpr_ros.plain_files import parse_json

APPLICATION_ID = 0x5650524D  # "VPRM" in the SQLite header: tells a place map from any other SQLite file
SCHEMA_VERSION = 3  # kept in PRAGMA user_version

_POSE_PARTS = ("x", "y", "z", "qx", "qy", "qz", "qw")
ODOM_COLUMNS = tuple(f"odom_{part}" for part in _POSE_PARTS)
MAP_COLUMNS = tuple(f"map_{part}" for part in _POSE_PARTS)
POSE_COLUMNS = ODOM_COLUMNS + MAP_COLUMNS
KEYFRAME_COLUMNS = ("id", "session", "stamp_ns", *POSE_COLUMNS, "covariance")
# What a robot needs to localise; images and clouds may be large and are read one at a time.
CORE_TABLES = ("meta", "sessions", "keyframes", "descriptors")
PAYLOAD_TABLES = {"descriptors": "vector", "thumbnails": "jpeg", "clouds": "points"}

_ORIGINS = """CREATE TABLE origins (
    map_id TEXT NOT NULL, old_id INTEGER NOT NULL,
    id INTEGER NOT NULL REFERENCES keyframes(id) ON DELETE CASCADE,
    PRIMARY KEY (map_id, old_id)) WITHOUT ROWID"""

# AUTOINCREMENT: an id that was handed out is never given to another keyframe, even after a prune.
TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE sessions (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, created TEXT NOT NULL,
        source TEXT NOT NULL DEFAULT '', total BLOB, frames REAL)""",
    f"""CREATE TABLE keyframes (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        session INTEGER NOT NULL REFERENCES sessions(id), stamp_ns INTEGER NOT NULL,
        {", ".join(f"{column} REAL" for column in POSE_COLUMNS)}, covariance BLOB,
        UNIQUE (session, stamp_ns))""",
    *(
        f"""CREATE TABLE {table} (
        id INTEGER PRIMARY KEY REFERENCES keyframes(id) ON DELETE CASCADE, {column} BLOB NOT NULL)"""
        for table, column in PAYLOAD_TABLES.items()
    ),
    _ORIGINS,
    "CREATE INDEX origins_by_id ON origins(id)",
)


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


# version -> function that lifts a file from that version to the next, inside the caller's transaction
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _from_1, 2: _from_2}


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
