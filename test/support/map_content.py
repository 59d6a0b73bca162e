"""What two maps share when they are the same: all but their names and when they were made."""

from vpr_ros.place_map import PlaceMap

_ROWS = ("keyframes", "descriptors", "thumbnails", "clouds", "features", "checksums")
_OWN = ("map_id", "version", "created", "checksum")


def content(path):
    """Every row of a map's tables, sessions without their times, and its settings."""
    with PlaceMap.open(path) as place_map, place_map.reading() as db:
        rows = {table: db.execute(f"SELECT * FROM {table} ORDER BY id").fetchall() for table in _ROWS}
        rows["sessions"] = db.execute("SELECT id, name, source, total, frames FROM sessions ORDER BY id").fetchall()
        rows["meta"] = [row for row in db.execute("SELECT key, value FROM meta ORDER BY key") if row[0] not in _OWN]
        return rows
