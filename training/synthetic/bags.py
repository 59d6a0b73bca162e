"""Drives as ROS 2 bags: compressed pictures, clouds, odometry, ground truth, TF and camera calibration."""

import os
from collections.abc import Callable

import numpy as np

from vpr_ros.geometry import interpolate
from vpr_ros.sensors.cameras import Camera
from vpr_ros.training.synthetic.conditions import CameraConfig
from vpr_ros.training.synthetic.drive import Drive

IMAGE_TOPIC, INFO_TOPIC, POINTS_TOPIC = "/camera/image/compressed", "/camera/camera_info", "/points"
ODOM_TOPIC, TRUTH_TOPIC = "/odom", "/ground_truth/pose"
ODOM_PER_FRAME = 4  # odometry has a higher rate than the camera, so that poses at image stamps are interpolated


def write_drive_bag(
    path: str | os.PathLike,
    drive: Drive,
    storage: str = "mcap",
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render a drive into the ROS 2 bag folder `path` ("mcap" or "sqlite3" storage).

    Image stamps are `drive.stamps_ns`; frames are map, odom, base_link, camera_link, camera_optical_frame and
    lidar_link. `progress(done, total)` is called after each frame. Raises VprError where the bag cannot be written.
    """
    from vpr_ros.sensors.bags.messages import (
        camera_info_msg,
        cloud_msg,
        compressed_image_msg,
        odometry_msg,
        pose_msg,
        tf_msg,
    )
    from vpr_ros.sensors.bags.writer import BagWriter

    camera, info, total = drive.camera, camera_of(drive.camera), len(drive)
    with BagWriter(path, storage) as bag:
        start = int(drive.stamps_ns[0])
        fixed = [
            ("base_link", "camera_link", drive.T_base_cameralink),
            ("camera_link", "camera_optical_frame", drive.T_cameralink_optical),
        ]
        if drive.lidar:
            fixed.append(("base_link", "lidar_link", drive.T_base_lidar))
        bag.write("/tf_static", tf_msg(fixed, start), start)
        for frame in drive.frames(workers, with_clouds=drive.lidar is not None):
            i, stamp = frame.index, frame.stamp_ns
            for k, T in odometry_between(drive, i):
                bag.write(ODOM_TOPIC, odometry_msg(T, k), k)
                bag.write("/tf", tf_msg([("odom", "base_link", T)], k), k)
            bag.write(IMAGE_TOPIC, compressed_image_msg(frame.image, stamp, quality=camera.jpeg_quality), stamp)
            bag.write(INFO_TOPIC, camera_info_msg(info.K, info.width, info.height, stamp), stamp)
            if frame.cloud is not None:
                bag.write(POINTS_TOPIC, cloud_msg(frame.cloud, stamp), stamp)
            bag.write(TRUTH_TOPIC, pose_msg(drive.T_map_base[i], stamp), stamp)
            if progress:
                progress(i + 1, total)


def camera_of(config: CameraConfig) -> Camera:
    """The camera as CameraInfo has it: pixels are counted from the centre of the first one, and rendered from its
    corner."""
    return Camera(config.K - [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], config.width, config.height, np.zeros(0))


def odometry_between(drive: Drive, i: int) -> list[tuple[int, np.ndarray]]:
    """Odometry stamps and poses after frame i - 1 up to and including frame i."""
    T, stamps = drive.T_odom_base, drive.stamps_ns
    if i == 0:
        return [(int(stamps[0]), T[0])]
    out = []
    for k in range(1, ODOM_PER_FRAME + 1):
        f = k / ODOM_PER_FRAME
        stamp = int(stamps[i - 1] + (stamps[i] - stamps[i - 1]) * k // ODOM_PER_FRAME)
        out.append((stamp, T[i] if k == ODOM_PER_FRAME else interpolate(T[i - 1], T[i], f)))
    return out
