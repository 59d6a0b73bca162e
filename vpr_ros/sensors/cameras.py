"""Pinhole cameras as CameraInfo describes them: projection and undistortion through OpenCV."""

from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.observation import Rotation
from vpr_ros.sensors.upright import R_camera_upright

_FISHEYE = ("equidistant", "fisheye")
# Models that are computed here, as sensor_msgs and OpenCV define them, with the numbers of coefficients that they have.
_COEFFICIENTS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (8, 12, 14),  # alone, with a thin prism, with a tilted sensor
    "equidistant": (4,),
    "fisheye": (4,),
}


@dataclass(frozen=True)
class Camera:
    """Intrinsics K (3, 3) in pixels of images width x height, with OpenCV distortion coefficients (n,)."""

    K: np.ndarray
    width: int
    height: int
    distortion: np.ndarray
    model: str = "plumb_bob"  # plumb_bob, rational_polynomial or equidistant

    @classmethod
    def from_message(cls, msg) -> "Camera":
        """Camera of a CameraInfo (ROS 1 spells K and D in capitals).

        FrameError when it was never calibrated, and for a distortion that is not computed here: a model by another
        name, or a number of coefficients that the named model has not.
        """
        K = np.asarray(msg.k if hasattr(msg, "k") else msg.K, np.float64).reshape(3, 3)
        d = np.asarray(msg.d if hasattr(msg, "d") else msg.D, np.float64).reshape(-1)
        if not np.isfinite(K).all() or not np.isfinite(d).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise FrameError("CameraInfo has no focal length; the camera was never calibrated")
        width, height = int(msg.width), int(msg.height)
        if width <= 0 or height <= 0:
            raise FrameError(f"CameraInfo is of pictures of {width}x{height} pixels; the camera was never calibrated")
        model = str(msg.distortion_model).strip().lower() or "plumb_bob"
        return cls(*_as_delivered(K, width, height, msg), _coefficients(model, d), model)

    @property
    def hfov_deg(self) -> float:
        """Horizontal field of view in degrees; of a fisheye, whose angle grows with the pixels, by its own model."""
        half = self.width / 2 / self.K[0, 0]
        return float(np.degrees(2 * (half if self.model in _FISHEYE else np.arctan(half))))

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (N, 2) of points (N, 3) in the optical frame (z forward) and which of them are seen (N,) bool."""
        points = np.asarray(points, np.float64).reshape(-1, 1, 3)
        front = points[:, 0, 2] > 1e-6
        pixels = np.full((len(points), 2), np.nan)
        if front.any():
            zero = np.zeros(3)
            if self.model in _FISHEYE:
                found = cv2.fisheye.projectPoints(points[front], zero, zero, self.K, self._fisheye())[0]
            else:
                found = cv2.projectPoints(points[front], zero, zero, self.K, self.distortion)[0]
            pixels[front] = found.reshape(-1, 2)
        inside = (pixels >= -0.5).all(axis=1) & (pixels < [self.width - 0.5, self.height - 0.5]).all(axis=1)
        return pixels, front & inside

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Directions (N, 2) of pixels (N, 2): x / z and y / z in the optical frame, without distortion."""
        pixels = np.asarray(pixels, np.float64).reshape(-1, 1, 2)
        if not len(pixels):
            return np.empty((0, 2))
        if self.model in _FISHEYE:
            return cv2.fisheye.undistortPoints(pixels, self.K, self._fisheye()).reshape(-1, 2)
        return cv2.undistortPoints(pixels, self.K, self.distortion).reshape(-1, 2)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        K = self.K
        pinhole = [float(v) for v in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
        size, d = [self.width, self.height], np.asarray(self.distortion, np.float64).tolist()
        return {"pinhole": pinhole, "size": size, "distortion": d, "model": self.model}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Camera":
        """Inverse of `to_dict`; KeyError, TypeError or ValueError for damaged content."""
        fx, fy, cx, cy = (float(v) for v in values["pinhole"])
        width, height = (int(v) for v in values["size"])
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        return cls(K, width, height, np.array(values["distortion"], dtype=np.float64), str(values["model"]))

    def scaled(self, width: int, height: int) -> "Camera":
        """The camera of its pictures reduced or enlarged to another size."""
        x, y = width / self.width, height / self.height
        # Corners are scaled, and pixels are counted from the centre of the first one.
        pixels = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1.0]])
        return replace(self, K=pixels @ self.K, width=width, height=height)

    def turned(self, rotation: Rotation) -> "Camera":
        """The camera whose pictures are this one's, turned clockwise by so many degrees.

        Its optical frame has the axes of `R_camera_upright` in this camera's. FrameError for a tilted sensor
        (distortion of more than 12 coefficients), which has no such model.
        """
        if rotation == 0:
            return self
        width, height = (self.height, self.width) if rotation in (90, 270) else (self.width, self.height)
        R = R_camera_upright(rotation)
        pixels = R.T.copy()  # of the picture: the same turn, and then its corner back to (0, 0)
        pixels[0, 2] = 0 if rotation == 270 else width - 1
        pixels[1, 2] = 0 if rotation == 90 else height - 1
        d = self.distortion.astype(np.float64)
        if self.model not in _FISHEYE:
            if d[12:].any():
                raise FrameError("CameraInfo has a tilted sensor, whose pictures cannot be turned; set rotate to 0")
            # Pairs of coefficients that are vectors in the picture: p2 p1, s1 s3, s2 s4.
            for pair in ([3, 2], [8, 10], [9, 11]):
                if max(pair) < len(d):
                    d[pair] = R[:2, :2].T @ d[pair]
        return replace(self, K=pixels @ self.K @ R, width=width, height=height, distortion=d)

    def undistort(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W, 3) as a pinhole camera with the same K would have seen it."""
        if self.model in _FISHEYE:  # bent even where all its coefficients are zero
            return cv2.fisheye.undistortImage(image, self.K, self._fisheye(), Knew=self.K)
        return cv2.undistort(image, self.K, self.distortion) if self.distortion.any() else image

    def _fisheye(self) -> np.ndarray:
        return self.distortion if len(self.distortion) else np.zeros(4)


def _as_delivered(K: np.ndarray, width: int, height: int, msg) -> tuple[np.ndarray, int, int]:
    """Intrinsics (3, 3) and size of the pictures that are sent: CameraInfo's are those of the whole sensor."""
    K, roi = K.copy(), getattr(msg, "roi", None)
    if roi is not None and roi.width and roi.height:
        K[:2, 2] -= roi.x_offset, roi.y_offset
        width, height = int(roi.width), int(roi.height)
    binning_x, binning_y = (max(int(getattr(msg, f"binning_{axis}", 0)), 1) for axis in "xy")
    K[0] /= binning_x
    K[1] /= binning_y
    return K, max(width // binning_x, 1), max(height // binning_y, 1)


def _coefficients(model: str, d: np.ndarray) -> np.ndarray:
    """The coefficients (n,) of a model, none where all are zero; zeros behind the last one are left out."""
    if model not in _COEFFICIENTS:
        raise FrameError(
            f"CameraInfo has the distortion model '{model}', which is not computed here; known are "
            f"{', '.join(_COEFFICIENTS)}"
        )
    if not d.any():
        return np.zeros(0)
    counts = _COEFFICIENTS[model]
    if len(d) not in counts and not d[counts[-1] :].any():
        d = d[: counts[-1]]
    if len(d) not in counts:
        raise FrameError(
            f"CameraInfo has {len(d)} distortion coefficients, but {model} has {' or '.join(map(str, counts))}; "
            "calibrate the camera again or correct distortion_model"
        )
    return d
