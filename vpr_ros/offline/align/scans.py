"""The scans of a bag, read once into files of their own, and where odometry had all its pictures."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.offline.crossing import Course, ScannedDrive
from vpr_ros.offline.pose_graph import carried
from vpr_ros.sensors import Drive, DriveConfig, DriveTopics, Trajectory
from vpr_ros.training_set.clouds import CloudFiles

SPACING_M = 1.0  # between the scans that are kept of a drive with odometry
PERIOD_S = 0.1  # without odometry


@dataclass(frozen=True)
class Scans:
    """The scans of a drive, and stamps_ns (P,) and T_odom_base (P, 4, 4) of all its pictures that odometry covers."""

    drive: ScannedDrive
    stamps_ns: np.ndarray
    T_odom_base: np.ndarray

    @property
    def has_odometry(self) -> bool:
        """Whether the bag itself says how the robot moved."""
        return self.drive.T_odom_base is not None


def read_scans(path: str | Path, folder: Path, topics: DriveTopics, config: DriveConfig) -> Scans:
    """Scans at pictures of a bag, SPACING_M apart by odometry, or PERIOD_S where the bag has none, kept in `folder`.

    Raises VprError for a bag without scans.
    """
    folder.mkdir()
    files, kept, pictures = [], [], []
    with Drive(path, replace(topics, pose="none"), config, load_clouds=True) as drive:
        by_odometry = len(drive.poses.odom) > 0
        for observation in drive:
            stamp, T = observation.stamp_ns, observation.T_odom_base
            if (by_odometry and T is None) or (pictures and stamp <= pictures[-1][0]):  # a clock that went back
                continue
            pictures.append((stamp, np.full((4, 4), np.nan) if T is None else T))
            if observation.cloud is not None and (not kept or _apart(kept[-1], pictures[-1])):
                files.append(folder / f"{len(files)}.npy")
                np.save(files[-1], np.asarray(observation.cloud, np.float32))
                kept.append(pictures[-1])
    if not kept:
        raise VprError(
            f"bag {path} has no picture with a cloud{' and odometry' * by_odometry}: --method lidar needs them."
        )
    stamps, T = np.array([s for s, _ in kept]), np.array([T for _, T in kept])
    scanned = ScannedDrive(CloudFiles(files), stamps, T if by_odometry else None, str(path))
    return Scans(scanned, np.array([s for s, _ in pictures]), np.array([T for _, T in pictures]))


def moved_along(scans: Scans, course: Course, T: np.ndarray) -> Trajectory:
    """Poses of a drive's pictures, from optimised poses T (N, 4, 4) of its scans, NaN where there is none.

    Odometry carries them from scan to scan; without odometry there are only those at the scans.
    """
    at = scans.drive.stamps_ns
    if not scans.has_odometry:
        known = np.isfinite(T).all(axis=(1, 2))
        return Trajectory(at[known], T[known])
    return carried(scans.stamps_ns, scans.T_odom_base, at, course.T, T, course.part)


def _apart(last: tuple[int, np.ndarray], now: tuple[int, np.ndarray]) -> bool:
    metres = np.linalg.norm(now[1][:3, 3] - last[1][:3, 3])
    return bool(metres >= SPACING_M) if np.isfinite(metres) else now[0] - last[0] >= PERIOD_S * 1e9
