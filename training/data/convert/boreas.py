"""A Boreas sequence as a ROS 2 bag that the mapping and localising commands and launch files replay.

Topics: /camera/image/compressed and /camera/camera_info (reduced pictures, JPEG), /points (the scans as they are, with
each point's ring and its time from the header's stamp), /odom and /tf (odom -> base_link) from the INS, /tf_static
(map -> odom, base_link -> the sensors), and /ground_truth/pose. Odometry and ground truth are the same post-processed
poses: the data set has no other, so odometry does not drift. They are global positions, so the odom frame coincides
with the map frame: TF gives each picture its pose in Boreas' fixed map frame (see `boreas.calibration`), and converted
sequences share that frame.
"""

from collections.abc import Callable

import numpy as np

from vpr_ros.errors import FrameError, VprError
from vpr_ros.training.data.convert.resumable_bag import PART_BYTES, Converted, ResumableBag, Stream
from vpr_ros.training.data.datasets.boreas.calibration import camera_of
from vpr_ros.training.data.datasets.boreas.sequence import BoreasSequence

IMAGE_TOPIC, INFO_TOPIC, POINTS_TOPIC = "/camera/image/compressed", "/camera/camera_info", "/points"
ODOM_TOPIC, TRUTH_TOPIC = "/odom", "/ground_truth/pose"
OPTICAL_FRAME, LIDAR_FRAME = "camera_optical_frame", "lidar_link"
MARGIN_NS = 1_000_000_000  # poses and scans up to this long before the first and after the last picture are included
POINT = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("intensity", "<f4"), ("ring", "<u2"), ("time", "<f4")])
_FIELD_TYPES = {"<f4": 7, "<u2": 4}  # numbers of sensor_msgs/PointField


