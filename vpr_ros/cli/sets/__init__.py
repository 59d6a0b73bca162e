"""`vpr_ros frames`: training sets of one's own bags."""

from vpr_ros.cli.sets.group import register

__all__ = ["register"]
