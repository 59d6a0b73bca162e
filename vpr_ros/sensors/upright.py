"""Cameras that do not stand upright: how far their pictures have to be turned, by TF or as told, and the turning.

A rotation is counted in degrees clockwise. It is the roll of the camera, clockwise as seen from behind: a camera whose
top points to the right gives pictures whose sky is on the left, and a rotation of 90 puts them right.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from vpr_ros.geometry import rigid_transform
from vpr_ros.observation import Rotation
from vpr_ros.sensors.bags.config import Rotate

ROTATIONS: tuple[Rotation, ...] = get_args(Rotation)
LARGEST_OFFSET_DEG = 25.0  # from a quarter turn; a roll in between is left as it is
STEEPEST_DEG = 45.0  # of the optical axis against the horizon; a camera that looks down has no way up
_R_BODY_OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # REP 103: x forward, y left, z up of a camera body
UNREADABLE_FRAME = (
    "TF lets the images' frame '{}' be an optical one or a camera body's: the camera's pose is not used; name the "
    "frame ..._optical_frame, or set rotate"
)

# Why a camera has its rotation. The last four leave the pictures as they are.
Reason = Literal["told", "TF", "no TF", "looks up or down", "between quarter turns", "two readings"]


@dataclass(frozen=True)
class Mounting:
    """By how much a camera's pictures are turned, why, and a sentence about it."""

    rotation: Rotation
    reason: Reason
    sentence: str

    @property
    def unclear(self) -> bool:
        """Whether TF knows the camera and yet does not say how its pictures stand."""
        return self.reason in ("looks up or down", "between quarter turns", "two readings")


def rotation_of(value: object) -> Rotation:
    """A rotation that a file keeps; 0 where it is none, as in files of versions that turned nothing."""
    known: dict[int, Rotation] = {rotation: rotation for rotation in ROTATIONS}
    return known.get(value, 0) if isinstance(value, int) else 0


def told(rotate: Rotate) -> Mounting | None:
    """The mounting where the user has said it; None for "auto"."""
    if rotate == "auto":
        return None
    rotation = rotation_of(int(rotate))
    return Mounting(rotation, "told", f"pictures are turned by {rotation} degrees, as rotate says")


def mounting_by_tf(T_base_camera: np.ndarray | None, base_frame: str, camera_frame: str) -> Mounting:
    """The mounting of a camera whose images are stamped with `camera_frame`, from its pose (4, 4) in the base frame.

    The base frame has z up (REP 103). The camera's is optical (z forward, x right, y down), as `sensor_msgs/Image`
    demands; where its name does not say so (`..._optical_frame`) and it could as well be a camera body's (x forward,
    z up), nothing is turned. None for a pose that fixed links of TF do not tell.
    """
    frames = f"{base_frame} -> {camera_frame or 'a camera without frame_id'}"
    if T_base_camera is None:
        return _as_they_come("no TF", f"no fixed TF links {frames}")
    R = np.asarray(T_base_camera, np.float64)[:3, :3]
    optical = _read(R, frames)
    if "optical" in camera_frame.lower():
        return optical
    body = _read(R @ _R_BODY_OPTICAL, frames)
    if body.reason == "looks up or down" and optical.reason != "looks up or down":
        return optical
    for reading in (optical, body):
        if reading.reason == "TF" and reading.rotation == 0:
            return reading
    return _as_they_come(
        "two readings",
        f"TF ({frames}) means another roll for an optical frame than for one with x forward, and the name says neither",
    )


def T_base_upright(T_base_frame: np.ndarray, camera_frame: str, rotation: Rotation) -> np.ndarray | None:
    """Pose (4, 4) in the base of the optical frame of pictures that were turned upright.

    `T_base_frame` is that of the frame which the images are stamped with: an optical one, or a camera body's (x
    forward, z up). None where its name does not say which (`..._optical_frame`) and its pose lets it be either.
    """
    R = np.asarray(T_base_frame, np.float64)[:3, :3]
    readings: list[tuple[np.ndarray, Mounting]] = [(axes, _read(R @ axes, "")) for axes in (np.eye(3), _R_BODY_OPTICAL)]
    if "optical" in camera_frame.lower():
        readings = readings[:1]
    else:
        level = [one for one in readings if one[1].reason != "looks up or down"]
        fitting = [one for one in level if one[1].reason == "TF" and one[1].rotation == rotation]
        readings = fitting or level
    if len(readings) != 1:
        return None
    return T_base_frame @ rigid_transform(readings[0][0] @ R_camera_upright(rotation), np.zeros(3))


def _read(R_base_optical: np.ndarray, frames: str) -> Mounting:
    """The mounting of an optical frame with these axes (3, 3) in the base frame."""
    up_x, up_y, forward = R_base_optical[2]  # the vertical in the camera's axes
    steep = float(np.degrees(np.arcsin(np.clip(forward, -1, 1))))
    if abs(steep) > STEEPEST_DEG:
        way = "up" if steep > 0 else "down"
        return _as_they_come("looks up or down", f"TF ({frames}) has the camera look {way} by {abs(steep):.0f} degrees")
    roll = float(np.degrees(np.arctan2(-up_x, -up_y))) % 360.0
    quarter = round(roll / 90.0)
    if abs(roll - 90.0 * quarter) > LARGEST_OFFSET_DEG:
        sentence = f"TF ({frames}) has the camera rolled by {roll:.0f} degrees, which no quarter turn puts right"
        return _as_they_come("between quarter turns", sentence)
    rotation = ROTATIONS[quarter % 4]
    if rotation == 0:
        return Mounting(0, "TF", f"TF ({frames}) has the camera upright")
    stands = {90: "rolled to the right", 180: "upside down", 270: "rolled to the left"}[rotation]
    return Mounting(
        rotation, "TF", f"TF ({frames}) has the camera {stands}: pictures are turned by {rotation} degrees clockwise"
    )


def _as_they_come(reason: Reason, sentence: str) -> Mounting:
    return Mounting(0, reason, f"{sentence}: pictures are taken as they come unless rotate is set")


def turned(image: np.ndarray, rotation: Rotation) -> np.ndarray:
    """Image (H, W, ...) turned clockwise by so many degrees; by 90 and 270 it becomes (W, H, ...)."""
    return image if rotation == 0 else np.ascontiguousarray(np.rot90(image, -rotation // 90))


def R_camera_upright(rotation: Rotation) -> np.ndarray:
    """Axes (3, 3) of the camera that would have taken the turned picture, in the optical frame of the one that did."""
    quarters = rotation // 90
    cos, sin = (1, 0, -1, 0)[quarters], (0, -1, 0, 1)[quarters]  # of minus the rotation about z, exact
    return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
