"""The student network and everything that turns images into descriptors."""

from vpr_ros.student.checkpoints import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
from vpr_ros.student.config import CONFIGS, LITE0, NANO, SMALL, StudentConfig
from vpr_ros.student.d2vpr import D2VPR
from vpr_ros.student.extractor import DescriptorExtractor
from vpr_ros.student.parts import AnyProjection, Part, PartedProjection, ReductionConfig, fit_parts
from vpr_ros.student.preprocessing import IMAGENET_MEAN, IMAGENET_STD, normalise, preprocessing_of, resize
from vpr_ros.student.projection import Projection, fit_projection

__all__ = [
    "AnyProjection",
    "CONFIGS",
    "Checkpoint",
    "D2VPR",
    "DescriptorExtractor",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "LITE0",
    "NANO",
    "Part",
    "PartedProjection",
    "Projection",
    "ReductionConfig",
    "SMALL",
    "StudentConfig",
    "fit_parts",
    "fit_projection",
    "load_checkpoint",
    "normalise",
    "preprocessing_of",
    "read_checkpoint",
    "resize",
    "save_checkpoint",
]
