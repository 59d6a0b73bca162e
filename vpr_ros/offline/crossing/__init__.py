"""Two drives without a common frame: relative poses between them by their clouds, confirmed by one another."""

from vpr_ros.offline.crossing.config import CrossingConfig
from vpr_ros.offline.crossing.course import Course, ScannedDrive
from vpr_ros.offline.crossing.finding import Constraint, Crossing, find_crossing

__all__ = ["Constraint", "Course", "Crossing", "CrossingConfig", "ScannedDrive", "find_crossing"]
