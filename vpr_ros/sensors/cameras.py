"""Pinhole cameras as CameraInfo describes them: projection and undistortion through OpenCV."""

from dataclasses import dataclass

import cv2
import numpy as np

from vpr_ros.errors import FrameError

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

    def undistort(self, image: np.ndarray) -> np.ndarray:
        """Image (H, W, 3) as a pinhole camera with the same K would have seen it."""
        if not self.distortion.any():
            return image
        if self.model in _FISHEYE:
            return cv2.fisheye.undistortImage(image, self.K, self._fisheye(), Knew=self.K)
        return cv2.undistort(image, self.K, self.distortion)

    def _fisheye(self) -> np.ndarray:
        return np.resize(np.pad(self.distortion, (0, max(0, 4 - len(self.distortion)))), 4)
