"""What the launch files share; ROS is imported only when a launch file runs.

`ros2 launch` may run in an interpreter that has yaml and nothing else of what vpr_ros needs: nothing in this package
imports numpy or a room that does. `bag_topics`, which reads bags, is a program that runs in the nodes' interpreter.
"""

from vpr_ros.nodes.launching.arguments import NodeLaunch
from vpr_ros.nodes.launching.description import launch_description

__all__ = ["NodeLaunch", "launch_description"]
