"""Make a map of a drive, or add a drive to a map; with mode:=slam recognise places at the same time.

On a robot:   ros2 launch vpr_ros map.launch.py map:=town.vpr image_topic:=/camera/image_raw odom_topic:=/odom
From a bag:   ros2 launch vpr_ros map.launch.py map:=town.vpr bag:=first
"""

from vpr_ros.nodes.launching import NodeLaunch, launch_description


def generate_launch_description():
    """The node `vpr` in mode map or slam."""
    return launch_description(
        NodeLaunch(
            executable="vpr_node",
            name="vpr",
            config="vpr.yaml",
            arguments=(
                "map",
                "mode",
                "checkpoint",
                "device",
                "local_features",
                "verify",
                "keep_clouds",
                "depth_topic",
                "pose_topic",
                "pose_source",
            ),
            parameters={"mode": "map"},
        )
    )
