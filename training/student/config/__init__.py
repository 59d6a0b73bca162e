"""The configuration of a student's training run: groups of settings, each with its rules, read from YAML."""

from vpr_ros.training.student.config.data import AugmentationConfig, DataConfig
from vpr_ros.training.student.config.learning import DistillationConfig, TaskConfig
from vpr_ros.training.student.config.model import ModelConfig
from vpr_ros.training.student.config.optimisation import OptimisationConfig, StudentHardwareConfig
from vpr_ros.training.student.config.run import ExportConfig, TrainConfig, check, read_config

__all__ = [
    "AugmentationConfig",
    "DataConfig",
    "DistillationConfig",
    "ExportConfig",
    "ModelConfig",
    "OptimisationConfig",
    "StudentHardwareConfig",
    "TaskConfig",
    "TrainConfig",
    "check",
    "read_config",
]
