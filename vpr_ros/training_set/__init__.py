"""The training set on disk: what recorder and converters write and the trainer reads. Nothing here needs torch."""

from vpr_ros.training_set.reader import FrameTable, read_frame_table
from vpr_ros.training_set.writer import TrainingSetWriter

__all__ = ["FrameTable", "TrainingSetWriter", "read_frame_table"]
