"""`vpr_ros map`, of one bag and of several."""

from vpr_ros.cli.mapping.map import register

__all__ = ["register"]
