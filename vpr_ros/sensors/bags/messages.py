"""Standard ROS 2 messages built from arrays, for writing bags without ROS."""

from functools import lru_cache

import numpy as np
from rosbags.typesys import Stores, get_typestore

from vpr_ros.errors import VprError
from vpr_ros.geometry import matrix_to_quaternion
from vpr_ros.pictures import encode


@lru_cache(maxsize=1)
def typestore():
    """Message definitions of ROS 2 Humble; the standard types used here are the same in later releases."""
    return get_typestore(Stores.ROS2_HUMBLE)


def make(msgtype: str, **fields):
    """Message of a standard type, e.g. make("std_msgs/msg/String", data="hello")."""
    return typestore().types[msgtype](**fields)


def time_msg(stamp_ns: int):
    """builtin_interfaces/Time of nanoseconds."""
    sec, nanosec = divmod(int(stamp_ns), 1_000_000_000)
    return make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)


def header_msg(stamp_ns: int, frame_id: str):
    """std_msgs/Header."""
    return make("std_msgs/msg/Header", stamp=time_msg(stamp_ns), frame_id=frame_id)


def image_msg(image: np.ndarray, stamp_ns: int, frame_id: str = "camera_optical_frame", encoding: str = "rgb8"):
    """sensor_msgs/Image of pixels (H, W) or (H, W, C), uint8 or little-endian uint16, already in `encoding`."""
    pixels = np.ascontiguousarray(image)
    return make(
        "sensor_msgs/msg/Image",
        header=header_msg(stamp_ns, frame_id),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=pixels[0].nbytes,
        data=pixels.reshape(-1).view(np.uint8),
    )


def compressed_image_msg(
    image, stamp_ns: int, frame_id: str = "camera_optical_frame", format: str = "jpeg", quality: int = 90
):
    """sensor_msgs/CompressedImage of pixels (H, W, 3) uint8 RGB or (H, W), or of an encoded file's bytes as they are.

    `format` is "jpeg" or "png"; quality (1 to 100) is JPEG's. Raises VprError for another format.
    """
    if isinstance(image, (bytes, bytearray)):
        data = np.frombuffer(image, np.uint8)
    elif format == "jpeg" or format == "png":
        data = np.frombuffer(encode(np.asarray(image), format, quality), np.uint8)
    else:
        raise VprError(f"compressed images are written as 'jpeg' or 'png', not '{format}'")
    return make("sensor_msgs/msg/CompressedImage", header=header_msg(stamp_ns, frame_id), format=format, data=data)


def cloud_msg(points: np.ndarray, stamp_ns: int, frame_id: str = "lidar_link"):
    """sensor_msgs/PointCloud2 of points (N, 3) x, y, z or (N, 4) x, y, z, intensity, as float32."""
    points = np.ascontiguousarray(points, dtype="<f4").reshape(-1, np.shape(points)[-1])
    columns = points.shape[1]
    if columns not in (3, 4):
        raise VprError(f"a cloud needs 3 or 4 columns (x, y, z, intensity), got {columns}")
    fields = [
        make("sensor_msgs/msg/PointField", name=name, offset=4 * i, datatype=7, count=1)
        for i, name in enumerate(("x", "y", "z", "intensity")[:columns])
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=header_msg(stamp_ns, frame_id),
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=4 * columns,
        row_step=4 * columns * len(points),
        data=points.reshape(-1).view(np.uint8),
        is_dense=bool(np.isfinite(points).all()),
    )


def _pose(T: np.ndarray):
    x, y, z = (float(v) for v in T[:3, 3])
    qx, qy, qz, qw = (float(v) for v in matrix_to_quaternion(T[:3, :3]))
    return make(
        "geometry_msgs/msg/Pose",
        position=make("geometry_msgs/msg/Point", x=x, y=y, z=z),
        orientation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
    )


def _covariance(covariance) -> np.ndarray:
    return np.zeros(36) if covariance is None else np.asarray(covariance, np.float64).reshape(36)


