"""RobotCar traversals as samples: a picture, and a cloud of the place in metres in the base frame.

The clouds are 20 m of the push-broom laser, `lms_front`, around the picture's time, or the nearest Velodyne scan.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, yaw_of
from vpr_ros.sensors.poses.trajectory import Trajectory, travelled
from vpr_ros.sensors.stamps import nearest
from vpr_ros.training.data.datasets.pointnetvlad.submaps import (
    SubmapConfig,
    assemble,
    scan_rows,
    with_exact_count,
    without_ground,
)
from vpr_ros.training.data.datasets.robotcar.models import LIDARS, T_base_lidar
from vpr_ros.training.data.datasets.robotcar.readings import US, is_velodyne
from vpr_ros.training.data.datasets.robotcar.traversal import Traversal
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet

PAIRED_S = 0.1  # largest time between a picture and its Velodyne scan (20 Hz)


@dataclass(frozen=True)
class ScanTrack:
    """The scans that submaps are made of: taken ones with their poses, in the order of travel."""

    traversal: Traversal
    lidar: str
    stamps_ns: np.ndarray  # (M,)
    T_map_base: np.ndarray  # (M, 4, 4)

    @classmethod
    def of(cls, traversal: Traversal, lidar: str, trajectory: Trajectory, config: SubmapConfig) -> "ScanTrack":
        """Scans every 0.025 m or 30 degrees among those that poses cover. VprError where no scan is covered."""
        stamps = traversal.stamps_ns(lidar)
        T, covered = trajectory.at_many(stamps)
        stamps, T = stamps[covered], T[covered]
        if not len(stamps):
            raise VprError(f"{traversal.folder}: the poses cover no scan of {lidar}; take both of one traversal")
        taken = scan_rows(T, config)
        return cls(traversal, lidar, stamps[taken], T[taken])

    def points(self, start: int, stop: int, T_map_base: np.ndarray) -> np.ndarray:
        """Points (N, 3) float64 of the scans [start, stop) in the base frame at the pose `T_map_base` (4, 4)."""
        scans = [self.traversal.scan(self.lidar, int(t)) for t in self.stamps_ns[start:stop]]
        return assemble(scans, invert(T_map_base) @ self.T_map_base[start:stop] @ T_base_lidar(self.lidar))


class RobotCar(SampleSet):
    """Pictures every `every_m` metres of travel with their clouds, of one or several traversals, as a SampleSet.

    `lidar`: "lms_front", "lms_rear" or "ldmrs" (submaps of 4096 points in metres without the ground), a Velodyne (the
    scan nearest in time, moved to the picture's time), or None. `poses`: "ins" or "rtk". Positions and poses are in the
    fixed map frame of `robotcar.models`. `conditions`: traversal name -> text. Raises VprError for a folder of another
    layout, missing files, and traversals whose poses or scans cover no picture.
    """

    name, cloud_unit = "robotcar", METRES

    def __init__(
        self,
        folders: str | Path | Sequence[str | Path],
        camera: str = "stereo/centre",
        lidar: str | None = "lms_front",
        poses: str = "ins",
        every_m: float = 10.0,
        undistort: bool = True,
        models: str | Path | None = None,
        conditions: Mapping[str, str] | None = None,
        config: SubmapConfig | None = None,
    ):
        if lidar is not None and lidar not in LIDARS:
            raise VprError(f"RobotCar has no laser '{lidar}'; choose {', '.join(LIDARS)}")
        self.camera, self.lidar, self.config = camera, lidar, config or SubmapConfig()
        folders = [folders] if isinstance(folders, str | Path) else list(folders)
        self.traversals = [Traversal(folder, models) for folder in folders]
        self._models = [t.camera(camera, undistort) for t in self.traversals]
        self._tracks: list[ScanTrack | None] = []
        rows: list[tuple[np.ndarray, ...]] = []  # per traversal: stamps, poses, first and last scan
        for traversal in self.traversals:
            rows.append(self._pictures_of(traversal, traversal.poses(poses), every_m))
        self._of = np.repeat(np.arange(len(rows)), [len(r[0]) for r in rows])
        self.stamps_ns, self.T, self._start, self._stop = (np.concatenate(column) for column in zip(*rows, strict=True))
        self.positions_m, self.headings_rad = self.T[:, :2, 3], yaw_of(self.T)
        names = np.array([t.name for t in self.traversals])
        self.drives = names[self._of]
        self.areas = np.full(len(self), self.name)
        self.conditions = np.array([(conditions or {}).get(str(d), "") for d in self.drives], dtype=str)

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        traversal, model, stamp = self.traversals[self._of[row]], self._models[self._of[row]], int(self.stamps_ns[row])
        return Sample(
            traversal.image(self.camera, stamp, model) if "image" in modalities else None,
            self._cloud(row) if "cloud" in modalities else None,
            self.T[row].copy(),
            stamp,
            condition=str(self.conditions[row]),
            drive=str(self.drives[row]),
        )

    def _pictures_of(self, traversal: Traversal, trajectory: Trajectory, every_m: float) -> tuple[np.ndarray, ...]:
        """Stamps, poses and scan ranges of the pictures that one traversal gives."""
        images = traversal.stamps_ns(self.camera)
        T, usable = trajectory.at_many(images)
        start = np.zeros(len(images), np.int64)
        stop = start.copy()
        track = None
        if self.lidar is not None and not is_velodyne(self.lidar):
            track = ScanTrack.of(traversal, self.lidar, trajectory, self.config)
            start, stop, filled = windows_around(track, images, self.config)
            usable = usable & filled
        elif self.lidar is not None:
            stamps = traversal.stamps_ns(self.lidar)
            T_scan, covered = trajectory.at_many(stamps)
            track = ScanTrack(traversal, self.lidar, stamps, T_scan)
            start = nearest(images, stamps)[:, 0]
            stop = start + 1
            usable = usable & covered[start] & (np.abs(stamps[start] - images) <= PAIRED_S * 1e9)
        self._tracks.append(track)
        rows = np.flatnonzero(usable)
        if not len(rows):
            what = "poses" if self.lidar is None else f"poses and scans of {self.lidar}"
            raise VprError(
                f"{traversal.folder}: no picture of {self.camera} is covered by {what}; a submap takes "
                f"{self.config.length_m:g} m of travel around the picture, fetch neighbouring chunks"
            )
        rows = rows[rows_by_travel(T[rows], every_m)]
        return images[rows], T[rows], start[rows], stop[rows]

    def _cloud(self, i: int) -> np.ndarray | None:
        track = self._tracks[self._of[i]]
        if track is None:
            return None
        points = track.points(int(self._start[i]), int(self._stop[i]), self.T[i])
        if not is_velodyne(track.lidar):
            rng = np.random.default_rng(int(self.stamps_ns[i]) // US)
            points = with_exact_count(without_ground(points, self.config, rng), self.config, rng)
        return points.astype(np.float32)


def windows_around(
    track: ScanTrack, stamps_ns: np.ndarray, config: SubmapConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scan ranges [start, stop) of the travel from half a length before each stamp (N,) to half a length behind it.

    The third array is True for ranges that the track fills without a jump.
    """
    distance = travelled(track.T_map_base)
    at = np.interp(stamps_ns, track.stamps_ns, distance)
    start = np.searchsorted(distance, at - config.length_m / 2)
    stop = np.searchsorted(distance, at + config.length_m / 2)
    legs = np.linalg.norm(np.diff(track.T_map_base[:, :3, 3], axis=0), axis=1)
    jumps = np.concatenate([[0], np.cumsum(legs > config.max_jump_m)])
    last = np.minimum(np.maximum(stop - 1, 0), len(jumps) - 1)
    whole = (at - config.length_m / 2 >= distance[0] - 1e-9) & (at + config.length_m / 2 <= distance[-1] + 1e-9)
    return start, stop, whole & (stop > start) & (jumps[np.minimum(start, len(jumps) - 1)] == jumps[last])


def rows_by_travel(T: np.ndarray, every_m: float) -> np.ndarray:
    """Indices of the poses (N, 4, 4), the first and then each at least `every_m` metres of travel after the last."""
    distance, chosen = travelled(T), [0]
    for i in range(1, len(T)):
        if distance[i] - distance[chosen[-1]] >= every_m:
            chosen.append(i)
    return np.array(chosen, np.int64)
