"""Oxford RobotCar's sensors: camera models, Bayer patterns, mounting, and the frames that the project uses.

Frames. The data set's vehicle frame is the stereo camera's body: x forward, y right, z down, as is the INS frame.
An image frame is optical (x right, y down, z forward) and lies in its camera's body frame by `G_camera_image`.
The project's base frame is the INS turned to x forward, y left, z up (REP-103), with the INS as its origin.
The extrinsics of a laser and of the INS place the sensor in the vehicle (T_vehicle_sensor); those of a camera take
vehicle points into the camera (T_camera_vehicle), which is the direction in which the kit multiplies them.

The map frame is east, north, up with the fixed origin MAP_ORIGIN for every traversal: RobotCar's UTM zone 30U values
less northing 5,735,000 m and easting 620,000 m, and 110 m less in altitude, so that numbers stay within some kilometres
and all traversals share one frame regardless of their first pose. Headings are the INS's own, as given. Numbers:
FORMATS §2.1.
"""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, rigid_transform, roll_pitch_yaw_to_matrix

MAP_ORIGIN = (5_735_000.0, 620_000.0, 110.0)  # northing, easting (UTM 30U), altitude of the map frame's origin, metres

# x, y, z (m), roll, pitch, yaw (rad)
_EXTRINSICS = {
    "stereo": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "ins": (-1.7132, 0.1181, 1.1948, -0.0125, 0.0400, 0.0050),
    "lms_front": (1.7589, 0.2268, 1.0411, -0.0437, -1.4572, 0.0356),
    "lms_rear": (-2.5850, 0.2852, 1.0885, -2.8405, -1.5090, -0.3614),
    "ldmrs": (1.5349, 0.0090, 1.3777, 0.0205, 0.0767, -0.0299),
    "mono_left": (-0.0905, 1.6375, 0.2803, 0.2079, -0.2339, 1.2321),
    "mono_right": (-0.2587, -1.6810, 0.3226, -0.1961, -0.2469, -1.2675),
    "mono_rear": (-2.0582, 0.0894, 0.3675, -0.0119, -0.2498, 3.1283),
    "velodyne_left": (-0.60072, -0.34077, -0.26837, -0.0053948, -0.041998, -3.1337),
    "velodyne_right": (-0.61153, 0.55676, -0.27023, 0.0027052, -0.041999, -3.1357),
}
LIDARS = ("lms_front", "lms_rear", "ldmrs", "velodyne_left", "velodyne_right")
_MODEL_OF = {
    "stereo/left": "stereo_wide_left",
    "stereo/right": "stereo_wide_right",
    "stereo/centre": "stereo_narrow_left",
    "mono_left": "mono_left",
    "mono_right": "mono_right",
    "mono_rear": "mono_rear",
}
CAMERAS = tuple(_MODEL_OF)
_INTRINSICS = {  # fx, fy, cx, cy in pixels
    "stereo_narrow_left": (964.828979, 964.828979, 643.788025, 484.407990),
    "stereo_wide_left": (983.044006, 983.044006, 643.646973, 493.378998),
    "stereo_wide_right": (983.044006, 983.044006, 643.646973, 493.378998),
    "mono_left": (400.0, 400.0, 500.107605, 511.461426),
    "mono_right": (400.0, 400.0, 502.503754, 490.259033),
    "mono_rear": (400.0, 400.0, 508.222931, 498.187378),
}
_T_INS_BASE = np.diag([1.0, -1.0, -1.0, 1.0])
_T_ENU_NED = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, -1, 0], [0, 0, 0, 1.0]])


def se3(x, y, z, roll, pitch, yaw) -> np.ndarray:
    """Transforms (..., 4, 4) of positions and angles in radians: R = Rz(yaw) Ry(pitch) Rx(roll)."""
    return rigid_transform(roll_pitch_yaw_to_matrix(roll, pitch, yaw), np.stack(np.broadcast_arrays(x, y, z), axis=-1))


def T_map_base(northing, easting, down, roll, pitch, yaw) -> np.ndarray:
    """Poses (N, 4, 4) of the base in the map frame, from the north-east-down poses of the INS (UTM metres, radians)."""
    T_ned_ins = se3(
        np.asarray(northing) - MAP_ORIGIN[0],
        np.asarray(easting) - MAP_ORIGIN[1],
        np.asarray(down) + MAP_ORIGIN[2],
        roll,
        pitch,
        yaw,
    )
    return _T_ENU_NED @ T_ned_ins @ _T_INS_BASE


def T_base_lidar(sensor: str) -> np.ndarray:
    """Pose (4, 4) of a laser in the base frame, for points as its files hold them."""
    return invert(_T_INS_BASE) @ invert(se3(*_EXTRINSICS["ins"])) @ se3(*_EXTRINSICS[sensor])


