"""Sensors: images, clouds, poses and bags, all without ROS.

Names are imported lazily so that `from vpr_ros.sensors import decode_image` needs numpy and OpenCV only.
"""

from typing import TYPE_CHECKING

from vpr_ros.lazy import lazily

if TYPE_CHECKING:
    from vpr_ros.sensors.bags.config import DriveConfig, DriveTopics
    from vpr_ros.sensors.bags.doctor import DoctorReport, doctor
    from vpr_ros.sensors.bags.drive import Drive
    from vpr_ros.sensors.bags.losses import reading_bags
    from vpr_ros.sensors.bags.messages import (
        camera_info_msg,
        cloud_msg,
        compressed_image_msg,
        image_msg,
        make,
        navsat_msg,
        odometry_msg,
        pose_msg,
        tf_msg,
    )
    from vpr_ros.sensors.bags.reader import Bag, TopicInfo, describe_topics
    from vpr_ros.sensors.bags.topics import choose_topic
    from vpr_ros.sensors.bags.writer import BagWriter, folder_to_bag
    from vpr_ros.sensors.cameras import Camera
    from vpr_ros.sensors.clouds import decode_cloud, decode_cloud_fields
    from vpr_ros.sensors.images import decode_compressed, decode_image
    from vpr_ros.sensors.payload import stamp_ns
    from vpr_ros.sensors.poses.tf import TransformTree
    from vpr_ros.sensors.poses.trajectory import Trajectory

__all__ = [
    "Bag",
    "BagWriter",
    "Camera",
    "DoctorReport",
    "Drive",
    "DriveConfig",
    "DriveTopics",
    "TopicInfo",
    "Trajectory",
    "TransformTree",
    "camera_info_msg",
    "choose_topic",
    "cloud_msg",
    "compressed_image_msg",
    "decode_cloud",
    "decode_cloud_fields",
    "decode_compressed",
    "decode_image",
    "describe_topics",
    "doctor",
    "folder_to_bag",
    "image_msg",
    "make",
    "navsat_msg",
    "odometry_msg",
    "pose_msg",
    "reading_bags",
    "stamp_ns",
    "tf_msg",
]
__getattr__ = lazily(
    "vpr_ros.sensors",
    {
        "images": ("decode_image", "decode_compressed"),
        "clouds": ("decode_cloud", "decode_cloud_fields"),
        "cameras": ("Camera",),
        "payload": ("stamp_ns",),
        "poses.trajectory": ("Trajectory",),
        "poses.tf": ("TransformTree",),
        "bags.losses": ("reading_bags",),
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
    },
)
