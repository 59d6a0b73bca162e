"""The rows of the node vpr as a localisation: map -> odom in TF."""

from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig
from vpr_ros.runtime.parameters.parameter import LARGE, Parameter

LOCALISER_PARAMETERS = (
    Parameter(
        "publish_tf",
        False,
        "Publish map to odom in TF from verified poses and TF's odom to base_link, as a localisation does; mode "
        "localize, with verify. Refused where another node publishes it.",
    ),
    Parameter(
        "tf_planar",
        MapToOdomConfig.planar,
        "The transform has x, y and heading only, as nav2 expects; false: height and tilt as well.",
    ),
    Parameter(
        "tf_tolerance_s",
        MapToOdomConfig.tolerance_s,
        "The transform is stamped so far ahead, in seconds, so that who asks for the robot's pose now need not wait.",
        0.0,
        10.0,
    ),
    Parameter(
        "tf_max_std_m",
        MapToOdomConfig.max_std_m,
        "Poses vaguer than this on the ground are not used, and an estimate that has become vaguer is held, in metres.",
        0.01,
        LARGE,
    ),
    Parameter(
        "tf_odom_drift",
        MapToOdomConfig.odom_drift,
        "Standard deviation of odometry as a share of the way, and of the turn: 0.01 for visual-inertial, 0.05 for "
        "wheels, more where they skid.",
        0.0001,
        1.0,
    ),
    Parameter(
        "tf_correction_m_s",
        MapToOdomConfig.correction_m_s,
        "Corrections move the robot in the map at most so fast, in m/s, and by twice tf_odom_drift of its way; the "
        "first fix and a relocalisation jump.",
        0.001,
        LARGE,
    ),
    Parameter(
        "tf_correction_deg_s",
        MapToOdomConfig.correction_deg_s,
        "And turn it at most so fast, in degrees/s.",
        0.01,
        LARGE,
    ),
)
