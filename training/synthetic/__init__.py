"""Synthetic drives: procedural cities, rendered by ray casting, as pictures, clouds, odometry and ROS 2 bags.

Train cities have seeds 0..999, validation cities 1000..1099, test cities 2000 and above. Rendering needs
Open3D, planning does not.
"""

from vpr_ros.training.synthetic.bags import write_drive_bag
from vpr_ros.training.synthetic.conditions import (
    NAMED,
    CameraConfig,
    DriveConditions,
    LidarConfig,
    named_conditions,
    random_camera,
    remounted_camera,
)
from vpr_ros.training.synthetic.drive import Drive, Frame, plan_drive
from vpr_ros.training.synthetic.training_set import TrainingSetConfig, render_training_set
from vpr_ros.training.synthetic.world.city import (
    DEMO_CITY_SEED,
    DEMO_OFFMAP_SEED,
    FIRST_TEST_SEED,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    WORLD_VERSION,
)

__all__ = [
    "DEMO_CITY_SEED",
    "DEMO_OFFMAP_SEED",
    "FIRST_TEST_SEED",
    "NAMED",
    "TRAIN_SEEDS",
    "VALIDATION_SEEDS",
    "WORLD_VERSION",
    "CameraConfig",
    "Drive",
    "DriveConditions",
    "Frame",
    "LidarConfig",
    "TrainingSetConfig",
    "remounted_camera",
    "named_conditions",
    "plan_drive",
    "random_camera",
    "render_training_set",
    "write_drive_bag",
]
