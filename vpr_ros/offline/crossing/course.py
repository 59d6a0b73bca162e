"""A drive with a LiDAR, and the course that its odometry drew: poses, metres, and where the odometry broke."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vpr_ros.configuration import MotionConfig
from vpr_ros.errors import VprError
from vpr_ros.geometry import invert
from vpr_ros.recognition.motion import leap_m
from vpr_ros.sensors.clouds import transformed
from vpr_ros.verification import VerificationConfig, prepare_cloud, register

ODOMETRY = VerificationConfig(normal_points=20, kiss_matcher=False, min_agreement=0.1, max_rmse_m=0.5, turns=1)
KEYFRAME_M, KEPT = 1.5, 5  # metres between keyframes of the odometry by clouds, and how many make one cloud
LEAP_M = 1.0  # by which a step may differ from the one before, and by half of it
STOOD_M = 5.0  # over a gap in time odometry is believed if it says that the robot stood, or hardly moved
STANDING_M = 0.5  # odometry of a standing robot trembles: shorter ways are not added up


@dataclass(frozen=True)
class ScannedDrive:
    """Clouds (n, 3) in metres in the base frame, in the order of their stamps_ns (N,).

    `clouds` may be any sequence that reads a cloud when it is asked for. T_odom_base (N, 4, 4) is NaN where it is not
    known, and None for a drive without odometry: then the clouds themselves say how the robot moved. `name` is for
    sentences.
    """

    clouds: Sequence[np.ndarray]
    stamps_ns: np.ndarray
    T_odom_base: np.ndarray | None = None
    name: str = "the drive"

    def __post_init__(self) -> None:
        stamps, T = np.asarray(self.stamps_ns), self.T_odom_base
        if len(stamps) != len(self.clouds) or (T is not None and np.shape(T) != (len(stamps), 4, 4)):
            shape = "" if T is None else f" and odometry of shape {np.shape(T)}"
            raise VprError(f"{self.name}: {len(self.clouds)} clouds do not go with {len(stamps)} stamps{shape}")
        if (np.diff(stamps) <= 0).any():
            raise VprError(f"{self.name}: the stamps of the clouds do not increase: sort them, each stamp once")

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @cached_property
    def course(self) -> "Course":
        """The drive's course, found once."""
        return course_of(self)


@dataclass(frozen=True)
class Course:
    """Where odometry had each frame: T (N, 4, 4), metres travelled along_m (N,), and part (N,).

    Poses of two parts do not compare: between them odometry was missing or jumped. The metres go on there as if the
    robot had stood still. Frames without a pose have part -1.
    """

    T: np.ndarray
    along_m: np.ndarray
    part: np.ndarray

    def spaced(self, spacing_m: float) -> np.ndarray:
        """For every `spacing_m` of the course the row (K,) of the frame nearest to it; rows may come twice."""
        found: list[np.ndarray] = []
        for part in range(int(self.part.max(initial=-1)) + 1):
            rows = np.flatnonzero(self.part == part)
            along = self.along_m[rows]
            at = np.arange(along[0], along[-1] + spacing_m / 2, spacing_m)
            after = np.clip(np.searchsorted(along, at), 1, max(len(rows) - 1, 1))
            before = after - 1
            after = np.minimum(after, len(rows) - 1)
            found.append(rows[np.where(at - along[before] <= along[after] - at, before, after)])
        return np.concatenate(found) if found else np.zeros(0, np.int64)


def course_of(drive: ScannedDrive, progress: Callable[[int, int], None] | None = None) -> Course:
    """The course by the drive's odometry, or by its clouds where it has none."""
    stamps = np.asarray(drive.stamps_ns, np.int64)
    if drive.T_odom_base is None:
        T, cut = lidar_odometry(drive.clouds, progress)
    else:
        T, motion = np.asarray(drive.T_odom_base, np.float64), MotionConfig()
        known = np.flatnonzero(np.isfinite(T).all(axis=(1, 2)))
        cut = np.zeros(len(T), bool)
        for before, after in zip(known[:-1], known[1:], strict=True):
            elapsed_s = float(stamps[after] - stamps[before]) * 1e-9
            stood = np.linalg.norm(T[after, :3, 3] - T[before, :3, 3]) <= STOOD_M
            gap = elapsed_s > motion.max_gap_s and not stood
            cut[after] = gap or leap_m(T[before], T[after], elapsed_s, motion) > 0
    known = np.isfinite(T).all(axis=(1, 2))
    part = np.where(known, np.cumsum(cut), -1)
    return Course(T, _travelled(T, part), part)


def _travelled(T: np.ndarray, part: np.ndarray) -> np.ndarray:
    along, end_m = np.zeros(len(T)), 0.0
    for value in range(int(part.max(initial=-1)) + 1):
        rows = np.flatnonzero(part == value)
        anchor = rows[0]
        along[anchor] = end_m
        for row in rows:
            step_m = float(np.linalg.norm(T[row, :3, 3] - T[anchor, :3, 3]))
            along[row] = along[anchor] + step_m
            anchor = row if step_m >= STANDING_M else anchor
        along[rows] = np.maximum.accumulate(along[rows])
        end_m = along[rows[-1]]
    return along


def lidar_odometry(
    clouds: Sequence[np.ndarray], progress: Callable[[int, int], None] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Poses (N, 4, 4) in the frame of the first cloud by registering each cloud with those before, and cut (N,).

    A cloud is registered with the last KEPT keyframes as one, from where the motion before leads; a frame KEYFRAME_M
    from the last keyframe is the next one. Where that fails, or the robot would have leapt, `cut` says that a new frame
    begins.
    """
    T, cut = np.tile(np.eye(4), (len(clouds), 1, 1)), np.zeros(len(clouds), bool)
    keyframes: list[int] = [0]
    anchor = prepare_cloud(clouds[0], ODOMETRY) if len(clouds) else None
    step: np.ndarray | None = None  # the motion before, where it is known
    for row in range(1, len(clouds)):
        cloud, T_anchor = prepare_cloud(clouds[row], ODOMETRY), T[keyframes[-1]]
        expected = T[row - 1] if step is None else T[row - 1] @ step
        found = register(cloud, anchor, invert(T_anchor) @ expected, ODOMETRY)
        T[row] = expected
        cut[row] = not found.accepted
        if found.accepted and found.T_keyframe_query is not None:
            T[row] = T_anchor @ found.T_keyframe_query
            leap = 0.0 if step is None else float(np.linalg.norm(T[row, :3, 3] - expected[:3, 3]))
            cut[row] = step is not None and leap > max(LEAP_M, 0.5 * float(np.linalg.norm(step[:3, 3])))
        step = None if cut[row] else invert(T[row - 1]) @ T[row]
        if cut[row]:
            keyframes, anchor = [row], cloud
        elif np.linalg.norm(T[row, :3, 3] - T_anchor[:3, 3]) >= KEYFRAME_M:
            keyframes = [*keyframes[1 - KEPT :], row]
            seen = [transformed(clouds[k], invert(T[row]) @ T[k]) for k in keyframes]
            anchor = prepare_cloud(np.concatenate(seen), ODOMETRY)
        if progress is not None:
            progress(row, len(clouds) - 1)
    return T, cut
