"""Training frames on disk, the places they show, and the batches drawn from them."""

from .augment import AugmentConfig, augment
from .sampler import PlaceBatchSampler
from .training_set import FrameTable, TrainingFrames, read_frame_table

__all__ = ["AugmentConfig", "FrameTable", "PlaceBatchSampler", "TrainingFrames", "augment", "read_frame_table"]
