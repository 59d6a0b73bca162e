"""A small ROS 1 drive."""

import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

SECOND = 10**9


def write_ros1(path, images):
    """A ROS 1 bag with images, odometry and a fixed transform."""
    store = get_typestore(Stores.ROS1_NOETIC)
    t = store.types
    store.register(get_types_from_msg("geometry_msgs/TransformStamped[] transforms", "tf2_msgs/msg/TFMessage"))

    def header(stamp, frame):
        return t["std_msgs/msg/Header"](
            seq=0, stamp=t["builtin_interfaces/msg/Time"](*divmod(stamp, SECOND)), frame_id=frame
        )

    def pose(x):
        return t["geometry_msgs/msg/Pose"](
            t["geometry_msgs/msg/Point"](x, 0.0, 0.0), t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        )

    zero = t["geometry_msgs/msg/Vector3"](0.0, 0.0, 0.0)
    twist = t["geometry_msgs/msg/TwistWithCovariance"](t["geometry_msgs/msg/Twist"](zero, zero), np.zeros(36))
    with Writer1(path) as writer:
        camera = writer.add_connection("/cam", "sensor_msgs/msg/Image", typestore=store)
        odom = writer.add_connection("/odom", "nav_msgs/msg/Odometry", typestore=store)
        tf = writer.add_connection("/tf_static", "tf2_msgs/msg/TFMessage", typestore=store)
        link = t["geometry_msgs/msg/TransformStamped"](
            header(SECOND, "/base_link"),
            "/lidar",
            t["geometry_msgs/msg/Transform"](zero, t["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)),
        )
        writer.write(
            tf,
            SECOND,
            store.serialize_ros1(store.types["tf2_msgs/msg/TFMessage"](transforms=[link]), "tf2_msgs/msg/TFMessage"),
        )
        for i in range(len(images) + 1):
            stamp = SECOND + i * SECOND // 10
            message = t["nav_msgs/msg/Odometry"](
                header(stamp, "odom"),
                "base_link",
                t["geometry_msgs/msg/PoseWithCovariance"](pose(float(i)), np.zeros(36)),
                twist,
            )
            writer.write(odom, stamp, store.serialize_ros1(message, "nav_msgs/msg/Odometry"))
        for i, pixels in enumerate(images):
            stamp = SECOND + i * SECOND // 10 + SECOND // 20
            height, width = pixels.shape[:2]
            message = t["sensor_msgs/msg/Image"](
                header(stamp, "cam"), height, width, "bgr8", 0, width * 3, pixels.reshape(-1)
            )
            writer.write(camera, stamp, store.serialize_ros1(message, "sensor_msgs/msg/Image"))
    return path
