"""A map's keyframes as plain text for other tools."""

import csv
import errno
import io
import os
from pathlib import Path

from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
from vpr_ros.place_map.schema import MAP_COLUMNS, POSE_COLUMNS
from vpr_ros.place_map.store import PlaceMap
from vpr_ros.sensors.stamps import seconds_text

_POSES = {"map": MAP_COLUMNS, "odom": POSE_COLUMNS[:7]}


def export_csv(place_map: PlaceMap, path: str | Path) -> dict[str, int]:
    """Write one line per keyframe: id, session, stamp in ns, both poses (empty where there is none).

    Returns {"written", "skipped"}. Raises VprError when the file cannot be written.
    """
    header = ("keyframe_id", "session", "session_name", "stamp_ns", *POSE_COLUMNS)
    with place_map.reading() as db:
        rows = db.execute(
            f"SELECT k.id, k.session, s.name, k.stamp_ns, {', '.join(POSE_COLUMNS)} FROM keyframes k NOT INDEXED"
            " JOIN sessions s ON s.id = k.session ORDER BY k.session, k.stamp_ns"
        ).fetchall()
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    _write(Path(path), text.getvalue())
    return {"written": len(rows), "skipped": 0}


def export_tum(place_map: PlaceMap, path: str | Path, pose: str = "map", session: int | None = None) -> dict[str, int]:
    """Write a TUM trajectory, `t x y z qx qy qz qw` with t in seconds, of the "map" or "odom" poses.

    Keyframes without that pose are skipped and counted: returns {"written", "skipped"}. Lines are in the order of
    stamps, as readers of the format expect. Raises VprError when there is nothing to write or the file cannot be made.
    """
    if pose not in _POSES:
        raise VprError(f"a keyframe has poses 'map' and 'odom', not {pose!r}")
    chosen = "" if session is None else "WHERE session = ?"
    with place_map.reading() as db:
        rows = db.execute(
            f"SELECT stamp_ns, {', '.join(_POSES[pose])} FROM keyframes NOT INDEXED {chosen} ORDER BY stamp_ns, id",
            () if session is None else (session,),
        ).fetchall()
    posed = [row for row in rows if row[1] is not None]
    if not posed:
        raise VprError(f"no keyframe of map {place_map.path} has a pose in {pose!r}: there is no trajectory to export")
    lines = [f"{seconds_text(stamp)} " + " ".join(f"{value:.9f}" for value in values) for stamp, *values in posed]
    _write(Path(path), "\n".join(lines) + "\n")
    return {"written": len(posed), "skipped": len(rows) - len(posed)}


def _write(path: Path, text: str) -> None:
    if not path.parent.is_dir():
        raise VprError(f"cannot write {path}: {os.strerror(errno.ENOENT)}")
    write_whole(path, text, explain=lambda error: VprError(f"cannot write {path}: {error.strerror or error}"))
