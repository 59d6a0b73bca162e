"""The newest poses of a live stream, asked for at the stamps of images; ROS-free, for any number of threads."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.poses.trajectory import Trajectory
from vpr_ros.sensors.stamps import JUMP_NS


class PoseBuffer:
    """Stamped poses of the last `horizon_s` seconds, at most `max_count`; answers as Trajectory.at does.

    Poses may arrive a little out of order; of equal stamps the first counts. A stamp more than one second behind the
    newest is a restarted clock or a looped bag: what was there belongs to another time and is forgotten. Several
    buffers may share one `arrivals`, so that one wait hears them all.
    """

    def __init__(self, horizon_s: float = 30.0, max_count: int = 20_000, arrivals: Arrivals | None = None):
        self._horizon_ns, self._max_count = int(horizon_s * 1e9), max_count
        self._arrivals = arrivals or Arrivals()
        self._stamps: list[int] = []
        self._poses: list[np.ndarray] = []
        self._covariances: list[np.ndarray | None] = []

    def __len__(self) -> int:
        with self._arrivals:
            return len(self._stamps)

    @property
    def newest_ns(self) -> int | None:
        """The latest stamp, None when empty."""
        with self._arrivals:
            return self._stamps[-1] if self._stamps else None

    def add(self, stamp_ns: int, T: np.ndarray, covariance: np.ndarray | None = None) -> bool:
        """Take a pose (4, 4) with its covariance (6, 6) or None; True when the clock had jumped back."""
        with self._arrivals:
            jumped = bool(self._stamps) and stamp_ns < self._stamps[-1] - JUMP_NS
            if jumped:
                self._forget()
            at = bisect_left(self._stamps, stamp_ns)
            if at == len(self._stamps) or self._stamps[at] != stamp_ns:
                self._stamps.insert(at, stamp_ns)
                self._poses.insert(at, T)
                self._covariances.insert(at, covariance)
                old = max(
                    bisect_left(self._stamps, self._stamps[-1] - self._horizon_ns), len(self._stamps) - self._max_count
                )
                if old > 0:
                    del self._stamps[:old], self._poses[:old], self._covariances[:old]
            self._arrivals.notify()
            return jumped

    def at(self, stamp_ns: int, max_gap_s: float = 1.0) -> np.ndarray | None:
        """Pose (4, 4) at a stamp, or None: see `Trajectory.at`."""
        return self._around(stamp_ns).at(stamp_ns, max_gap_s)

    def covariance_at(self, stamp_ns: int) -> np.ndarray | None:
        """Covariance (6, 6) of the sample nearest in time, or None when the source has none."""
        return self._around(stamp_ns).covariance_at(stamp_ns)

    def _around(self, stamp_ns: int) -> Trajectory:
        """The samples on either side of a stamp: all that its look-up depends on."""
        with self._arrivals:
            after = bisect_left(self._stamps, stamp_ns)
            pair = slice(max(after - 1, 0), after + 1)
            return Trajectory.from_samples(self._stamps[pair], self._poses[pair], self._covariances[pair])

    def wait_for(self, stamp_ns: int, expired: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until a pose at or after a stamp is there; False when none came (see Arrivals.wait_until)."""
        return self._arrivals.wait_until(lambda: self._reached(stamp_ns), expired, timeout_s)

    def wake(self) -> None:
        """End every wait."""
        self._arrivals.wake()

    def clear(self) -> None:
        """Forget all poses."""
        with self._arrivals:
            self._forget()

    def _reached(self, stamp_ns: int) -> bool:
        return bool(self._stamps) and self._stamps[-1] >= stamp_ns

    def _forget(self) -> None:
        self._stamps, self._poses, self._covariances = [], [], []
