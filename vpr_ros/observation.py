"""What the sensors hand to mapping and localisation: one camera image and what was known at its time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from vpr_ros.sensors.cameras import Camera

Rotation = Literal[0, 90, 180, 270]  # degrees clockwise that a picture is turned by, so that it stands upright


@dataclass(frozen=True, slots=True)
class Observation:
    """One camera image with the poses and the cloud that belong to its stamp.

    `T_a_b` maps points of frame b into frame a (4x4, metres). Poses are None where the robot has none.
    """

    stamp_ns: int  # the image's own header stamp, never the time of arrival
    # (H, W, 3) uint8 RGB, upright. Of a large JPEG a half, a quarter or an eighth of its sides: what the network needs.
    image: np.ndarray
    T_odom_base: np.ndarray | None = None  # drifting odometry, interpolated at the stamp
    T_map_base: np.ndarray | None = None  # pose in the map frame; read by mapping only
    covariance: np.ndarray | None = None  # (6, 6) of T_map_base, order x y z rotX rotY rotZ
    cloud: np.ndarray | None = None  # (N, 3) float32 in the base frame, metres
    rotation: Rotation = 0  # that the camera's picture was turned by to become `image`
    camera: "Camera | None" = None  # of `whole_image`, as it is turned
    T_base_camera: np.ndarray | None = None  # (4, 4) of the optical frame of `image`, as it is turned
    # (H, W) float32 along the optical axis, metres, NaN unknown; aligned with `whole_image`
    depth: np.ndarray | None = None
    # (h, w, 3) uint8 RGB: `image` at the network's input size, where it was made beforehand
    network_input: np.ndarray | None = None
    whole: Callable[[], np.ndarray] | None = None  # decodes the whole picture, where `image` is a reduced one

    def whole_image(self) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright, with all the camera's pixels; decoded anew at each call where `image` is
        reduced."""
        return self.image if self.whole is None else self.whole()
