"""`vpr_ros eval run | folders | drives | submaps`: one module for each kind of input."""

from vpr_ros.cli.evaluating.group import register

__all__ = ["register"]