def _vector(values=(0.0, 0.0, 0.0)):
    return make("geometry_msgs/msg/Vector3", **{k: float(v) for k, v in zip("xyz", values, strict=True)})


def odometry_msg(
    T_odom_base: np.ndarray,
    stamp_ns: int,
    frame_id: str = "odom",
    child_frame_id: str = "base_link",
    covariance=None,
    linear_mps=(0.0, 0.0, 0.0),
    angular_radps=(0.0, 0.0, 0.0),
):
    """nav_msgs/Odometry of a pose (4, 4); covariance (6, 6) of the pose; velocities (3,) in the child frame."""
    twist = make("geometry_msgs/msg/Twist", linear=_vector(linear_mps), angular=_vector(angular_radps))
    return make(
        "nav_msgs/msg/Odometry",
        header=header_msg(stamp_ns, frame_id),
        child_frame_id=child_frame_id,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=_pose(T_odom_base), covariance=_covariance(covariance)),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
    )


def pose_msg(T_map_base: np.ndarray, stamp_ns: int, frame_id: str = "map", covariance=None):
    """geometry_msgs/PoseStamped of a pose (4, 4), or PoseWithCovarianceStamped when a covariance (6, 6) is given."""
    header = header_msg(stamp_ns, frame_id)
    if covariance is None:
        return make("geometry_msgs/msg/PoseStamped", header=header, pose=_pose(T_map_base))
    return make(
        "geometry_msgs/msg/PoseWithCovarianceStamped",
        header=header,
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=_pose(T_map_base), covariance=_covariance(covariance)),
    )


def tf_msg(transforms, stamp_ns: int):
    """tf2_msgs/TFMessage of (parent, child, T_parent_child (4, 4)) triples."""
    messages = []
    for parent, child, T in transforms:
        qx, qy, qz, qw = (float(v) for v in matrix_to_quaternion(T[:3, :3]))
        messages.append(
            make(
                "geometry_msgs/msg/TransformStamped",
                header=header_msg(stamp_ns, parent),
                child_frame_id=child,
                transform=make(
                    "geometry_msgs/msg/Transform",
                    translation=_vector(T[:3, 3]),
                    rotation=make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
                ),
            )
        )
    return make("tf2_msgs/msg/TFMessage", transforms=messages)


def camera_info_msg(
    K: np.ndarray,
    width: int,
    height: int,
    stamp_ns: int,
    frame_id: str = "camera_optical_frame",
    distortion=(),
    distortion_model: str = "plumb_bob",
):
    """sensor_msgs/CameraInfo of a pinhole matrix (3, 3) in pixels; plumb_bob distortion is k1 k2 p1 p2 k3."""
    K = np.asarray(K, np.float64)
    d = np.asarray(distortion if len(distortion) else np.zeros(5), np.float64)
    roi = make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header_msg(stamp_ns, frame_id),
        height=int(height),
        width=int(width),
        distortion_model=distortion_model,
        d=d,
        k=K.reshape(9),
        r=np.eye(3).reshape(9),
        p=np.hstack([K, np.zeros((3, 1))]).reshape(12),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def navsat_msg(
    latitude_deg: float,
    longitude_deg: float,
    altitude_m: float,
    stamp_ns: int,
    frame_id: str = "gps_link",
    covariance=None,
    fixed: bool = True,
):
    """sensor_msgs/NavSatFix; covariance (3, 3) east, north, up in square metres; fixed=False means no fix."""
    return make(
        "sensor_msgs/msg/NavSatFix",
        header=header_msg(stamp_ns, frame_id),
        status=make("sensor_msgs/msg/NavSatStatus", status=0 if fixed else -1, service=1),
        latitude=float(latitude_deg),
        longitude=float(longitude_deg),
        altitude=float(altitude_m),
        position_covariance=np.zeros(9) if covariance is None else np.asarray(covariance, np.float64).reshape(9),
        position_covariance_type=0 if covariance is None else 3,
    )
