"""Does the geometry agree with a match, and where exactly does the query stand? By keypoints or by LiDAR."""

from vpr_ros.verification.camera import CameraVerificationConfig, verify_features
from vpr_ros.verification.landmarks import Neighbour
from vpr_ros.verification.lidar import (
    PreparedCloud,
    VerificationConfig,
    prepare_cloud,
    register,
    verify_clouds,
)
from vpr_ros.verification.result import Method, Verified

__all__ = [
    "CameraVerificationConfig",
    "Method",
    "Neighbour",
    "PreparedCloud",
    "VerificationConfig",
    "Verified",
    "prepare_cloud",
    "register",
    "verify_clouds",
    "verify_features",
]
