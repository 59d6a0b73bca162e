"""Poses gathered in order of arrival: cut where the clock jumps back, and GNSS fixes turned into poses."""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.geometry import geodetic_to_enu, planar_transform
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.sensors.stamps import JUMP_NS


@dataclass
class PoseTrack:
    """Trajectories of one source, a new one after each backward jump of its clock, with their receive times."""

    trajectories: list[Trajectory] = field(default_factory=list)
    starts_ns: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(t) for t in self.trajectories)

    def segment(self, bag_time_ns: int) -> Trajectory | None:
        """The trajectory that was being recorded at a receive time: stamps alone repeat in a looped bag."""
        if not self.trajectories:
            return None
        return self.trajectories[max(bisect_right(self.starts_ns, bag_time_ns) - 1, 0)]


class PoseCollector:
    """Gathers stamped poses in the order of arrival and cuts them where the clock jumped back."""

    def __init__(self):
        self._rows: list[tuple[int, int, np.ndarray, np.ndarray | None]] = []

    def add(self, bag_time_ns: int, stamp: int, T: np.ndarray, covariance: np.ndarray | None) -> None:
        """Take one pose (4, 4) with its covariance (6, 6) or None."""
        self._rows.append((bag_time_ns, stamp, T, covariance))

    def track(self) -> PoseTrack:
        """What was gathered; receive times stand in when no stamp was ever set."""
        if not self._rows:
            return PoseTrack()
        bag_times = np.array([r[0] for r in self._rows], np.int64)
        stamps = np.array([r[1] for r in self._rows], np.int64)
        if not stamps.any():
            stamps = bag_times
        highest, cuts = stamps[0], [0]
        for i in range(1, len(stamps)):
            if stamps[i] < highest - JUMP_NS:
                cuts.append(i)
                highest = stamps[i]
            highest = max(highest, stamps[i])
        track = PoseTrack()
        for begin, end in zip(cuts, [*cuts[1:], len(stamps)], strict=True):
            _, _, poses, covariances = zip(*self._rows[begin:end], strict=True)
            track.trajectories.append(Trajectory.from_samples(stamps[begin:end], poses, covariances))
            track.starts_ns.append(int(bag_times[begin]))
        return track


class FixCollector:
    """GNSS fixes as poses in an east-north-up frame; heading is the course over ground between fixes.

    A fix says nothing about heading, so a pose exists only where two fixes at least `min_step_m` apart tell the
    direction of travel; while standing the last course is kept. Driving backwards turns the heading around.
    """

    def __init__(self, datum=None, min_step_m: float = 1.0):
        self.datum = datum
        self.min_step_m = min_step_m
        self._rows: list[tuple[int, int, np.ndarray, np.ndarray | None]] = []

    def add(self, bag_time_ns: int, msg) -> None:
        """Take one NavSatFix; FrameError when it holds no fix."""
        position = (float(msg.latitude), float(msg.longitude), float(msg.altitude))
        if int(msg.status.status) < 0:
            raise FrameError("GNSS message without a fix")
        if not np.isfinite(position[:2]).all() or abs(position[0]) > 90 or abs(position[1]) > 360:
            raise FrameError("GNSS fix with NaN or an impossible latitude or longitude")
        if not np.isfinite(position[2]):  # two-dimensional fixes carry NaN as altitude
            position = (*position[:2], self.datum[2] if self.datum else 0.0)
        if self.datum is None:
            self.datum = position
        covariance = None
        if int(msg.position_covariance_type) > 0:
            covariance = np.zeros((6, 6))
            covariance[:3, :3] = np.asarray(msg.position_covariance, np.float64).reshape(3, 3)
            # Roll and pitch are unknown, the course is good to about 18 degrees.
            covariance[3:, 3:] = np.diag([np.pi**2, np.pi**2, 0.1])
        self._rows.append((bag_time_ns, stamp_ns(msg), geodetic_to_enu(*position, self.datum), covariance))

    def track(self) -> PoseTrack:
        """Poses of the fixes; empty when the robot never moved `min_step_m`."""
        collector = PoseCollector()
        if not self._rows:
            return PoseTrack()
        positions = np.array([r[2] for r in self._rows])
        anchor, headings = 0, np.full(len(positions), np.nan)
        for i in range(1, len(positions)):
            step = positions[i, :2] - positions[anchor, :2]
            if np.hypot(*step) >= self.min_step_m:
                headings[anchor : i + 1] = np.where(
                    np.isnan(headings[anchor : i + 1]), np.arctan2(step[1], step[0]), headings[anchor : i + 1]
                )
                headings[i] = np.arctan2(step[1], step[0])
                anchor = i
        last = np.nan
        for i, heading in enumerate(headings):
            last = heading if np.isfinite(heading) else last
            if np.isfinite(last):
                bag_time_ns, stamp, p, covariance = self._rows[i]
                collector.add(bag_time_ns, stamp, planar_transform(p[0], p[1], last, p[2]), covariance)
        return collector.track()
