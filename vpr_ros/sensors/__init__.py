"""Sensors: images, clouds, poses and bags, all without ROS.

Names are imported lazily so that `from vpr_ros.sensors import decode_image` needs numpy and OpenCV only.
"""

from importlib import import_module

_MODULES = {
    "images": ("decode_image", "decode_compressed"),
    "clouds": ("decode_cloud", "decode_cloud_fields"),
    "cameras": ("Camera",),
    "payload": ("stamp_ns",),
    "poses.trajectory": ("Trajectory",),
    "poses.tf": ("TransformTree",),
    "bags.reader": ("Bag", "TopicInfo", "describe_topics"),
    "bags.writer": ("BagWriter", "folder_to_bag"),
    "bags.config": ("DriveTopics", "DriveConfig"),
    "bags.topics": ("choose_topic",),
    "bags.drive": ("Drive",),
    "bags.doctor": ("doctor", "DoctorReport"),
    "bags.messages": (
        "make",
        "image_msg",
        "compressed_image_msg",
        "cloud_msg",
        "odometry_msg",
        "pose_msg",
        "tf_msg",
        "camera_info_msg",
        "navsat_msg",
    ),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'vpr_ros.sensors' has no attribute '{name}'")
    return getattr(import_module(f"vpr_ros.sensors.{_HOME[name]}"), name)
