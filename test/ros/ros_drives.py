"""The street that the ROS tests drive along: small, rendered once per test run, and never in a hurry."""

import shutil
from pathlib import Path

import cv2
import numpy as np

from training.synthetic.city import DEMO_CITY_SEED, DEMO_OFFMAP_SEED
from training.synthetic.conditions import CameraConfig, DriveConditions, LidarConfig, named_conditions
from training.synthetic.drive import START_NS, Drive, plan_drive
from vpr_ros.sensors import Bag, BagWriter

IMAGE, INFO, POINTS, ODOM = "/camera/image/compressed", "/camera/camera_info", "/points", "/odom"
LENGTH_M, SPACING_M, OFFMAP_M = 60.0, 1.5, 30.0
FRAMES = round(LENGTH_M / SPACING_M)
OFFMAP_FRAMES = round(OFFMAP_M / SPACING_M)
SECOND_NS = 1_000_000_000


def first_drive() -> Drive:
    """A summer day: 40 frames in 7.5 s."""
    return plan_drive(DEMO_CITY_SEED, named_conditions("day", seed=1), CameraConfig(), LidarConfig(),
                      length_m=LENGTH_M, spacing_m=SPACING_M)


def second_drive() -> Drive:
    """The same street on an autumn evening 100 days later, and then 20 frames that are not on the map."""
    conditions = DriveConditions(season="autumn", light="dusk", seed=2, lane_offset_m=0.4)
    return plan_drive(DEMO_CITY_SEED, conditions, CameraConfig(), LidarConfig(), length_m=LENGTH_M,
                      spacing_m=SPACING_M, offmap_seed=DEMO_OFFMAP_SEED, offmap_length_m=OFFMAP_M,
                      start_ns=START_NS + 100 * 24 * 3600 * SECOND_NS)


def copy_bag(source: Path, target: Path, until_ns: int | None = None, without: tuple[str, ...] = (), repeat: int = 1,
             gap_ns: int = SECOND_NS // 5) -> Path:
    """A bag with part of another's messages, `repeat` times one after the other in bag time, header stamps unchanged.

    `until_ns` is a bag time; messages from there on stay away, as do the topics in `without`.
    """
    with Bag(source) as bag:
        names = [t.name for t in bag.topics if t.name not in without]
        messages = [m for m in bag.messages(names) if until_ns is None or m[1] < until_ns]
    span = messages[-1][1] - messages[0][1] + gap_ns
    shutil.rmtree(target, ignore_errors=True)
    with BagWriter(target) as writer:
        for lap in range(repeat):
            for topic, at_ns, msg in messages:
                writer.write(topic, msg, at_ns + lap * span)
    return target


def images_of(bag_path: Path) -> list[tuple[int, bytes]]:
    """Stamps and JPEG bytes of a bag's images."""
    with Bag(bag_path) as bag:
        return [(m.header.stamp.sec * SECOND_NS + m.header.stamp.nanosec, bytes(m.data))
                for _, _, m in bag.messages([IMAGE])]


def pixels(jpeg: bytes) -> np.ndarray:
    """The picture (H, W, 3) uint8 RGB of a JPEG."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].copy()
