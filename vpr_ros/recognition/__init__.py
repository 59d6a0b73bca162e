"""From a query descriptor to a decision: retrieval, topological filter, calibrated places, decision."""

from vpr_ros.configuration import DecisionConfig, FilterConfig, MotionConfig, RecognitionConfig
from vpr_ros.recognition.calibration import Calibration, choose_calibration
from vpr_ros.recognition.filter import TopologicalFilter
from vpr_ros.recognition.localizer import Localizer
from vpr_ros.recognition.mapper import Mapper, MapperConfig, MapperResult
from vpr_ros.recognition.recogniser import Recogniser
from vpr_ros.recognition.types import Hypothesis, Recognition

__all__ = [
    "Calibration",
    "DecisionConfig",
    "FilterConfig",
    "Hypothesis",
    "Localizer",
    "Mapper",
    "MapperConfig",
    "MapperResult",
    "MotionConfig",
    "Recogniser",
    "Recognition",
    "RecognitionConfig",
    "TopologicalFilter",
    "choose_calibration",
]
