"""The student network and everything that turns images into descriptors."""

from vpr_ros.student.config import CONFIGS, NANO, SMALL, StudentConfig
from vpr_ros.student.d2vpr import D2VPR

__all__ = ["CONFIGS", "D2VPR", "NANO", "SMALL", "StudentConfig"]
