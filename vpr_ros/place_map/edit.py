"""Changes of a whole map: keyframes removed, other poses, descriptors of another model. Each is all or nothing."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.place_map.describer import Describer
from vpr_ros.place_map.keyframes import PoseRow, pose_row
from vpr_ros.place_map.schema import MAP_COLUMNS, count_more, payload, put_meta, seal, seal_sessions
from vpr_ros.place_map.store import PlaceMap

if TYPE_CHECKING:
    from vpr_ros.local_features import LocalExtractor

_BATCH = 64


class PoseSource(Protocol):
    """Poses by time, such as `vpr_ros.sensors.Trajectory`."""

    def at(self, stamp_ns: int, max_gap_s: float = ...) -> np.ndarray | None: ...

    def gap_s(self, stamp_ns: int) -> float | None: ...


@dataclass(frozen=True)
class PosesReplaced:
    """What became of the poses of a map's keyframes, in numbers of keyframes."""

    replaced: int
    cleared: int  # that the trajectory does not cover, though it covers others of their session
    without: int  # that it does not cover either, and that had no pose
    kept: int  # of other sessions
    in_gaps: int  # of those that are not covered, between poses that are too far apart
    longest_gap_s: float  # of these
    max_gap_s: float  # that was bridged

    @property
    def why(self) -> str:
        """A phrase on why keyframes got no pose; empty where all did."""
        outside = self.cleared + self.without - self.in_gaps
        parts: list[str] = []
        if self.in_gaps:
            parts.append(
                f"{self.in_gaps} lie in gaps of up to {self.longest_gap_s:g} s between its poses, longer than "
                f"--max-gap-s {self.max_gap_s:g}"
            )
        if outside:
            parts.append(f"{outside} lie before or after it")
        return " and ".join(parts)

    @property
    def advice(self) -> str:
        """A phrase on what to do about keyframes without a pose."""
        return f"say --max-gap-s {self.longest_gap_s:g}" if self.in_gaps else "give one that covers the drive"


def remove_keyframes(db: sqlite3.Connection, ids: Iterable[int]) -> None:
    """Delete keyframes with all that the map has of them, and take note of it in the numbers of their sessions."""
    rows = [(int(i),) for i in ids]
    counts = Counter[int]()
    for row in rows:
        counts.update(session for (session,) in db.execute("SELECT session FROM keyframes WHERE id = ?", row))
    db.executemany("DELETE FROM keyframes WHERE id = ?", rows)
    count_more(db, "removed", counts)


def replace_poses(
    place_map: PlaceMap, trajectory: PoseSource, max_gap_s: float = 1.0, clear: bool = False
) -> PosesReplaced:
    """Give keyframes the map-frame pose that a trajectory has at their stamp.

    In a session that the trajectory touches, keyframes it does not cover lose their pose, because the old one may be in
    another frame; sessions it does not touch keep theirs. Covariances of replaced poses are dropped. Raises VprError,
    and changes nothing, when no keyframe lies in the trajectory, and when more keyframes would lose their pose than get
    one, unless that is wanted (`clear`).
    """
    with place_map.reading() as db:
        rows = db.execute(f"SELECT id, session, stamp_ns, {MAP_COLUMNS[0]} IS NOT NULL FROM keyframes").fetchall()
    found: dict[int, PoseRow] = {}
    for keyframe_id, _, stamp_ns, _ in rows:
        T = trajectory.at(stamp_ns, max_gap_s)
        if T is not None:
            found[keyframe_id] = pose_row(T, "the trajectory's pose")
    touched = {session for keyframe_id, session, _, _ in rows if keyframe_id in found}
    bare = [row for row in rows if row[0] not in found and (row[1] in touched or not touched)]
    gaps = [gap for _, _, stamp_ns, _ in bare if (gap := trajectory.gap_s(stamp_ns)) is not None]
    result = PosesReplaced(
        len(found),
        sum(posed for *_, posed in bare),
        sum(not posed for *_, posed in bare),
        len(rows) - len(found) - len(bare),
        len(gaps),
        max(gaps, default=0.0),
        max_gap_s,
    )
    if not found:
        raise VprError(
            f"no keyframe of map {place_map.path} lies within {max_gap_s:g} s of the trajectory: "
            + (f"{result.why}; {result.advice}." if gaps else "are its stamps of the same clock?")
        )
    if result.cleared > result.replaced and not clear:
        raise VprError(
            f"the trajectory has poses for {result.replaced} keyframes of map {place_map.path}, and {result.cleared} "
            f"would lose theirs: {result.why}; nothing was changed. {result.advice.capitalize()}, or add --clear to "
            "take the poses of the others away."
        )
    update = f"UPDATE keyframes SET {', '.join(f'{c} = ?' for c in MAP_COLUMNS)}, covariance = NULL WHERE id = ?"
    with place_map.edit() as db:
        changed = [*found, *(row[0] for row in bare)]
        db.executemany(update, ((*found.get(i, (None,) * 7), i) for i in changed))
        seal(db, "keyframes", changed)
    return result


