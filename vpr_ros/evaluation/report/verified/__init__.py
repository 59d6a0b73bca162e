"""The part of the report on verified matches: lines between two pictures, measured poses and their errors."""

from vpr_ros.evaluation.report.verified.images import asked_once
from vpr_ros.evaluation.report.verified.section import shown, verified

__all__ = ["asked_once", "shown", "verified"]
