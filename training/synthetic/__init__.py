"""Synthetic drives: procedural worlds, rendered by ray casting, as pictures, clouds, odometry and ROS 2 bags.

Worlds of each kind have numbers 0..999 for training, 1000..1099 for validation, 2000 and above for tests; a seed holds
kind and number (`world_seed`). Rendering needs Open3D, planning does not.
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
from vpr_ros.training.synthetic.kinds import (
    FIRST_TEST_SEED,
    KINDS,
    TRAIN_SEEDS,
    VALIDATION_SEEDS,
    WorldKind,
    world_seed,
)
from vpr_ros.training.synthetic.training_set import TrainingSetConfig, render_training_set
from vpr_ros.training.synthetic.world.city import DEMO_CITY_SEED, DEMO_OFFMAP_SEED, WORLD_VERSION

__all__ = [
    "DEMO_CITY_SEED",
    "DEMO_OFFMAP_SEED",
    "FIRST_TEST_SEED",
    "KINDS",
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
    "WorldKind",
    "remounted_camera",
    "named_conditions",
    "plan_drive",
    "random_camera",
    "render_training_set",
    "world_seed",
    "write_drive_bag",
]