def convert_boreas(
    folder,
    bag,
    *,
    reduce: int = 4,
    lidar: bool = True,
    poses: bool = True,
    partial: bool = False,
    jpeg_quality: int = 92,
    part_bytes: int = PART_BYTES,
    anew: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Converted:
    """Convert one sequence's folder into the bag folder `bag`; an interrupted conversion continues, or starts `anew`.

    `reduce` divides both sides of the pictures (4: 612x512). `lidar` and `poses` False leave those out: a sequence of
    the hidden test set has no poses. `partial` accepts a sequence of which files are missing. Raises VprError for a
    folder that is incomplete or of another layout, and as `ResumableBag` does.
    """
    if reduce < 1:
        raise VprError(f"pictures are reduced by a whole number of 1 or more, not {reduce}")
    sequence = BoreasSequence(folder, partial)
    images = sequence.stamps_ns("camera")
    start, end = int(images[0]) - MARGIN_NS, int(images[-1]) + MARGIN_NS
    streams = [_static_messages(sequence, lidar, poses, start), _pictures(sequence, reduce, jpeg_quality)]
    if poses:
        streams[1:1] = _poses(sequence, start, end)
    if lidar:
        streams.append(_scans(sequence, start, end))
    identity = {
        "data set": "Boreas",
        "sequence": sequence.name,
        "reduce": reduce,
        "lidar": lidar,
        "poses": poses,
        "jpeg quality": jpeg_quality,
        "part bytes": part_bytes,
    }
    return ResumableBag(bag, streams, identity, part_bytes, anew).write(progress)


def cloud_message(points: np.ndarray, stamp_ns: int):
    """sensor_msgs/PointCloud2 in the Velodyne drivers' layout of points (N, 6) as `read_scan` gives them."""
    from vpr_ros.sensors.bags.messages import header_msg, make

    packed = np.zeros(len(points), POINT)
    for column, name in enumerate(POINT.names or ()):
        packed[name] = points[:, column]
    fields = [
        make("sensor_msgs/msg/PointField", name=name, offset=about[1], datatype=_FIELD_TYPES[about[0].str], count=1)
        for name, about in (POINT.fields or {}).items()
    ]
    return make(
        "sensor_msgs/msg/PointCloud2",
        header=header_msg(stamp_ns, LIDAR_FRAME),
        height=1,
        width=len(packed),
        fields=fields,
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * len(packed),
        data=packed.view(np.uint8),
        is_dense=bool(np.isfinite(points[:, :3]).all()),
    )


def _static_messages(sequence: BoreasSequence, lidar: bool, poses: bool, start: int) -> Stream:
    calibration = sequence.calibration
    links = [("base_link", OPTICAL_FRAME, calibration.T_base_camera)]
    if poses:
        links.append(("map", "odom", np.eye(4)))
    if lidar:
        links.append(("base_link", LIDAR_FRAME, calibration.T_base_lidar))

    def messages(_: int):
        from vpr_ros.sensors.bags.messages import tf_msg

        return [("/tf_static", tf_msg(links, start))]

    return Stream("fixed frames", np.array([start]), messages)


def _poses(sequence: BoreasSequence, start: int, end: int) -> list[Stream]:
    trajectory, (linear, angular) = sequence.poses, sequence.velocities
    rows = np.flatnonzero((trajectory.stamps_ns >= start) & (trajectory.stamps_ns <= end))
    if not len(rows):
        raise VprError(
            f"{sequence.folder}/applanix has no pose while the pictures were taken; take both of one sequence"
        )

    def at(i: int) -> tuple[int, int, np.ndarray]:
        row = int(rows[i])
        return row, int(trajectory.stamps_ns[row]), trajectory.T[row]

    def odometry(i: int):
        from vpr_ros.sensors.bags.messages import odometry_msg, tf_msg

        row, stamp, T = at(i)
        message = odometry_msg(T, stamp, linear_mps=linear[row], angular_radps=angular[row])
        return [(ODOM_TOPIC, message), ("/tf", tf_msg([("odom", "base_link", T)], stamp))]

    def truth(i: int):
        from vpr_ros.sensors.bags.messages import pose_msg

        _, stamp, T = at(i)
        return [(TRUTH_TOPIC, pose_msg(T, stamp))]

    stamps = trajectory.stamps_ns[rows]
    return [Stream("poses of the INS", stamps, odometry, 1200), Stream("ground truth", stamps, truth, 200)]


def _pictures(sequence: BoreasSequence, reduce: int, quality: int) -> Stream:
    stamps, full = sequence.stamps_ns("camera"), sequence.image_size()
    height, width = (max(1, side // reduce) for side in full)
    K = sequence.calibration.K
    assert K is not None
    camera = camera_of(K, full, (height, width))

    def messages(i: int):
        from vpr_ros.sensors.bags.messages import camera_info_msg, compressed_image_msg

        stamp = int(stamps[i])
        rgb = sequence.image(stamp, reduce)
        if rgb.shape[:2] != (height, width):
            raise FrameError(f"picture {stamp // 1000}.png is of another size than the first; fetch it again")
        return [
            (IMAGE_TOPIC, compressed_image_msg(rgb, stamp, OPTICAL_FRAME, "jpeg", quality)),
            (INFO_TOPIC, camera_info_msg(camera.K, width, height, stamp, OPTICAL_FRAME)),
        ]

    return Stream("pictures", stamps, messages, height * width // 2)


def _scans(sequence: BoreasSequence, start: int, end: int) -> Stream:
    if not sequence.has("lidar"):
        raise VprError(
            f"{sequence.folder / 'lidar'} is missing: the scans lie there as <16 digits of microseconds>"
            ".bin; fetch that folder of the sequence, or leave clouds out with --no-lidar"
        )
    stamps = sequence.stamps_ns("lidar")
    stamps = stamps[(stamps >= start) & (stamps <= end)]
    if not len(stamps):
        raise VprError(
            f"{sequence.folder / 'lidar'} has no scan while the pictures were taken; take both of one "
            "sequence, or leave clouds out with --no-lidar"
        )
    points = sequence.file_bytes("lidar", int(stamps[len(stamps) // 2])) // 24

    def messages(i: int):
        stamp = int(stamps[i])
        return [(POINTS_TOPIC, cloud_message(sequence.scan(stamp), stamp))]

    return Stream("scans", stamps, messages, POINT.itemsize * max(1, points))
