"""PlaceMap: the keyframes of one or several drives in one SQLite file."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from vpr_ros.configuration import EXACT_SEARCH_MB
from vpr_ros.errors import FrameError, VprError
from vpr_ros.place_map import files
from vpr_ros.place_map.clouds import encode_cloud
from vpr_ros.place_map.keyframes import Keyframes, load_keyframes, load_poses, pose_row
from vpr_ros.place_map.mapfile import MapFile
from vpr_ros.place_map.mounting import MountedCamera
from vpr_ros.place_map.schema import (
    KEYFRAME_COLUMNS,
    count_more,
    put_meta,
    read_meta,
    seal_keyframes,
    seal_sessions,
)
from vpr_ros.place_map.statistics import DriveStatistics

if TYPE_CHECKING:
    from vpr_ros.local_features import LocalFeatures

_INSERT = (
    f"INSERT INTO keyframes ({', '.join(KEYFRAME_COLUMNS[1:])}) VALUES ({', '.join('?' * len(KEYFRAME_COLUMNS[1:]))})"
)
_Row: TypeAlias = tuple[int | float | bytes | None, ...]  # in the order of KEYFRAME_COLUMNS, less the id


@dataclass(frozen=True)
class Session:
    """One drive in a map."""

    id: int
    name: str
    source: str  # the bag or topic that it came from
    created: str  # ISO 8601, UTC


class PlaceMap(MapFile):
    """One map file. Made by `create` or `open`; a context manager; its methods may be called from several threads.

    While it is open for writing the file has a write-ahead log beside it (`-wal`, `-shm`); `close` folds both into
    the one file. An id that `add` returned becomes permanent when it is reported by `on_saved`; from then on it
    survives `kill -9` and a power cut. One process writes a map at a time, others may read it meanwhile.
    """

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        fingerprint: str,
        dim: int,
        parts: tuple[int, ...] | None = None,
        preprocessing: dict[str, Any],
        place_radius_m: float,
        frame_id: str = "map",
        datum: tuple[float, float, float] | None = None,
        model_name: str = "",
        map_id: str = "",
    ) -> "PlaceMap":
        """Make an empty map and open it for writing. VprError when it exists or cannot be written.

        `fingerprint`, `dim`, `parts` (None: one), `preprocessing`, `model_name` describe the extractor; `datum` is the
        WGS-84 latitude, longitude (degrees) and altitude (m) of the origin of `frame_id`. `map_id` names the map for
        good; empty: a name that no other map has.
        """
        path = Path(path)
        meta: dict[str, Any] = dict(
            map_id=map_id or uuid.uuid4().hex[:12],
            version=0,
            fingerprint=str(fingerprint),
            dim=int(dim),
            parts=list(parts or (int(dim),)),
            preprocessing=preprocessing,
            place_radius_m=float(place_radius_m),
            frame_id=frame_id,
            datum=None if datum is None else [float(value) for value in datum],
            model_name=model_name,
            created=_now(),
        )
        files.create(path, meta)
        return cls.open(path, writable=True)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        fingerprint: str | None = None,
        dim: int | None = None,
        model_name: str = "",
        writable: bool = False,
        unchecked: Literal["", "descriptors"] = "",
    ) -> "PlaceMap":
        """Open a map, read-only unless `writable`.

        `fingerprint` and `dim` of the extractor in use, when given, must be the map's; `model_name` names it in the
        refusal. `unchecked` descriptors, which are to be made anew, may have flipped bits. Raises VprError for a file
        that is missing, torn, damaged, foreign, of a newer schema, of another model, or being written by another
        process. Every bit of keyframes, descriptors, sessions and settings is checked; images, clouds and local
        features are checked when they are read.
        """
        path = Path(path)
        opened = files.open_writable(path, unchecked) if writable else files.open_readonly(path, unchecked)
        place_map = cls(opened, path, writable)
        try:
            place_map._require_model(fingerprint, dim, model_name)
        except BaseException:
            place_map.close()
            raise
        return place_map

    def _require_model(self, fingerprint: str | None, dim: int | None, model_name: str) -> None:
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise VprError(
                f"map {self.path} was made with model {_label(self.model_name, self.fingerprint)} and the checkpoint "
                f"in use is {_label(model_name, fingerprint)}: use the map's checkpoint, or rebuild the map's "
                f"descriptors with `vpr_ros redescribe {self.path} --checkpoint CHECKPOINT`"
            )
        if dim is not None and dim != self.dim:
            raise VprError(
                f"map {self.path} holds descriptors of {self.dim} numbers and the checkpoint in use makes {dim}: use "
                f"the map's checkpoint, or run `vpr_ros redescribe {self.path} --checkpoint CHECKPOINT`"
            )

    @property
    def has_poses(self) -> bool:
        """Whether any keyframe has T_map_base."""
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM keyframes WHERE map_x IS NOT NULL)"))

    def __len__(self) -> int:
        return self._one("SELECT count(*) FROM keyframes")

    def start_session(self, name: str, source: str = "") -> int:
        """Begin a drive; returns the session id that `add` wants."""
        with self.edit() as db:
            cursor = db.execute("INSERT INTO sessions (name, created, source) VALUES (?, ?, ?)", (name, _now(), source))
            session = int(cursor.lastrowid or 0)
            seal_sessions(db, [session])
        return session

    def sessions(self) -> list[Session]:
        with self.reading() as db:
            return [Session(*row) for row in db.execute("SELECT id, name, source, created FROM sessions ORDER BY id")]

    def add(
        self,
        session: int,
        stamp_ns: int,
        descriptor: np.ndarray,
        T_odom_base: np.ndarray | None = None,
        T_map_base: np.ndarray | None = None,
        covariance: np.ndarray | None = None,
        thumbnail: bytes | None = None,
        cloud: np.ndarray | None = None,
        content: float = 1.0,
        features: "LocalFeatures | None" = None,
    ) -> int:
        """Append a keyframe and return its id, which is permanent once `on_saved` has reported it.

        `descriptor` (dim,), poses 4x4, `covariance` (6, 6) of T_map_base (dropped when not finite), `thumbnail` JPEG
        of the network's input, `cloud` (N, 3) m in the base frame, kept voxel filtered. `content` in [0, 1] is how
        much of the frame is new: its weight in the session's mean. `features` are kept as `pack` makes them, all of a
        map of one kind. Raises FrameError for a frame that cannot be kept
        (duplicate stamp, NaN) and VprError when the map cannot be written.
        """
        self._require_writable()
        vector = self._vector(descriptor, stamp_ns)
        poses = pose_row(T_odom_base, "T_odom_base") + pose_row(T_map_base, "T_map_base")
        if covariance is not None:
            covariance = np.asarray(covariance, dtype="<f8").reshape(6, 6)
        spread = covariance.tobytes() if covariance is not None and np.isfinite(covariance).all() else None
        points = None if cloud is None else encode_cloud(cloud)
        local = None if features is None else self._packed(features)
        row = (session, int(stamp_ns), *poses, spread)
        with self._lock:
            self._require_place(session, int(stamp_ns))
            with self._writing():
                keyframe_id = self._insert(
                    row, vector.tobytes(), {"thumbnails": thumbnail, "clouds": points, "features": local}
                )
                if features is not None and self.local_features is None:
                    put_meta(self._db, "local_features", features.kind)
                    self._meta["local_features"] = features.kind
                self._count(session, vector, content)
            self._pending.append(keyframe_id)
        self.commit_if_due()
        return keyframe_id

    def pass_over(self, session: int, stamp_ns: int, descriptor: np.ndarray, content: float = 1.0) -> None:
        """Take note of a frame that would have been a keyframe, had the map not answered it: in its session's mean.

        Raises FrameError and VprError as `add` does; durable, too, as what that adds.
        """
        self._require_writable()
        vector = self._vector(descriptor, stamp_ns)
        with self._lock:
            self._require_place(session, int(stamp_ns))
            with self._writing():
                if not self._edited:
                    self._bump_version()
                self._count(session, vector, content)
                count_more(self._db, "passed_over", {session: 1})
                self._meta = read_meta(self._db)
            self._passed = True
        self.commit_if_due()

    def _vector(self, descriptor: np.ndarray, stamp_ns: int) -> np.ndarray:
        vector = np.asarray(descriptor, dtype="<f2")
        if vector.shape != (self.dim,):
            raise VprError(f"map {self.path} wants descriptors of shape ({self.dim},) and was given {vector.shape}")
        if not np.isfinite(vector).all() or not vector.any():
            raise FrameError(f"the descriptor of the image at {stamp_ns} ns is zero or not finite: it is skipped")
        return vector

    def _packed(self, features: "LocalFeatures") -> bytes:
        from vpr_ros.local_features.packing import pack  # and OpenCV with it, which opening a map does without

        if self.local_features not in (None, features.kind):
            raise VprError(
                f"map {self.path} has local features of the kind {self.local_features}, with which {features.kind} "
                f"cannot be compared: use {self.local_features}, or make them anew with "
                f"`vpr_ros redescribe {self.path} --features {features.kind}`"
            )
        return pack(features)

    def _insert(self, row: _Row, vector: bytes, payloads: dict[str, bytes | None]) -> int:
        if not self._edited:
            self._bump_version()
        keyframe_id = int(self._db.execute(_INSERT, row).lastrowid or 0)
        for table, data in {"descriptors": vector, **payloads}.items():
            if data is not None:
                self._db.execute(f"INSERT INTO {table} VALUES (?, ?)", (keyframe_id, bytes(data)))
        seal_keyframes(self._db, [keyframe_id])
        return keyframe_id

    def _count(self, session: int, descriptor: np.ndarray, content: float) -> None:
        """Take a descriptor into the session's mean, in the keyframe's own transaction."""
        blob, frames = self._db.execute("SELECT total, frames FROM sessions WHERE id = ?", (session,)).fetchone()
        if blob is None:
            kept = "SELECT count(*) FROM (SELECT 1 FROM keyframes WHERE session = ? LIMIT 2)"
            if self._db.execute(kept, (session,)).fetchone()[0] > 1:
                return  # a session that was begun without statistics: its keyframes tell them
            before = DriveStatistics.none(self.dim)
        else:
            before = _statistics(blob, frames)
        after = before.plus(descriptor, content)
        self._db.execute(
            "UPDATE sessions SET total = ?, frames = ? WHERE id = ?",
            (after.total.astype("<f8").tobytes(), after.frames, session),
        )
        seal_sessions(self._db, [session])

    def statistics(self) -> dict[int, DriveStatistics]:
        """What is known of the drive of each session; those of files of an older schema and of maps that were
        described anew are missing.

        A session that was pruned keeps the statistics of its whole drive.
        """
        with self.reading() as db:
            rows = db.execute("SELECT id, total, frames FROM sessions WHERE total IS NOT NULL").fetchall()
        return {session: _statistics(blob, frames) for session, blob, frames in rows if len(blob) == 8 * self.dim}

    def _require_place(self, session: int, stamp_ns: int) -> None:
        known, taken = self._one_row(
            "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?1),"
            " EXISTS (SELECT 1 FROM keyframes WHERE session = ?1 AND stamp_ns = ?2)",
            session,
            stamp_ns,
        )
        if not known:
            raise VprError(f"map {self.path} has no session {session}: call start_session first")
        if taken:
            raise FrameError(f"session {session} has a keyframe at {stamp_ns} ns already: the frame is skipped")

    def keyframes(self, held_mb: float = EXACT_SEARCH_MB) -> Keyframes:
        """All keyframes as arrays, those not yet durable included; descriptors of more than `held_mb` megabytes stay
        in the file and are read when they are asked for."""
        with self.reading() as db:
            self._meta = read_meta(db)  # another process may have edited the map since it was opened
            held = len(self) * self.dim * 2 <= held_mb * 1e6
            return load_keyframes(db, self.dim, None if held else self.reading)

    def poses(self, after: int = 0) -> Keyframes:
        """Keyframes with an id above `after`, sorted by id, without descriptors; those not yet durable included."""
        with self.reading() as db:
            return load_poses(db, int(after))

    def covariance(self, keyframe_id: int) -> np.ndarray | None:
        """Covariance (6, 6) of T_map_base, order x y z rotX rotY rotZ, None when unknown."""
        data = self._one("SELECT covariance FROM keyframes WHERE id = ?", int(keyframe_id))
        return None if data is None else np.frombuffer(data, dtype="<f8").reshape(6, 6).copy()

    def current_id(self, map_id: str, old_id: int) -> int | None:
        """Id in this map of keyframe `old_id` of the map `map_id` that was merged into it; None when it is not here."""
        if map_id == self.map_id:
            return self._one("SELECT id FROM keyframes WHERE id = ?", int(old_id))
        return self._one("SELECT id FROM origins WHERE map_id = ? AND old_id = ?", map_id, int(old_id))

    def get_calibration(self) -> dict[str, Any] | None:
        """The calibration fitted on this map, None when the checkpoint's own is to be used."""
        return self._meta.get("calibration")

    def set_calibration(self, calibration: dict[str, Any] | None) -> None:
        with self.edit() as db:
            put_meta(db, "calibration", calibration)

    def set_datum(self, datum: tuple[float, float, float]) -> None:
        """Fix the origin of the map frame once; VprError when another one is fixed already."""
        datum = (float(datum[0]), float(datum[1]), float(datum[2]))
        if self.datum is not None and self.datum != datum:
            raise VprError(f"map {self.path} has the datum {self.datum} already and its poses refer to it: keep it")
        with self.edit() as db:
            put_meta(db, "datum", list(datum))

    def set_camera(self, session: int, camera: MountedCamera) -> None:
        """Keep how the camera of a session sat on its robot: a robot with another camera needs it for its own pose."""
        cameras = {**self._meta.get("cameras", {}), str(session): camera.to_dict()}
        with self.edit() as db:
            put_meta(db, "cameras", cameras)

    def set_place_radius(self, place_radius_m: float) -> None:
        with self.edit() as db:
            put_meta(db, "place_radius_m", float(place_radius_m))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _statistics(blob: bytes, frames: float) -> DriveStatistics:
    return DriveStatistics(np.frombuffer(blob, dtype="<f8").astype(np.float64), float(frames))


def _label(name: str, fingerprint: str) -> str:
    return f"'{name}' ({fingerprint[:12]})" if name else fingerprint[:12]
