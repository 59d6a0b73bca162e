"""Several maps into one file."""

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Facts:
    """What of a map decides whether it fits another."""

    path: Path
    model: tuple[str, int]  # fingerprint, numbers of a descriptor
    model_name: str
    parts: tuple[int, ...]
    preprocessing: dict[str, Any]
    frame: tuple[str, tuple[float, float, float] | None]  # its name and datum
    place_radius_m: float
    local_features: str | None
    holds: frozenset[str]  # the map and those that went into it, by id

    @classmethod
    def of(cls, place_map: PlaceMap) -> "_Facts":
        return cls(
            place_map.path,
            (place_map.fingerprint, place_map.dim),
            place_map.model_name,
            place_map.parts,
            place_map.preprocessing,
            (place_map.frame_id, place_map.datum),
            place_map.place_radius_m,
            place_map.local_features,
            ancestors(place_map) | {place_map.map_id},
        )

    @property
    def model_text(self) -> str:
        return f"{self.model_name or 'model'} {self.model[0][:12]}"


def ancestors(place_map: PlaceMap) -> frozenset[str]:
    """Ids of the maps of which a map has keyframes."""
    with place_map.reading() as db:
        return frozenset(row[0] for row in db.execute("SELECT DISTINCT map_id FROM origins"))


def merge(
    out: str | Path, paths: Sequence[str | Path], place_radius_m: float | None = None, same_frame: bool = False
) -> dict[str, Any]:
    """Write the sessions of several maps into a new map `out`, which appears only when it is complete.

    Keyframes get new ids, permanent in the new map; `PlaceMap.current_id(old map id, old id)` finds them again, also
    through several merges. The maps must come from one model and share frame and datum; with `same_frame` their poses
    are known to be in the frame of the first map, whose name and datum are taken. Calibrations are left behind: each
    was fitted on another set of places. One map is open at a time, however many there are. Returns {"map_id", "maps",
    "sessions", "keyframes"}.

    Raises VprError when the maps do not fit together, hold the same keyframes, or `out` exists.
    """
    out = Path(out)
    taken = VprError(f"map {out} exists already: choose another name for the merged map")
    if out.exists():
        raise taken
    if len(paths) < 2:
        raise VprError("merging needs at least two maps")
    sources = [_facts(path) for path in paths]
    radius_m = _common_settings(sources, place_radius_m, same_frame)
    files.require_folder(out)
    try:
        with whole_file(out, replace=False, explain=lambda error: files.explain(error, out, "create")) as draft:
            return _write(draft, out, sources, radius_m)
    except FileExistsError:
        raise taken from None


def append(place_map: PlaceMap, path: str | Path) -> None:
    """Add the sessions of another map to one that is open for writing, all or nothing, under the rules of `merge`.

    Raises VprError where the two do not fit together.
    """
    with PlaceMap.open(path) as source:
        _common_settings([_Facts.of(place_map), _Facts.of(source)], None, False)
        _append(place_map, source)


def _facts(path: str | Path) -> _Facts:
    with PlaceMap.open(path) as place_map:
        return _Facts.of(place_map)


def _write(draft: Path, out: Path, sources: list[_Facts], place_radius_m: float) -> dict[str, Any]:
    """Merge into the file `draft`, which is to become `out`; returns what `merge` does."""
    first = sources[0]
    try:
        merged = PlaceMap.create(
            draft,
            fingerprint=first.model[0],
            dim=first.model[1],
            parts=first.parts,
            preprocessing=first.preprocessing,
            place_radius_m=place_radius_m,
            frame_id=first.frame[0],
            datum=first.frame[1],
            model_name=first.model_name,
        )
        with merged:
            for source in sources:
                with PlaceMap.open(source.path) as opened:
                    _append(merged, opened)
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


def _common_settings(sources: Sequence[_Facts], place_radius_m: float | None, same_frame: bool) -> float:
    """Raise VprError where two maps cannot share a file; returns the place radius of the merged one."""
    first, known = sources[0], next((one for one in sources if one.local_features), sources[0])
    seen: dict[str, Path] = {}
    for other in sources:
        if other.model != first.model:
            raise VprError(
                f"maps {first.path} ({first.model_text}) and {other.path} ({other.model_text}) were made with "
                "different models: run `vpr_ros redescribe` on one of them first"
            )
        if not same_frame and other.frame != first.frame:
            (frame, datum), (other_frame, other_datum) = first.frame, other.frame
            raise VprError(
                f"maps {first.path} (frame {frame!r}, datum {datum}) and {other.path} (frame "
                f"{other_frame!r}, datum {other_datum}) do not share a frame: bring them into one with "
                "`vpr_ros align` and `vpr_ros poses`, and say that it is done with --same-frame"
            )
        if place_radius_m is None and other.place_radius_m != first.place_radius_m:
            raise VprError(
                f"maps {first.path} and {other.path} have different place radii ({first.place_radius_m:g} and "
                f"{other.place_radius_m:g}): give the radius of the merged map with --place-radius"
            )
        if other.local_features and other.local_features != known.local_features:
            raise VprError(
                f"maps {known.path} ({known.local_features}) and {other.path} ({other.local_features}) have local "
                "features of two kinds, which cannot be compared: make those of one anew with "
                "`vpr_ros redescribe --features`"
            )
        for map_id in sorted(other.holds):
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
        if merged.local_features is None and source.local_features is not None:
            put_meta(new, "local_features", source.local_features)
        origins = "INSERT INTO origins (map_id, old_id, id) VALUES (?, ?, ?)"
        new.executemany(origins, old.execute("SELECT map_id, old_id, id + ? FROM origins", (shift,)))
        new.executemany(origins, old.execute("SELECT ?, id, id + ? FROM keyframes", (source.map_id, shift)))