def redescribe(
    place_map: PlaceMap,
    extractor: Describer,
    progress: Callable[[int, int], None] | None = None,
    drop_missing: bool = False,
) -> dict[str, int]:
    """Rebuild every descriptor from the thumbnails with another model. Returns {"described", "dropped"}.

    The map takes over the extractor's fingerprint, dimension and preprocessing, and loses the calibration fitted with
    the old model. A crash or an error leaves the old map. Keyframes without a readable thumbnail raise VprError, or
    are removed where `drop_missing`. `progress(done, total)` is called after each batch.
    """
    with place_map.edit() as db:
        ids = [row[0] for row in db.execute("SELECT id FROM keyframes ORDER BY id")]
        done = 0
        lost: list[int] = []
        for batch_ids, images in _images(db, ids, lost):
            if images:
                vectors = np.asarray(extractor.describe(images), dtype="<f2")
                rows = [(vector.tobytes(), i) for vector, i in zip(vectors, batch_ids, strict=True)]
                db.executemany("INSERT OR REPLACE INTO descriptors (vector, id) VALUES (?, ?)", rows)
                done += len(rows)
            if progress is not None:
                progress(done + len(lost), len(ids))
        if lost and not drop_missing:
            raise VprError(
                f"{len(lost)} of {len(ids)} keyframes of map {place_map.path} have no readable thumbnail (first: "
                f"{lost[0]}): map the drive again, or drop those keyframes"
            )
        if lost and not done:
            raise VprError(f"no keyframe of map {place_map.path} has a readable thumbnail: map the drive again")
        if lost:
            remove_keyframes(db, lost)
        # of the old model; the keyframes tell the new ones
        db.execute("UPDATE sessions SET total = NULL, frames = NULL")
        seal_sessions(db)
        seal(db, "descriptors")
        for key, value in (
            ("fingerprint", extractor.fingerprint),
            ("dim", int(extractor.dim)),
            ("parts", list(extractor.parts)),
            ("preprocessing", extractor.preprocessing),
            ("model_name", extractor.name),
            ("calibration", None),
        ):
            put_meta(db, key, value)
    return {"described": done, "dropped": len(lost)}


def thumbnail_features(
    place_map: PlaceMap,
    extractor: "LocalExtractor | None",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Give keyframes without local features those of their thumbnails; None takes all features away.

    Features of another kind than the extractor's are made anew, all of them. Those of a thumbnail have neither
    intrinsics nor depth, and fewer pixels than the picture had. Returns {"made", "kept", "without"}, the last being
    keyframes whose thumbnail is missing or damaged. A crash or an error leaves the old map.
    """
    from vpr_ros.local_features.packing import pack

    kept = 0
    with place_map.edit() as db:
        ids = [row[0] for row in db.execute("SELECT id FROM keyframes ORDER BY id")]
        changed = set(ids)
        if extractor is not None and place_map.local_features == extractor.kind:
            changed -= {row[0] for row in db.execute("SELECT id FROM features")}
            kept = len(ids) - len(changed)
        db.executemany("DELETE FROM features WHERE id = ?", ((i,) for i in changed))
        made = 0
        lost: list[int] = []
        wanted = sorted(changed) if extractor is not None else []
        for batch_ids, images in _images(db, wanted, lost):
            found = extractor.extract(images) if extractor is not None else []
            rows = [(i, pack(one)) for i, one in zip(batch_ids, found, strict=True)]
            db.executemany("INSERT INTO features VALUES (?, ?)", rows)
            made += len(rows)
            if progress is not None:
                progress(made + len(lost), len(wanted))
        seal(db, "features", changed)
        put_meta(db, "local_features", extractor.kind if extractor is not None and made + kept else None)
    return {"made": made, "kept": kept, "without": len(lost)}


def _images(db: sqlite3.Connection, ids: list[int], lost: list[int]) -> Iterator[tuple[list[int], list[np.ndarray]]]:
    """Batches of ids and their thumbnails (H, W, 3) uint8 RGB; ids without a readable one are appended to `lost`."""
    from vpr_ros import pictures  # OpenCV is loaded only where a map is described anew

    for start in range(0, len(ids), _BATCH):
        good: list[int] = []
        images: list[np.ndarray] = []
        for keyframe_id in ids[start : start + _BATCH]:
            try:
                image = pictures.decode(payload(db, "thumbnails", keyframe_id))
            except ValueError:  # flipped bits would make a wrong descriptor of a picture that can be read
                image = None
            if image is None:
                lost.append(keyframe_id)
            else:
                images.append(image)
                good.append(keyframe_id)
        yield good, images
