"""One belief on where odometry's frame stands in the map: an error-state Kalman filter over poses of the base."""

from dataclasses import dataclass

import numpy as np

from vpr_ros.geometry import (
    invert,
    matrix_to_rotvec,
    planar_transform,
    rigid_transform,
    rotation_angle,
    rotvec_to_matrix,
    yaw_of,
)
from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig

PLANAR_AXES = (0, 1, 5)  # x y heading, of x y z rotX rotY rotZ
ALL_AXES = tuple(range(6))
GATES = {3: 16.27, 6: 22.46}  # 99.9 % of chi-square, by the number of axes: of right poses, what passes
STEP_M, STEP_RAD = 0.05, 0.02  # less is the jitter of a robot that stands, and no way


@dataclass(frozen=True)
class MapPose:
    """A verified pose (4, 4) of the base in the map, and its covariance (6, 6): x y z rotX rotY rotZ, in the map's axes
    at the robot's position."""

    T_map_base: np.ndarray
    covariance: np.ndarray


def stds(covariance: np.ndarray) -> tuple[float, float]:
    """Standard deviations of a covariance (n, n) that begins with x and y and ends with the heading.

    On the ground in metres, in the least certain direction, and of the heading in radians.
    """
    ground = max(float(np.linalg.eigvalsh(covariance[:2, :2])[-1]), 0.0)
    return float(np.sqrt(ground)), float(np.sqrt(covariance[-1, -1]))


