"""What the launch files share; ROS is imported only when a launch file runs."""

from vpr_ros.nodes.launching.description import NodeLaunch, launch_description

__all__ = ["NodeLaunch", "launch_description"]
