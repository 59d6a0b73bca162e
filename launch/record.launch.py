"""Record a training set: images with clouds and poses.

On a robot:   ros2 launch vpr_ros record.launch.py output:=my_town image_topic:=/camera/image_raw points_topic:=/lidar
From a bag:   ros2 launch vpr_ros record.launch.py output:=my_town bag:=first
"""

from vpr_ros.nodes.launching import NodeLaunch, launch_description


def generate_launch_description():
    """The node `recorder`."""
    return launch_description(
        NodeLaunch(
            executable="recorder",
            name="recorder",
            config="recorder.yaml",
            arguments=("output", "drive", "city", "condition", "pose_topic", "pose_source"),
        )
    )
