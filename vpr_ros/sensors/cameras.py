"""Pinhole cameras as CameraInfo describes them: projection and undistortion through OpenCV."""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vpr_ros.errors import FrameError
from vpr_ros.observation import Rotation
from vpr_ros.sensors.upright import R_camera_upright

_FISHEYE = ("equidistant", "fisheye")


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
        """Camera of a CameraInfo (ROS 1 spells K and D in capitals). FrameError when it was never calibrated."""
        K = np.asarray(msg.k if hasattr(msg, "k") else msg.K, np.float64).reshape(3, 3)
        d = np.asarray(msg.d if hasattr(msg, "d") else msg.D, np.float64).reshape(-1)
        if not np.isfinite(K).all() or not np.isfinite(d).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise FrameError("CameraInfo has no focal length; the camera was never calibrated")
        return cls(K, int(msg.width), int(msg.height), d, str(msg.distortion_model) or "plumb_bob")

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
        if not self.distortion.any():
            return image
        if self.model in _FISHEYE:
            return cv2.fisheye.undistortImage(image, self.K, self._fisheye(), Knew=self.K)
        return cv2.undistort(image, self.K, self.distortion)

    def _fisheye(self) -> np.ndarray:
        return np.resize(np.pad(self.distortion, (0, max(0, 4 - len(self.distortion)))), 4)
