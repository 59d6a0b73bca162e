"""`vpr_ros loops`: a drive that recognises itself, and its trajectory straightened by that."""

from vpr_ros.cli.slam.loops import register

__all__ = ["register"]
