"""GNSS fixes as poses: those that a receiver can mean, in an east-north-up frame."""

from typing import Final

import numpy as np

from vpr_ros.configuration import MotionConfig
from vpr_ros.errors import FrameError
from vpr_ros.geometry import geodetic_to_ecef, geodetic_to_enu, planar_transform
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.poses.collectors import PoseCollector, PoseTrack
from vpr_ros.sensors.poses.plausible import plausible

Datum = tuple[float, float, float]

LOOSEST_M: Final = 100.0  # a fix that may be further off places nobody; so far a receiver steps while it settles
LOOSEST_ALTITUDE_M: Final = 30.0
APPROXIMATED, DIAGONAL_KNOWN, KNOWN = 1, 2, 3  # position_covariance_type of NavSatFix; 0: unknown


class FixCollector:
    """GNSS fixes as poses in an east-north-up frame; heading is the course over ground between fixes.

    Fixes that no vehicle gets to from the others are left out, and so are those that receivers send before they know
    their position (latitude and longitude zero, or a covariance of more than `LOOSEST_M`). An altitude that is missing,
    zero among others or as far off is unknown: those around it stand in. `datum` (latitude, longitude, altitude), where
    none was given, is the first fix that stayed, known once `track` was asked for.

    A fix says nothing about heading, so a pose exists only where two fixes at least `min_step_m` apart tell the
    direction of travel; while standing the last course is kept. Driving backwards turns the heading around.
    """

    def __init__(self, datum: Datum | None = None, min_step_m: float = 1.0):
        self.datum = datum
        self.min_step_m = min_step_m
        self.implausible = 0  # fixes that `track` left out
        self.first_implausible = ""  # a sentence about them
        self.unknown_altitudes = 0  # that `track` filled in, of the fixes that stayed
        self.away_m = 0.0  # of the first fix that stayed from the datum
        self._times: list[tuple[int, int]] = []  # receive time, stamp
        self._positions: list[tuple[float, float, float]] = []  # NaN: altitude unknown
        self._covariances: list[np.ndarray | None] = []  # (3, 3)

    def add(self, bag_time_ns: int, msg) -> None:
        """Take one NavSatFix; FrameError when it holds no fix."""
        latitude, longitude, altitude = float(msg.latitude), float(msg.longitude), float(msg.altitude)
        if int(msg.status.status) < 0:
            raise FrameError("GNSS message without a fix")
        if not np.isfinite((latitude, longitude)).all() or abs(latitude) > 90 or abs(longitude) > 360:
            raise FrameError("GNSS fix with NaN or an impossible latitude or longitude")
        if abs(latitude) < 1e-9 and abs(longitude) < 1e-9:
            raise FrameError("GNSS fix at latitude 0, longitude 0, as receivers send before they know their position")
        covariance = position_covariance(msg)
        if covariance is not None and float(msg.position_covariance[8]) > LOOSEST_M**2:
            altitude = np.nan
        self._times.append((bag_time_ns, stamp_ns(msg)))
        self._positions.append((latitude, longitude, altitude if np.isfinite(altitude) else np.nan))
        self._covariances.append(covariance)

    def track(self) -> PoseTrack:
        """Poses of the fixes; empty when the robot never moved `min_step_m`."""
        if not self._positions:
            return PoseTrack()
        geodetic, times = np.array(self._positions), np.array(self._times, np.int64)
        kept = self._kept(geodetic, times)
        rows, geodetic, times = np.flatnonzero(kept), geodetic[kept], times[kept]
        geodetic[:, 2] = self._altitudes(geodetic[:, 2], times)
        if self.datum is None:
            latitude, longitude, altitude = geodetic[0].tolist()
            self.datum = (latitude, longitude, altitude)
        positions = geodetic_to_enu(geodetic[:, 0], geodetic[:, 1], geodetic[:, 2], self.datum)
        self.away_m = float(np.linalg.norm(positions[0]))
        collector = PoseCollector()
        for row, p, heading in zip(rows, positions, _courses(positions, self.min_step_m), strict=True):
            if np.isfinite(heading):
                T = planar_transform(p[0], p[1], heading, p[2])
                received_ns, stamp = self._times[row]
                collector.add(received_ns, stamp, T, _pose_covariance(self._covariances[row]))
        return collector.track()

    def _kept(self, geodetic: np.ndarray, times: np.ndarray) -> np.ndarray:
        ground = geodetic_to_ecef(geodetic[:, 0], geodetic[:, 1], 0.0)
        kept = plausible(ground, times[:, 1], times[:, 0], MotionConfig.max_speed_mps, LOOSEST_M)
        self.implausible = int((~kept).sum())
        if self.implausible:
            first = int(np.flatnonzero(~kept)[0])
            off_m = np.linalg.norm(ground[kept] - ground[first], axis=1).min()
            self.first_implausible = (
                f"GNSS fix at latitude {geodetic[first, 0]:.7f}, longitude {geodetic[first, 1]:.7f} is {off_m:.0f} m "
                "from the others, where no vehicle gets to in that time"
            )
        return kept

    def _altitudes(self, altitudes: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Altitudes (N,) with the unknown ones filled from those around them, else from the datum."""
        known = np.isfinite(altitudes)
        if (altitudes[known] != 0).any():
            known &= altitudes != 0  # no receiver measures exactly that
        rows = np.flatnonzero(known)
        heights = plausible(
            altitudes[rows, None], times[rows, 1], times[rows, 0], MotionConfig.max_speed_mps / 2, LOOSEST_ALTITUDE_M
        )
        rows = rows[heights]
        self.unknown_altitudes = len(altitudes) - len(rows)
        if not len(rows):
            return np.full(len(altitudes), self.datum[2] if self.datum else 0.0)
        return np.interp(np.arange(len(altitudes)), rows, altitudes[rows])


def position_covariance(msg) -> np.ndarray | None:
    """Covariance (3, 3) in square metres, east, north, up, of a NavSatFix; None where the receiver does not tell.

    Of a matrix that is approximated or known on its diagonal only, the diagonal counts; so it does where the rest makes
    no covariance. A height that is not told is as unsure as `LOOSEST_M`. FrameError where the fix may be further off
    than that.
    """
    kind = int(msg.position_covariance_type)
    C = np.asarray(msg.position_covariance, np.float64).reshape(3, 3)
    variances = np.diag(C).copy()
    if kind not in (APPROXIMATED, DIAGONAL_KNOWN, KNOWN) or not np.isfinite(variances[:2]).all():
        return None
    if (variances[:2] <= 0).any():  # left at zero, or -1
        return None
    if variances[:2].max() > LOOSEST_M**2:
        raise FrameError(f"GNSS fix that by its own covariance may be {np.sqrt(variances[:2].max()):.0f} m off")
    if not 0 < variances[2] <= LOOSEST_M**2:
        return np.diag([*variances[:2], LOOSEST_M**2])
    if kind == KNOWN and np.isfinite(C).all() and np.linalg.eigvalsh((C + C.T) / 2).min() >= 0:
        return (C + C.T) / 2
    return np.diag(variances)


def _pose_covariance(position: np.ndarray | None) -> np.ndarray | None:
    """Covariance (6, 6) of the pose that a fix with this covariance (3, 3) gives."""
    if position is None:
        return None
    covariance = np.zeros((6, 6))
    covariance[:3, :3] = position
    # Roll and pitch are unknown, the course is good to about 18 degrees.
    covariance[3:, 3:] = np.diag([np.pi**2, np.pi**2, 0.1])
    return covariance


def _courses(positions: np.ndarray, min_step_m: float) -> np.ndarray:
    """Course over ground (N,) in radians at positions (N, 3); NaN where the robot has not moved at all."""
    anchor, headings = 0, np.full(len(positions), np.nan)
    for i in range(1, len(positions)):
        step = positions[i, :2] - positions[anchor, :2]
        if np.hypot(*step) >= min_step_m:
            course = np.arctan2(step[1], step[0])
            headings[anchor : i + 1] = np.where(np.isnan(headings[anchor : i + 1]), course, headings[anchor : i + 1])
            headings[i] = course
            anchor = i
    last = np.nan
    for i, heading in enumerate(headings):
        last = heading if np.isfinite(heading) else last
        headings[i] = last
    return headings
