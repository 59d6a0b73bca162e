"""Fewer keyframes: by session, age and spacing, and down to a bound."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import rotation_angle
from vpr_ros.place_map.edit import remove_keyframes
from vpr_ros.place_map.keyframes import Keyframes
from vpr_ros.place_map.schema import payload_tables
from vpr_ros.place_map.statistics import centred_rows, complete
from vpr_ros.place_map.store import PlaceMap
from vpr_ros.place_map.thinning.near import Near, answered_at, stretches
from vpr_ros.place_map.thinning.removals import removals

STRETCH_RADII = 16.0  # length of the stretches of a drive that go as a whole, in place radii
ANSWERED_LEAD = 0.15  # similarity over all other places with which a view is answered, and more gains nothing
_LEAST_PAGES = 24  # of a map without keyframes, each table and index having one


@dataclass(frozen=True)
class Bound:
    """How large a map may be; None: as large as it is."""

    keyframes: int | None = None
    file_bytes: float | None = None


def prune(
    place_map: PlaceMap,
    *,
    min_spacing_m: float | None = None,
    heading_deg: float = 15.0,
    bound: Bound | None = None,
    reach: float | None = None,
    drop_sessions: Iterable[int] = (),
    older_than_ns: int | None = None,
    may_empty: bool = False,
    dry_run: bool = False,
) -> dict[str, int]:
    """Remove keyframes for good; their ids are never used again. Returns {"removed", "left"}.

    With `dry_run` nothing is removed, and the map may be open for reading only.

    In this order: whole sessions, keyframes whose image is older than `older_than_ns`, those nearer than
    `min_spacing_m` to the last one kept of their session (unless turned by `heading_deg`; keyframes without a pose
    stay), and then, down to the `bound`, those that others answer for best: of the same place, looking the same way
    (within `heading_deg`), and most alike, as recognition compares them; whole stretches of a drive first (see
    `removals`). Wherever one goes by the bound, one stays within `reach` (None: half the place radius; metres, or
    keyframes of a session without any poses) that looks the same way. The file shrinks when the disk has room to
    rewrite it; else the space is reused. Raises VprError for an unknown session, for a bound that cannot be kept
    without such a hole, and where no keyframe would be left, unless `may_empty`.
    """
    drop_sessions = set(drop_sessions)
    unknown = drop_sessions - {session.id for session in place_map.sessions()}
    if unknown:
        names = ", ".join(map(str, sorted(unknown)))
        raise VprError(f"map {place_map.path} has no session {names}: see `vpr_ros info`")
    keyframes = place_map.keyframes()
    keep = ~np.isin(keyframes.sessions, list(drop_sessions))
    if older_than_ns is not None:
        keep &= keyframes.stamps_ns >= older_than_ns
    if min_spacing_m is not None:
        keep &= _spaced(keyframes, keep, min_spacing_m, np.radians(heading_deg))
    if bound is not None and keep.any():
        reach = place_map.place_radius_m / 2 if reach is None else reach
        keep &= _bounded(place_map, keyframes, keep, bound, reach, np.radians(heading_deg))
    removed = keyframes.ids[~keep]
    if len(removed) and not keep.any() and not may_empty and not dry_run:
        raise VprError(
            f"nothing would be left of the {len(removed)} keyframes of map {place_map.path}: remove fewer of them, or "
            "empty it with --force"
        )
    if (len(removed) or drop_sessions) and not dry_run:
        with place_map.edit() as db:
            remove_keyframes(db, removed.tolist())
            db.executemany("DELETE FROM sessions WHERE id = ?", ((int(i),) for i in drop_sessions))
        try:
            place_map.compact()
        except VprError:
            pass  # no room for a second copy: the pruned map is whole all the same
    return {"removed": len(removed), "left": int(keep.sum())}


def _bounded(
    place_map: PlaceMap, keyframes: Keyframes, keep: np.ndarray, bound: Bound, reach: float, turn_rad: float
) -> np.ndarray:
    """Mask of keyframes (N,) that stay, out of those of the mask `keep`, so that the map keeps the bound."""
    stays, rows = keep.copy(), np.flatnonzero(keep)
    fixed, each = _file_bytes(place_map, keyframes)
    size, count = fixed + float(each[rows].sum()), len(rows)
    most_bytes = np.inf if bound.file_bytes is None else bound.file_bytes
    most = count if bound.keyframes is None else bound.keyframes
    if count <= most and size <= most_bytes:
        return stays
    chosen = keyframes.select(rows)
    statistics = complete(place_map.statistics(), keyframes)
    descriptors, radius = centred_rows(chosen, statistics, place_map.parts), place_map.place_radius_m
    most_alike = answered_at(chosen, descriptors, radius, ANSWERED_LEAD)
    near = Near.of(chosen, descriptors, reach, turn_rad).capped(most_alike)
    for gone in removals(near, stretches(chosen, STRETCH_RADII * radius)):
        stays[rows[gone]] = False
        size, count = size - float(each[rows[gone]].sum()), count - len(gone)
        if count <= most and size <= most_bytes:
            return stays
    raise VprError(
        f"map {place_map.path} cannot be pruned so far without holes: {count} keyframes of about {size / 1e6:.2f} MB "
        f"are needed for one within {reach:g} of each that goes, looking the same way; allow so many, or a larger "
        "--reach, or drop whole sessions"
    )


def _file_bytes(place_map: PlaceMap, keyframes: Keyframes) -> tuple[float, np.ndarray]:
    """Bytes of the file without keyframes, and what each keyframe takes of it (N,)."""
    each = np.zeros(len(keyframes))
    with place_map.reading() as db:
        for table, column in payload_tables(db).items():
            sizes = np.array(db.execute(f"SELECT id, length({column}) FROM {table}").fetchall(), dtype=np.int64)
            ids, lengths = sizes.reshape(-1, 2).T
            each[keyframes.rows_of(ids)] += lengths
        pages, free, page_bytes = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        (settings,) = db.execute("SELECT coalesce(sum(length(value)), 0) FROM meta").fetchone()
        (sessions,) = db.execute("SELECT coalesce(sum(length(total)), 0) FROM sessions").fetchone()
    fixed = float(settings + sessions + _LEAST_PAGES * page_bytes)
    # Rows, sums, and what is left over of pages is shared out by the size of what is kept.
    return fixed, each * max((pages - free) * page_bytes - fixed, 0.0) / max(float(each.sum()), 1.0)


def _spaced(keyframes: Keyframes, keep: np.ndarray, spacing_m: float, turn_rad: float) -> np.ndarray:
    """Mask of keyframes (N,) that are `spacing_m` away from, or turned against, the last one kept of their session.

    One session is judged by one kind of pose: in the map frame if all its keyframes have that, else by odometry.
    """
    chosen = keep.copy()
    for session in np.unique(keyframes.sessions):
        rows = np.flatnonzero((keyframes.sessions == session) & keep)
        poses = keyframes.T_map_base[rows]
        if not np.isfinite(poses).all():
            poses = keyframes.T_odom_base[rows]
        last = None
        for row, T in zip(rows, poses, strict=True):
            if not np.isfinite(T).all():
                continue
            if last is not None and np.linalg.norm(T[:3, 3] - last[:3, 3]) < spacing_m:
                chosen[row] = rotation_angle(T[:3, :3], last[:3, :3]) >= turn_rad
            if chosen[row]:
                last = T
    return chosen
