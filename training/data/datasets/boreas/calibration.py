"""Boreas' frames and calibration: how its sensors sit on the car, and the frames that the project uses.

Frames. The Applanix frame (the INS) is x right, y forward, z up: on the published drives the car's velocity in it is
(0.01, 1.00, 0.00) at the median. The project's base frame is the same point with x forward, y left, z up (REP-103).
The LiDAR frame has z up and is turned by about 43 degrees against the INS; the camera frame is optical (x right, y
down, z forward).

Rotations are written in the passive convention: C_enu_sensor = roll(r) pitch(p) yaw(y) with the transposes of the usual
elementary rotations.

Positions. `easting`, `northing`, `altitude` of the pose files come in two kinds. In one they have the size of UTM zone
17N coordinates (about 623426, 4848821), in the other they begin near zero: relative to the first pose of
boreas-2020-11-26-13-58, as the data set's guide says. Either way they are metres east, north, up in a tangent plane: on
the published drives of the first kind, positions and velocities agree to 0.002 degrees and 6e-5 of length, while a UTM
grid is turned by 1.1 degrees there and shrunk by 2e-4. The map frame is east, north, up with a fixed origin for every
sequence: MAP_ORIGIN in the first kind, the files' own zero in the second. The transform between the two kinds is not
published, so a set does not mix them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, rigid_transform, roll_pitch_yaw_to_matrix
from vpr_ros.sensors.cameras import Camera

MAP_ORIGIN = (622_000.0, 4_848_000.0, 150.0)  # easting, northing, altitude of the map frame's origin, metres
Positions = Literal["utm", "relative"]
UTM: Positions = "utm"
RELATIVE: Positions = "relative"
_UTM_NORTHING_M = 1_000_000.0  # no route is that far from its first pose

T_APPLANIX_BASE = np.array([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


def rotation(roll, pitch, yaw) -> np.ndarray:
    """C_enu_sensor (..., 3, 3) of Boreas' angles in radians."""
    # The product of transposes is the transpose of the active product in reverse order.
    return np.swapaxes(roll_pitch_yaw_to_matrix(roll, pitch, yaw), -1, -2)


def kind_of(northing_m: np.ndarray) -> Positions:
    """Which kind of positions a pose file holds."""
    return UTM if np.median(np.abs(northing_m)) > _UTM_NORTHING_M else RELATIVE


def T_map_sensor(position: np.ndarray, angles: np.ndarray, kind: Positions) -> np.ndarray:
    """Poses (N, 4, 4) in the map frame of positions (N, 3) east, north, up and angles (N, 3) roll, pitch, yaw."""
    origin = np.array(MAP_ORIGIN if kind == UTM else (0.0, 0.0, 0.0))
    return rigid_transform(rotation(*np.asarray(angles).T), position - origin)


@dataclass(frozen=True)
class Calibration:
    """A sequence's `calib/` folder."""

    T_base_lidar: np.ndarray  # (4, 4)
    T_base_camera: np.ndarray | None = None  # (4, 4) of the optical frame, None where the folder lacks it
    K: np.ndarray | None = None  # (3, 3) of the full-size, rectified pictures


def read_calibration(folder: Path, camera: bool = True) -> Calibration:
    """Calibration of `calib/`; without `camera` its two files need not be there.

    Raises VprError where a file is missing, torn or holds no transform.
    """
    T_base_lidar = invert(T_APPLANIX_BASE) @ _rigid(folder / "T_applanix_lidar.txt")
    if not camera:
        return Calibration(T_base_lidar)
    path = folder / "P_camera.txt"
    P = _matrix(path)
    K = P[:3, :3]
    if K[0, 0] <= 0 or K[1, 1] <= 0 or abs(K[2] - [0, 0, 1]).max() > 1e-6 or abs(P[:3, 3]).max() > 1e-6:
        raise VprError(
            f"{path} is no projection of rectified pictures (fx 0 cx 0; 0 fy cy 0; 0 0 1 0); fetch calib/ again"
        )
    return Calibration(T_base_lidar, T_base_lidar @ invert(_rigid(folder / "T_camera_lidar.txt")), K)


def camera_of(K: np.ndarray, full: tuple[int, int], size: tuple[int, int]) -> Camera:
    """The camera of pictures resized from `full` to `size`, both (height, width)."""
    scale = np.array([size[1] / full[1], size[0] / full[0]])
    small = np.array(K, np.float64)
    small[:2] *= scale[:, None]
    small[:2, 2] = (np.array([K[0, 2], K[1, 2]]) + 0.5) * scale - 0.5  # pixel centres are whole numbers
    return Camera(small, size[1], size[0], np.zeros(5))


def _matrix(path: Path) -> np.ndarray:
    try:
        rows = [[float(v) for v in line.split()] for line in path.read_text().splitlines() if line.strip()]
    except OSError as error:
        raise VprError(
            f"{path} cannot be read ({error.strerror}): a Boreas sequence has its calibration there; fetch "
            "the sequence's calib/ folder"
        ) from None
    except (ValueError, UnicodeDecodeError):
        rows = []
    if len(rows) not in (3, 4) or {len(row) for row in rows} != {4} or not np.isfinite(rows).all():
        raise VprError(f"{path} is no matrix of 4 columns and 4 rows of numbers; fetch calib/ again")
    return np.array([*rows, [0.0, 0.0, 0.0, 1.0]][:4])


def _rigid(path: Path) -> np.ndarray:
    """The nearest rigid transform: the files are rounded, so their rotations are not quite orthogonal."""
    T = _matrix(path)
    u, s, v = np.linalg.svd(T[:3, :3])
    if abs(s - 1).max() > 0.02 or np.linalg.det(T[:3, :3]) < 0:
        raise VprError(f"{path} holds no rotation and translation; fetch calib/ again")
    T[:3, :3] = u @ v
    return T
