"""Does the geometry agree with a match, and where exactly does the query stand?"""

from vpr_ros.verification.lidar import VerificationConfig, Verified, verify_clouds

__all__ = ["VerificationConfig", "Verified", "verify_clouds"]
