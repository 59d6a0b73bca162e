"""A raw RobotCar traversal as a ROS 2 bag that the mapping and localising commands and launch files replay.

Topics: /camera/image/compressed and /camera/camera_info (demosaiced, undistorted), /points (the laser's scans as they
are, in its own frame), /odom and /tf (odom -> base_link) from the INS, /tf_static (map -> odom, base_link -> the
sensors) and, where there is an rtk.csv, /ground_truth/pose. INS poses are global, so the odom frame coincides with the
map frame: TF gives each picture its pose in RobotCar's fixed map frame (see `robotcar.models`), and two converted
traversals share that frame.
"""

from collections.abc import Callable

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.training.data.convert.resumable_bag import PART_BYTES, Converted, ResumableBag, Stream
from vpr_ros.training.data.datasets.robotcar.models import LIDARS, CameraModel, T_base_lidar
from vpr_ros.training.data.datasets.robotcar.readings import US, is_velodyne
from vpr_ros.training.data.datasets.robotcar.traversal import Traversal

IMAGE_TOPIC, INFO_TOPIC, POINTS_TOPIC = "/camera/image/compressed", "/camera/camera_info", "/points"
ODOM_TOPIC, TRUTH_TOPIC = "/odom", "/ground_truth/pose"
OPTICAL_FRAME = "camera_optical_frame"
MARGIN_NS = 1_000_000_000  # poses and scans up to this long before the first and after the last picture are included


