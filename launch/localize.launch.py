"""Recognise the places of a map.

On a robot:   ros2 launch vpr_ros localize.launch.py map:=town.vpr image_topic:=/camera/image_raw odom_topic:=/odom
From a bag:   ros2 launch vpr_ros localize.launch.py map:=town.vpr bag:=second
"""

from vpr_ros.nodes.launching import NodeLaunch, launch_description


def generate_launch_description():
    """The node `vpr` in mode localize."""
    return launch_description(
        NodeLaunch(
            executable="vpr_node",
            name="vpr",
            config="vpr.yaml",
            arguments=("map", "checkpoint", "device", "local_features", "verify", "publish_tf"),
            parameters={"mode": "localize"},
        )
    )