def displaced(T_map_odom: np.ndarray, position: np.ndarray, shift: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """T_map_odom (4, 4) after what stands at `position` (3,) of the map was moved and turned about itself.

    `shift` (3,) metres and the rotation vector `turn` (3,) are in the map's axes.
    """
    R = rotvec_to_matrix(turn)
    return rigid_transform(R, position + shift - R @ position) @ T_map_odom


def map_to_odom(T_map_base: np.ndarray, T_odom_base: np.ndarray, planar: bool) -> np.ndarray:
    """T_map_odom (4, 4) by which the base stands at a pose of the map.

    Planar: height and tilt of odometry's frame are the map's, x, y and heading of the base are kept.
    """
    if not planar:
        return T_map_base @ invert(T_odom_base)
    turned = planar_transform(0.0, 0.0, float(yaw_of(T_map_base) - yaw_of(T_odom_base)))
    turned[:2, 3] = T_map_base[:2, 3] - (turned @ T_odom_base)[:2, 3]
    return turned


class Track:
    """A belief that begins with one pose, moves with odometry and takes further poses in.

    The error is that of the base's pose in the map, in the map's axes at the robot's position: x y heading where
    planar, else x y z rotX rotY rotZ. There, and not at odometry's origin, it is what one expects: an error of heading
    is no error of position. A heading error from before moves the position as the robot drives on, and odometry adds
    `odom_drift` of the way since the last pose.
    """

    def __init__(self, config: MapToOdomConfig, stamp_ns: int, T_odom_base: np.ndarray, pose: MapPose):
        self.config, self.began_ns, self.poses = config, stamp_ns, 1
        self._axes = np.array(PLANAR_AXES if config.planar else ALL_AXES)
        self._gate = GATES[len(self._axes)]
        self.T_map_odom = map_to_odom(pose.T_map_base, T_odom_base, config.planar)
        self._at(T_odom_base, self._pose_covariance(pose))

    def _at(self, T_odom_base: np.ndarray, covariance: np.ndarray) -> None:
        """From here on way and turn are counted, from this covariance (n, n)."""
        self._covariance = covariance
        self._T_from = self._T_counted = self._T_now = T_odom_base
        self.travelled_m = self._turned_rad = 0.0

    @property
    def T_map_base(self) -> np.ndarray:
        """Where the robot is (4, 4), by this belief."""
        return self.T_map_odom @ self._T_now

    @property
    def covariance(self) -> np.ndarray:
        """Of the robot's pose: (3, 3) x y heading where planar, else (6, 6)."""
        return self.covariance_at(self._T_now, 0.0)

    def covariance_at(self, T_odom_base: np.ndarray, ahead_m: float) -> np.ndarray:
        """The same for a robot that has gone on to this pose (4, 4) of odometry, on a way of so many metres."""
        travelled_m = self.travelled_m + ahead_m
        way = self.T_map_odom[:3, :3] @ (T_odom_base[:3, 3] - self._T_from[:3, 3])
        transport = np.eye(6)
        transport[:3, 3:] = [[0, way[2], -way[1]], [-way[2], 0, way[0]], [way[1], -way[0], 0]]
        transport = transport[np.ix_(self._axes, self._axes)]
        drift = self.config.odom_drift
        turn = drift * (travelled_m / self.config.drift_turn_m + self._turned_rad)
        return transport @ self._covariance @ transport.T + self._squares(drift * travelled_m, turn)

    def narrow(self, times: float = 1.0) -> bool:
        """Whether the belief is narrow enough to be followed; with `times`, so many times as wide at most."""
        return self.config.narrow(*stds(self.covariance), times)

    def moved(self, T_odom_base: np.ndarray, at_least_m: float = 0.0) -> None:
        """The robot has gone on to this pose (4, 4) of odometry: straight, or on a way that is known to be longer."""
        self._T_now = T_odom_base
        step_m = max(float(np.linalg.norm(T_odom_base[:3, 3] - self._T_counted[:3, 3])), at_least_m)
        turn_rad = float(rotation_angle(self._T_counted[:3, :3], T_odom_base[:3, :3]))
        if step_m >= STEP_M or turn_rad >= STEP_RAD:
            self.travelled_m += step_m
            self._turned_rad += turn_rad
            self._T_counted = T_odom_base

    def restarted(self, T_odom_base: np.ndarray) -> None:
        """Odometry has jumped to this pose (4, 4): the robot is taken to stand where it was, roughly."""
        covariance = self.covariance + self._squares(self.config.after_jump_m, self.config.after_jump_rad)
        self.T_map_odom = map_to_odom(self.T_map_base, T_odom_base, self.config.planar)
        travelled_m = self.travelled_m
        self._at(T_odom_base, covariance)
        self.travelled_m = travelled_m

    def agrees(self, pose: MapPose) -> bool:
        """Whether a pose of now passes the gate: chi-square of the difference against both covariances."""
        difference = self._difference(pose)
        spread = self.covariance + self._pose_covariance(pose)
        return bool(difference @ np.linalg.solve(spread, difference) <= self._gate)

    def fuse(self, pose: MapPose) -> None:
        """Take a pose of now in; from here on drift is counted anew."""
        prior = self.covariance + self._squares(self.config.shared_m, self.config.shared_rad)
        noise = self._pose_covariance(pose)
        gain = np.linalg.solve(prior + noise, prior).T  # prior (prior + noise)^-1, of symmetric matrices
        correction = np.zeros(6)
        correction[self._axes] = gain @ self._difference(pose)
        self.T_map_odom = displaced(self.T_map_odom, self.T_map_base[:3, 3], correction[:3], correction[3:])
        rest = np.eye(len(self._axes)) - gain
        self._at(self._T_now, rest @ prior @ rest.T + gain @ noise @ gain.T)  # Joseph's form stays symmetric
        self.poses += 1

    def _difference(self, pose: MapPose) -> np.ndarray:
        """What moves the belief's pose to the given one, along the axes of the error."""
        believed = self.T_map_base
        if self.config.planar:
            turn = float(yaw_of(pose.T_map_base) - yaw_of(believed))
            along = pose.T_map_base[:2, 3] - believed[:2, 3]
            return np.array([*along, (turn + np.pi) % (2 * np.pi) - np.pi])
        rotation = matrix_to_rotvec(pose.T_map_base[:3, :3] @ believed[:3, :3].T)
        return np.concatenate([pose.T_map_base[:3, 3] - believed[:3, 3], rotation])

    def _pose_covariance(self, pose: MapPose) -> np.ndarray:
        floor = self._squares(self.config.pose_floor_m, self.config.pose_floor_rad)
        return np.asarray(pose.covariance, np.float64)[np.ix_(self._axes, self._axes)] + floor

    def _squares(self, std_m: float, std_rad: float) -> np.ndarray:
        """Diagonal covariance over the axes of the error."""
        return np.diag(np.where(self._axes < 3, std_m, std_rad) ** 2)
