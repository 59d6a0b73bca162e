"""Several maps into one file."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vpr_ros.atomic import whole_file
from vpr_ros.errors import VprError
from vpr_ros.place_map import files
from vpr_ros.place_map.schema import (
    KEYFRAME_COLUMNS,
    OF_SESSIONS,
    SUMS_SINCE,
    payload_tables,
    put_meta,
    read_meta,
    schema_version,
    seal_keyframes,
    seal_sessions,
)
from vpr_ros.place_map.store import PlaceMap


def merge(
    out: str | Path, paths: Sequence[str | Path], place_radius_m: float | None = None, same_frame: bool = False
) -> dict[str, Any]:
    """Write the sessions of several maps into a new map `out`, which appears only when it is complete.

    Keyframes get new ids, permanent in the new map; `PlaceMap.current_id(old map id, old id)` finds them again, also
    through several merges. The maps must come from one model and share frame and datum; with `same_frame` their poses
    are known to be in the frame of the first map, whose name and datum are taken. Calibrations are left behind: each
    was fitted on another set of places. Returns {"map_id", "maps", "sessions", "keyframes"}.

    Raises VprError when the maps do not fit together, hold the same keyframes, or `out` exists.
    """
    out = Path(out)
    taken = VprError(f"map {out} exists already: choose another name for the merged map")
    if out.exists():
        raise taken
    if len(paths) < 2:
        raise VprError("merging needs at least two maps")
    with ExitStack() as opened:
        sources = [opened.enter_context(PlaceMap.open(path)) for path in paths]
        radius_m = _common_settings(sources, place_radius_m, same_frame)
        files.require_folder(out)
        try:
            with whole_file(out, replace=False, explain=lambda error: files.explain(error, out, "create")) as draft:
                return _write(draft, out, sources, radius_m)
        except FileExistsError:
            raise taken from None


def _write(draft: Path, out: Path, sources: list[PlaceMap], place_radius_m: float) -> dict[str, Any]:
    """Merge into the file `draft`, which is to become `out`; returns what `merge` does."""
    first = sources[0]
    try:
        merged = PlaceMap.create(
            draft,
            fingerprint=first.fingerprint,
            dim=first.dim,
            parts=first.parts,
            preprocessing=first.preprocessing,
            place_radius_m=place_radius_m,
            frame_id=first.frame_id,
            datum=first.datum,
            model_name=first.model_name,
        )
        with merged:
            for source in sources:
                _append(merged, source)
            return {
                "map_id": merged.map_id,
                "maps": len(sources),
                "sessions": len(merged.sessions()),
                "keyframes": len(merged),
            }
    except VprError as error:
        raise VprError(str(error).replace(str(draft), str(out))) from error
    finally:
        for leftover in (files.beside(draft, "-wal"), files.beside(draft, "-shm")):
            leftover.unlink(missing_ok=True)


def _common_settings(sources: list[PlaceMap], place_radius_m: float | None, same_frame: bool) -> float:
    """Raise VprError where two maps cannot share a file; returns the place radius of the merged one."""
    first = sources[0]
    seen: dict[str, Path] = {}
    for other in sources:
        if other.fingerprint != first.fingerprint or other.dim != first.dim:
            raise VprError(
                f"maps {first.path} ({first.model_name or 'model'} {first.fingerprint[:12]}) and {other.path} "
                f"({other.model_name or 'model'} {other.fingerprint[:12]}) were made with different models: "
                "run `vpr_ros redescribe` on one of them first"
            )
        if not same_frame and (other.frame_id != first.frame_id or other.datum != first.datum):
            raise VprError(
                f"maps {first.path} (frame {first.frame_id!r}, datum {first.datum}) and {other.path} (frame "
                f"{other.frame_id!r}, datum {other.datum}) do not share a frame: bring them into one with "
                "`vpr_ros align` and `vpr_ros poses`, and say that it is done with --same-frame"
            )
        if place_radius_m is None and other.place_radius_m != first.place_radius_m:
            raise VprError(
                f"maps {first.path} and {other.path} have different place radii ({first.place_radius_m:g} and "
                f"{other.place_radius_m:g}): give the radius of the merged map with --place-radius"
            )
        known = next((one for one in sources if one.local_features), other)
        if other.local_features and other.local_features != known.local_features:
            raise VprError(
                f"maps {known.path} ({known.local_features}) and {other.path} ({other.local_features}) have local "
                "features of two kinds, which cannot be compared: make those of one anew with "
                "`vpr_ros redescribe --features`"
            )
        with other.reading() as db:
            ancestors = [row[0] for row in db.execute("SELECT DISTINCT map_id FROM origins")]
        for map_id in {other.map_id, *ancestors}:
            if map_id in seen:
                raise VprError(
                    f"maps {seen[map_id]} and {other.path} both hold keyframes of map {map_id}, which would be in the "
                    "merged map twice: leave one of the two out"
                )
            seen[map_id] = other.path
    return first.place_radius_m if place_radius_m is None else place_radius_m


def _append(merged: PlaceMap, source: PlaceMap) -> None:
    """Copy everything of one map, its ids shifted behind the ids in use."""
    with source.reading() as old, merged.edit() as new:
        last = dict(new.execute("SELECT name, seq FROM sqlite_sequence"))
        shift, session_shift = last.get("keyframes", 0), last.get("sessions", 0)
        new.executemany(
            "INSERT INTO sessions (id, name, created, source, total, frames) VALUES (?, ?, ?, ?, ?, ?)",
            old.execute("SELECT id + ?, name, created, source, total, frames FROM sessions", (session_shift,)),
        )
        values = ", ".join("?" * len(KEYFRAME_COLUMNS))
        new.executemany(
            f"INSERT INTO keyframes ({', '.join(KEYFRAME_COLUMNS)}) VALUES ({values})",
            old.execute(
                f"SELECT id + ?, session + ?, {', '.join(KEYFRAME_COLUMNS[2:])} FROM keyframes ORDER BY id",
                (shift, session_shift),
            ),
        )
        tables = payload_tables(old)
        for table, column in tables.items():
            new.executemany(
                f"INSERT INTO {table} (id, {column}) VALUES (?, ?)",
                old.execute(f"SELECT id + ?, {column} FROM {table} ORDER BY id", (shift,)),
            )
        seal_sessions(new)
        seal_keyframes(new, (i for (i,) in new.execute("SELECT id FROM keyframes WHERE id > ?", (shift,)).fetchall()))
        if schema_version(old) >= SUMS_SINCE:  # what is damaged in the source stays known as damaged
            columns = [table for table in tables if table != "descriptors"]  # these were checked
            new.executemany(
                f"UPDATE checksums SET {', '.join(f'{column} = ?' for column in columns)} WHERE id = ?",
                old.execute(f"SELECT {', '.join(columns)}, id + ? FROM checksums", (shift,)),
            )
        ours, theirs = read_meta(new), read_meta(old)
        sessions = {str(i): str(i + session_shift) for (i,) in old.execute("SELECT id FROM sessions")}
        for key in OF_SESSIONS:
            shifted = {sessions[i]: one for i, one in theirs.get(key, {}).items() if i in sessions}
            if shifted:
                put_meta(new, key, {**ours.get(key, {}), **shifted})
        put_meta(new, "local_features", merged.local_features or source.local_features)
        origins = "INSERT INTO origins (map_id, old_id, id) VALUES (?, ?, ?)"
        new.executemany(origins, old.execute("SELECT map_id, old_id, id + ? FROM origins", (shift,)))
        new.executemany(origins, old.execute("SELECT ?, id, id + ? FROM keyframes", (source.map_id, shift)))