def convert_robotcar(
    folder,
    bag,
    *,
    camera: str = "stereo/centre",
    lidar: str = "auto",
    undistort: bool = True,
    models=None,
    rtk=None,
    jpeg_quality: int = 92,
    part_bytes: int = PART_BYTES,
    anew: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Convert one traversal's folder into the bag folder `bag`; an interrupted conversion continues, or starts `anew`.

    `lidar`: "auto" takes a Velodyne where there is one, else lms_front; "none" leaves clouds out. `undistort` False
    keeps the lens's distortion and leaves CameraInfo out, as no ROS model describes RobotCar's table. `models`, `rtk`:
    the kit's models/ folder and the rtk.csv where they are not beside the traversal.
    Raises VprError for a folder that is incomplete or of another layout, and as `ResumableBag` does.
    """
    traversal = Traversal(folder, models, rtk)
    sensor = choose_lidar(traversal, lidar)
    model = traversal.camera(camera, undistort)
    images = traversal.stamps_ns(camera)
    start, end = int(images[0]) - MARGIN_NS, int(images[-1]) + MARGIN_NS
    streams = [
        _static_messages(traversal, model, sensor, start),
        _ins(traversal, start, end),
        _pictures(traversal, camera, model, jpeg_quality),
    ]
    if sensor is not None:
        streams.append(_scans(traversal, sensor, start, end))
    if traversal.rtk is not None:
        streams.append(_truth(traversal, start, end))
    identity = {
        "data set": "RobotCar",
        "traversal": traversal.name,
        "camera": camera,
        "lidar": sensor or "none",
        "undistort": undistort,
        "jpeg quality": jpeg_quality,
        "part bytes": part_bytes,
    }
    result = ResumableBag(bag, streams, identity, part_bytes, anew).write(progress)
    for name in (camera, sensor):
        if name is not None:
            result.notes += missing_readings(traversal, name)
    return result


def missing_readings(traversal: Traversal, sensor: str) -> list[str]:
    """Sentences about chunks that were not fetched and readings without a file."""
    readings, notes = traversal.readings(sensor), []
    if readings.absent_chunks:
        chunks = ", ".join(map(str, readings.absent_chunks))
        several = len(readings.absent_chunks) > 1
        notes.append(f"{sensor}: chunk{'s' if several else ''} {chunks} {'were' if several else 'was'} not fetched")
    if readings.missing:
        notes.append(f"{sensor}: {readings.missing} reading{'s have' if readings.missing > 1 else ' has'} no file")
    return notes


def choose_lidar(traversal: Traversal, lidar: str) -> str | None:
    """Name of the laser to convert: the given one, or the best available. VprError for an unknown name."""
    if lidar == "none":
        return None
    if lidar == "auto":
        return next((s for s in ("velodyne_left", "velodyne_right", "lms_front", "ldmrs") if traversal.has(s)), None)
    if lidar not in LIDARS:
        raise VprError(f"RobotCar has no laser '{lidar}'; choose auto, none, {', '.join(LIDARS)}")
    return lidar


def _between(stamps: np.ndarray, start: int, end: int) -> np.ndarray:
    return np.flatnonzero((stamps >= start) & (stamps <= end))


def _static_messages(traversal: Traversal, model: CameraModel, sensor: str | None, start: int) -> Stream:
    links = [("map", "odom", np.eye(4)), ("base_link", OPTICAL_FRAME, model.T_base_optical)]
    if sensor is not None:
        links.append(("base_link", sensor, T_base_lidar(sensor)))

    def messages(_: int):
        from vpr_ros.sensors.bags.messages import tf_msg

        return [("/tf_static", tf_msg(links, start))]

    return Stream("fixed frames", np.array([start]), messages)


def _ins(traversal: Traversal, start: int, end: int) -> Stream:
    trajectory, velocity = traversal.ins, traversal.ins_velocity_mps
    rows = _between(trajectory.stamps_ns, start, end)
    if not len(rows):
        raise VprError(
            f"{traversal.folder}/gps/ins.csv has no pose while the pictures were taken; take both of one traversal"
        )

    def messages(i: int):
        from vpr_ros.sensors.bags.messages import odometry_msg, tf_msg

        row = int(rows[i])
        stamp, T = int(trajectory.stamps_ns[row]), trajectory.T[row]
        moving = T[:3, :3].T @ np.nan_to_num(velocity[row])
        return [
            (ODOM_TOPIC, odometry_msg(T, stamp, linear_mps=moving)),
            ("/tf", tf_msg([("odom", "base_link", T)], stamp)),
        ]

    return Stream("poses of the INS", trajectory.stamps_ns[rows], messages, 1200)


def _pictures(traversal: Traversal, camera: str, model: CameraModel, quality: int) -> Stream:
    stamps = traversal.stamps_ns(camera)

    def messages(i: int):
        from vpr_ros.sensors.bags.messages import camera_info_msg, compressed_image_msg

        stamp = int(stamps[i])
        rgb = traversal.image(camera, stamp, model)
        out = [(IMAGE_TOPIC, compressed_image_msg(rgb, stamp, OPTICAL_FRAME, "jpeg", quality))]
        if model.lut is not None:
            height, width = rgb.shape[:2]
            out.append((INFO_TOPIC, camera_info_msg(model.K, width, height, stamp, OPTICAL_FRAME)))
        return out

    return Stream(f"pictures of {camera}", stamps, messages, 350_000)


def _scans(traversal: Traversal, sensor: str, start: int, end: int) -> Stream:
    stamps = traversal.stamps_ns(sensor)
    stamps = stamps[_between(stamps, start, end)]
    if not len(stamps):
        raise VprError(
            f"{traversal.folder}/{sensor} has no scan while the pictures were taken; fetch the same chunks "
            "of both, or leave clouds out with --lidar none"
        )

    def messages(i: int):
        from vpr_ros.sensors.bags.messages import cloud_msg

        stamp = int(stamps[i])
        return [(POINTS_TOPIC, cloud_msg(traversal.scan(sensor, stamp), stamp, sensor))]

    return Stream(f"scans of {sensor}", stamps, messages, 900_000 if is_velodyne(sensor) else 9000)


def _truth(traversal: Traversal, start: int, end: int) -> Stream:
    trajectory = traversal.poses("rtk")
    rows = _between(trajectory.stamps_ns, start, end)
    if not len(rows):
        raise VprError(
            f"{traversal.rtk_path} has no pose while the pictures were taken; take the rtk.csv of "
            f"{traversal.name} ({int(trajectory.stamps_ns[0]) // US} is the first of this one)"
        )

    def messages(i: int):
        from vpr_ros.sensors.bags.messages import pose_msg

        row = int(rows[i])
        stamp = int(trajectory.stamps_ns[row])
        return [(TRUTH_TOPIC, pose_msg(trajectory.T[row], stamp))]

    return Stream("RTK ground truth", trajectory.stamps_ns[rows], messages, 200)
