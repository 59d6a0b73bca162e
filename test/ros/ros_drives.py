"""The street that the ROS tests drive along: small, rendered once per test run, and never in a hurry."""

from pathlib import Path

import cv2
import numpy as np

from vpr_ros.sensors import Bag, BagWriter
from vpr_ros.training.synthetic.conditions import CameraConfig, DriveConditions, LidarConfig, named_conditions
from vpr_ros.training.synthetic.drive import START_NS, Drive, plan_drive
from vpr_ros.training.synthetic.world.city import DEMO_CITY_SEED, DEMO_OFFMAP_SEED

IMAGE, INFO, POINTS, ODOM = "/camera/image/compressed", "/camera/camera_info", "/points", "/odom"
LENGTH_M, SPACING_M, OFFMAP_M = 60.0, 1.5, 30.0
FRAMES = round(LENGTH_M / SPACING_M)
OFFMAP_FRAMES = round(OFFMAP_M / SPACING_M)
SECOND_NS = 1_000_000_000


def first_drive() -> Drive:
    """A summer day: 40 frames in 7.5 s."""
    return plan_drive(
        DEMO_CITY_SEED,
        named_conditions("day", seed=1),
        CameraConfig(),
        LidarConfig(),
        length_m=LENGTH_M,
        spacing_m=SPACING_M,
    )


def second_drive() -> Drive:
    """The same street on an autumn evening 100 days later, and then 20 frames that are not on the map."""
    conditions = DriveConditions(season="autumn", light="dusk", seed=2, lane_offset_m=0.4)
    return plan_drive(
        DEMO_CITY_SEED,
        conditions,
        CameraConfig(),
        LidarConfig(),
        length_m=LENGTH_M,
        spacing_m=SPACING_M,
        offmap_seed=DEMO_OFFMAP_SEED,
        offmap_length_m=OFFMAP_M,
        start_ns=START_NS + 100 * 24 * 3600 * SECOND_NS,
    )


def copy_bag(
    source: Path, target: Path, until_ns: int | None = None, laps: int = 1, gap_ns: int = 2 * SECOND_NS
) -> Path:
    """A bag with another's messages before the bag time `until_ns`, in so many laps: all stamps of a lap are later."""
    with Bag(source) as bag:
        messages = [m for m in bag.messages([t.name for t in bag.topics]) if until_ns is None or m[1] < until_ns]
    lap_ns = messages[-1][1] - messages[0][1] + gap_ns
    with BagWriter(target) as writer:
        for lap in range(laps):
            for topic, at_ns, msg in messages:
                if lap == 0 or topic != "/tf_static":
                    writer.write(topic, _delay(msg, lap_ns if lap else 0), at_ns + lap * lap_ns)
    return target


def _delay(msg, by_ns: int):
    """The same message with its stamps moved, in place: each lap moves them once more."""
    for stamped in getattr(msg, "transforms", [msg]):
        stamp = stamped.header.stamp
        stamp.sec, stamp.nanosec = divmod(stamp.sec * SECOND_NS + stamp.nanosec + by_ns, SECOND_NS)
    return msg


def images_of(bag_path: Path) -> list[tuple[int, bytes]]:
    """Stamps and JPEG bytes of a bag's images."""
    with Bag(bag_path) as bag:
        return [
            (m.header.stamp.sec * SECOND_NS + m.header.stamp.nanosec, bytes(m.data))
            for _, _, m in bag.messages([IMAGE])
        ]


def pixels(jpeg: bytes) -> np.ndarray:
    """The picture (H, W, 3) uint8 RGB of a JPEG."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].copy()
