"""The newest poses of a live stream, asked for at the stamps of images; ROS-free, for any number of threads."""

from bisect import bisect_left
from collections.abc import Callable

import numpy as np

from vpr_ros.geometry import interpolate
from vpr_ros.sensors.arrivals import Arrivals
from vpr_ros.sensors.poses.collectors import JUMP_NS


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
        """Pose (4, 4) at a stamp: a sample itself, or interpolated between two at most `max_gap_s` apart.

        None before the first and after the last sample and inside a longer gap; never extrapolated.
        """
        with self._arrivals:
            after = bisect_left(self._stamps, stamp_ns)
            if after == len(self._stamps):
                return None
            after_ns, T_after = self._stamps[after], self._poses[after]
            if after_ns == stamp_ns:
                return T_after.copy()
            if after == 0:
                return None
            before_ns, T_before = self._stamps[after - 1], self._poses[after - 1]
        if after_ns - before_ns > max_gap_s * 1e9:
            return None
        return interpolate(T_before, T_after, (stamp_ns - before_ns) / (after_ns - before_ns))

    def covariance_at(self, stamp_ns: int) -> np.ndarray | None:
        """Covariance (6, 6) of the sample nearest in time, or None when the source has none."""
        with self._arrivals:
            if not self._stamps:
                return None
            after = min(bisect_left(self._stamps, stamp_ns), len(self._stamps) - 1)
            nearest = min((max(after - 1, 0), after), key=lambda i: abs(self._stamps[i] - stamp_ns))
            covariance = self._covariances[nearest]
        if covariance is None or not np.isfinite(covariance).all() or not covariance.any():
            return None
        return covariance.copy()

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
