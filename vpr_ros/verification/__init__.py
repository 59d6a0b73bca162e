"""Does the geometry agree with a match, and where exactly does the query stand?"""

from vpr_ros.verification.lidar import (
    PreparedCloud,
    VerificationConfig,
    Verified,
    prepare_cloud,
    register,
    verify_clouds,
)

__all__ = [
    "PreparedCloud",
    "VerificationConfig",
    "Verified",
    "prepare_cloud",
    "register",
    "verify_clouds",
]
