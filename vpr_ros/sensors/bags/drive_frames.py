"""The pictures of a bag by number, stamp and file name, without decoding them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.kinds import kind_of
from vpr_ros.sensors.bags.picture_reader import NAME_TOPIC, picture_stamp
from vpr_ros.sensors.bags.reader import Bag
from vpr_ros.sensors.bags.topics import choose_topic
from vpr_ros.sensors.payload import stamp_ns
from vpr_ros.sensors.picture_files import drive_pictures, in_utf8

SAME_NS = 1000  # stamps that went through a float64 of seconds are off by up to a few hundred nanoseconds


@dataclass(frozen=True)
class DriveFrames:
    """F pictures in the order of the bag, unusable ones included: a picture's number is its row."""

    source: str  # the bag
    stamps_ns: np.ndarray  # (F,) int64
    names: tuple[str, ...]  # file names; empty where the bag does not tell

    def __len__(self) -> int:
        return len(self.stamps_ns)

    def numbers_of(self, stamps_ns: np.ndarray) -> np.ndarray:
        """(S,) int64 numbers of the pictures with these stamps (S,), the first of several; -1 where there is none."""
        wanted = np.asarray(stamps_ns, np.int64)
        if not len(self):
            return np.full(wanted.shape, -1, np.int64)
        order = np.argsort(self.stamps_ns, kind="stable")
        at = np.minimum(np.searchsorted(self.stamps_ns, wanted - SAME_NS, sorter=order), len(order) - 1)
        numbers = order[at]
        return np.where(np.abs(self.stamps_ns[numbers] - wanted) <= SAME_NS, numbers, -1)


def read_drive_frames(bag_path: str | Path, image_topic: str | None = None) -> DriveFrames:
    """The pictures of a bag's image topic (found by type when it is not named, or when the bag has no such topic).

    Raises VprError for a bag that cannot be read or leaves the topic open.
    """
    if kind_of(bag_path) == "pictures":  # the stamps and names of files need no reading of them
        files = drive_pictures(bag_path)
        stamped = np.array([picture_stamp(number) for number in range(len(files))], np.int64)
        return DriveFrames(str(bag_path), stamped, tuple(in_utf8(file.name) for file in files))
    with Bag(bag_path) as bag:
        known = {topic.name for topic in bag.topics}
        topic = choose_topic(bag, "image", image_topic if image_topic in known else None)
        wanted = [name for name in (topic, NAME_TOPIC) if name in known]
        stamps: list[int] = []
        received: list[int] = []
        names: dict[int, str] = {}
        for name, time_ns, message in bag.messages(wanted, on_error=lambda *_: None):
            if name == NAME_TOPIC:
                names[time_ns] = str(getattr(message, "data", ""))
            else:
                stamps.append(stamp_ns(message) or time_ns)
                received.append(time_ns)
    if not stamps:
        raise VprError(f"bag {bag_path} has no picture on {topic}.")
    found = tuple(names.get(time_ns, "") for time_ns in received)
    return DriveFrames(str(bag_path), np.array(stamps, np.int64), found if any(found) else ())