def T_base_camera(camera: str, G_camera_image: np.ndarray | None = None) -> np.ndarray:
    """Pose (4, 4) of a camera's optical frame in the base frame; `G_camera_image` as its model file has it."""
    G = default_model(camera).G_camera_image if G_camera_image is None else G_camera_image
    T_camera_vehicle = se3(*_EXTRINSICS[camera.split("/")[0]])
    return invert(_T_INS_BASE) @ invert(se3(*_EXTRINSICS["ins"])) @ invert(T_camera_vehicle) @ G


@dataclass(frozen=True)
class CameraModel:
    """One camera: K (3, 3) of its undistorted images, its mounting, and where each of their pixels was taken."""

    camera: str  # folder, e.g. "stereo/centre"
    K: np.ndarray
    G_camera_image: np.ndarray  # (4, 4), p_camera = G p_image
    lut: np.ndarray | None = None  # (H, W, 2) float32: x, y in the distorted image, 0-based

    @property
    def T_base_optical(self) -> np.ndarray:
        """Pose (4, 4) of the optical frame in the base frame."""
        return T_base_camera(self.camera, self.G_camera_image)

    def undistort(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W, 3) uint8 through the table, bilinear; black where the table points outside."""
        if self.lut is None:
            raise VprError(f"the undistortion table of {self.camera} was not loaded")
        if image.shape[:2] != self.lut.shape[:2]:
            raise VprError(
                f"an image of {self.camera} is {image.shape[1]}x{image.shape[0]} pixels, but its "
                f"undistortion table is for {self.lut.shape[1]}x{self.lut.shape[0]}; take both from one "
                "kit"
            )
        return cv2.remap(image, self.lut, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)  # pyright: ignore


def default_model(camera: str) -> CameraModel:
    """The published intrinsics of a camera, without an undistortion table. Raises VprError for another name."""
    if camera not in _MODEL_OF:
        raise VprError(f"RobotCar has no camera '{camera}'; choose {', '.join(CAMERAS)}")
    name = _MODEL_OF[camera]
    fx, fy, cx, cy = _INTRINSICS[name]
    baseline = 0.239983 if name == "stereo_wide_right" else 0.0
    G = np.array([[0, 0, 1, 0], [1, 0, 0, baseline], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    return CameraModel(camera, np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]), G)


def model_files(camera: str, folder: Path) -> tuple[Path, Path]:
    """Intrinsics and undistortion table of a camera in the kit's `models/` folder. VprError for no such camera."""
    name = _MODEL_OF[default_model(camera).camera]
    return folder / f"{name}.txt", folder / f"{name}_distortion_lut.bin"


def load_model(camera: str, folder: Path, size: tuple[int, int]) -> CameraModel:
    """Model files of the kit's `models/` folder for images of `size` = (height, width).

    Raises VprError where `<name>.txt` or `<name>_distortion_lut.bin` is missing, torn or for another image size.
    """
    text, table = model_files(camera, folder)
    for path in (text, table):
        if not path.is_file():
            raise VprError(
                f"{path} is missing: undistorting {camera} needs the development kit's models/ folder; copy "
                "it beside the traversal, name it with --models, or keep the images raw with --raw"
            )
    try:
        rows = [[float(v) for v in line.split()] for line in text.read_text().splitlines() if line.strip()]
        fx, fy, cx, cy = rows[0]
        G = np.array(rows[1:5], np.float64).reshape(4, 4)
    except (ValueError, IndexError, UnicodeDecodeError):
        raise VprError(
            f"{text} is no camera model: line 1 should be 'fx fy cx cy', lines 2 to 5 a 4x4 matrix; copy it again"
        ) from None
    height, width = size
    needed = 2 * height * width * 8
    if table.stat().st_size != needed:
        raise VprError(
            f"{table} has {table.stat().st_size} bytes, but images of {width}x{height} need {needed}; copy "
            "it again, or take images and models of one kit"
        )
    lut = np.fromfile(table, "<f8").reshape(2, height, width).clip(-1e9, 1e9)  # all x, then all y; float32 holds them
    return CameraModel(
        camera,
        np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]),
        G,
        np.ascontiguousarray(np.moveaxis(lut, 0, -1).astype(np.float32)),
    )


def demosaic(bayer: np.ndarray, camera: str) -> np.ndarray:
    """RGB (H, W, 3) uint8 of a Bayer image (H, W) uint8, bilinear: GBRG for the stereo camera, RGGB for the others."""
    # OpenCV names a pattern by the second row's second and third pixel: GBRG is "GR", RGGB is "BG".
    code = cv2.COLOR_BayerGR2RGB if camera.startswith("stereo") else cv2.COLOR_BayerBG2RGB
    return cv2.cvtColor(bayer, code)
