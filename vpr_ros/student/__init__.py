"""The student network and everything that turns images into descriptors.

Names are imported lazily, so that `vpr_ros.student.catalogue.names` needs no PyTorch.
"""

from typing import TYPE_CHECKING

from vpr_ros.lazy import lazily

if TYPE_CHECKING:
    from vpr_ros.student.checkpoints import Checkpoint, load_checkpoint, read_checkpoint, save_checkpoint
    from vpr_ros.student.config import CONFIGS, IMAGENET_MEAN, IMAGENET_STD, LITE0, NANO, SMALL, StudentConfig
    from vpr_ros.student.d2vpr import D2VPR
    from vpr_ros.student.extractor import DescriptorExtractor
    from vpr_ros.student.inference.colours import normalise
    from vpr_ros.student.parts import AnyProjection, Part, PartedProjection, ReductionConfig, fit_parts
    from vpr_ros.student.preprocessing import preprocessing_of, resize
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

__getattr__ = lazily(
    "vpr_ros.student",
    {
        "checkpoints": (
            "Checkpoint",
            "load_checkpoint",
            "read_checkpoint",
            "save_checkpoint",
        ),
        "config": (
            "CONFIGS",
            "IMAGENET_MEAN",
            "IMAGENET_STD",
            "LITE0",
            "NANO",
            "SMALL",
            "StudentConfig",
        ),
        "d2vpr": ("D2VPR",),
        "extractor": ("DescriptorExtractor",),
        "inference.colours": ("normalise",),
        "parts": (
            "AnyProjection",
            "Part",
            "PartedProjection",
            "ReductionConfig",
            "fit_parts",
        ),
        "preprocessing": (
            "preprocessing_of",
            "resize",
        ),
        "projection": (
            "Projection",
            "fit_projection",
        ),
    },
)
