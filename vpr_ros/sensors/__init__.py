"""Sensors: images, clouds, poses and bags, all without ROS.

Names are imported lazily so that `from vpr_ros.sensors import decode_image` needs numpy and OpenCV only.
"""

from importlib import import_module

_HOME = {
    "decode_image": "images", "decode_compressed": "images", "decode_cloud": "clouds", "decode_cloud_fields": "clouds",
    "stamp_ns": "buffers", "Trajectory": "trajectory", "TransformTree": "transforms", "Bag": "bags",
    "TopicInfo": "bags", "describe_topics": "bags", "DriveTopics": "config", "choose_topic": "topics",
    "Drive": "drive", "DriveConfig": "config", "doctor": "bag_doctor", "DoctorReport": "bag_doctor",
    "Camera": "cameras", "BagWriter": "bag_writer", "folder_to_bag": "bag_writer",
    **dict.fromkeys(("make", "image_msg", "compressed_image_msg", "cloud_msg", "odometry_msg", "pose_msg", "tf_msg",
                     "camera_info_msg", "navsat_msg"), "messages"),
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'vpr_ros.sensors' has no attribute '{name}'")
    return getattr(import_module(f"vpr_ros.sensors.{_HOME[name]}"), name)
