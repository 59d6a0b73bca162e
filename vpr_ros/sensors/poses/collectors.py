"""Poses gathered in order of arrival, cut where the clock jumps back."""

from bisect import bisect_right
from dataclasses import dataclass, field, replace

import numpy as np

from vpr_ros.sensors.clocks import Clock
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.sensors.stamps import JUMP_NS, Slips


@dataclass
class PoseTrack:
    """Trajectories of one source, a new one after each backward jump of its clock, with their receive times."""

    trajectories: list[Trajectory] = field(default_factory=list)
    starts_ns: list[int] = field(default_factory=list)
    clock: Clock = field(default_factory=lambda: Clock.of((), ()))  # of the messages that brought the poses

    def __len__(self) -> int:
        return sum(len(t) for t in self.trajectories)

    def segment(self, bag_time_ns: int) -> Trajectory | None:
        """The trajectory that was being recorded at a receive time: stamps alone repeat in a looped bag."""
        if not self.trajectories:
            return None
        return self.trajectories[max(bisect_right(self.starts_ns, bag_time_ns) - 1, 0)]

    def covered_s(self, max_gap_s: float) -> float:
        """Seconds between poses that are at most `max_gap_s` apart, for which there is a pose."""
        gaps_s = [np.diff(t.stamps_ns) * 1e-9 for t in self.trajectories]
        return float(sum(gaps[gaps <= max_gap_s].sum() for gaps in gaps_s))

    def moved(self, offset_s: float) -> "PoseTrack":
        """The same poses, stamped so many seconds later."""
        if not offset_s:
            return self
        offset_ns = round(offset_s * 1e9)
        later = [replace(t, stamps_ns=t.stamps_ns + offset_ns) for t in self.trajectories]
        return PoseTrack(later, self.starts_ns, self.clock.moved(offset_ns))


class PoseCollector:
    """Gathers stamped poses in the order of arrival and cuts them where the clock jumped back."""

    def __init__(self):
        self._rows: list[tuple[int, int, np.ndarray, np.ndarray | None]] = []

    def add(self, bag_time_ns: int, stamp: int, T: np.ndarray, covariance: np.ndarray | None) -> None:
        """Take one pose (4, 4) with its covariance (6, 6) or None."""
        self._rows.append((bag_time_ns, stamp, T, covariance))

    def track(self) -> PoseTrack:
        """What was gathered, but for single slips of the clock; receive times stand in when no stamp was ever set."""
        if not self._rows:
            return PoseTrack()
        bag_times = np.array([r[0] for r in self._rows], np.int64)
        stamps = np.array([r[1] for r in self._rows], np.int64)
        if not stamps.any():
            stamps = bag_times
        slips: Slips[int] = Slips(lambda *_: None)
        used = [row for i, stamp in enumerate(stamps.tolist()) for _, row in slips.take(stamp, i)]
        used += [row for _, row in slips.end()]
        rows, stamps, bag_times = [self._rows[i] for i in used], stamps[used], bag_times[used]
        highest, cuts = stamps[0], [0]
        for i in range(1, len(stamps)):
            if stamps[i] < highest - JUMP_NS:
                cuts.append(i)
                highest = stamps[i]
            highest = max(highest, stamps[i])
        track = PoseTrack(clock=Clock(stamps, bag_times))
        for begin, end in zip(cuts, [*cuts[1:], len(stamps)], strict=True):
            _, _, poses, covariances = zip(*rows[begin:end], strict=True)
            track.trajectories.append(Trajectory.from_samples(stamps[begin:end], poses, covariances))
            track.starts_ns.append(int(bag_times[begin]))
        return track
