"""ROS 2 bags written without ROS."""

import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.kinds import refuse_bag
from vpr_ros.sensors.bags.messages import typestore
from vpr_ros.sensors.bags.picture_reader import (
    IMAGE_TOPIC,
    NAME_TOPIC,
    RATE_HZ,
    START_NS,
    name_message,
    picture_message,
    picture_stamp,
)
from vpr_ros.sensors.picture_files import drive_pictures

_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(9223372036, 854775807)


def _qos(topic: str) -> list[Qos]:
    # A late subscriber to /tf_static gets it only when the bag says that it was latched.
    durability = QosDurability.TRANSIENT_LOCAL if topic.endswith("/tf_static") else QosDurability.VOLATILE
    return [
        Qos(
            QosHistory.KEEP_LAST,
            10,
            QosReliability.RELIABLE,
            durability,
            _FOREVER,
            _FOREVER,
            QosLiveliness.AUTOMATIC,
            _FOREVER,
            False,
        )
    ]


class BagWriter:
    """Writes a ROS 2 bag folder (metadata version 8, read by Humble and later); use it as a context manager.

    When the body raises, the half-written folder is removed: a bag that exists is complete.
    Raises VprError when the folder exists already, cannot be made or the disk is full.
    """

    def __init__(self, path, storage: str = "mcap"):
        self.path = Path(path)
        if storage not in _STORAGE:
            raise VprError(f"bag storage '{storage}' is not known; choose {' or '.join(_STORAGE)}")
        if self.path.exists():
            raise VprError(f"{self.path} exists already; choose another name or delete it first")
        try:
            self._writer = Writer(self.path, version=8, storage_plugin=_STORAGE[storage])
            self._writer.open()
        except (OSError, WriterError) as error:
            raise VprError(f"bag {self.path} cannot be written ({error}); check rights and space") from None
        self._connections = {}
        self._is_open = True

    def write(self, topic: str, msg, stamp_ns: int) -> None:
        """Append one message of this package's builders; `stamp_ns` is the bag's receive time."""
        key = (topic, msg.__msgtype__)
        try:
            if key not in self._connections:
                self._connections[key] = self._writer.add_connection(
                    topic, msg.__msgtype__, typestore=typestore(), offered_qos_profiles=_qos(topic)
                )
            self._writer.write(self._connections[key], int(stamp_ns), typestore().serialize_cdr(msg, msg.__msgtype__))
        except Exception as error:
            self._storage_failed(error)

    def close(self) -> None:
        """Finish the index and metadata.yaml; without it the bag does not open."""
        if self._is_open:
            self._is_open = False
            try:
                self._writer.close()
            except Exception as error:
                self._storage_failed(error)

    def _storage_failed(self, error: Exception) -> None:
        # sqlite3 reports a full disk as its own error, the mcap writer as OSError; anything else is a caller's defect.
        if not isinstance(error, (OSError, sqlite3.Error, WriterError)):
            raise error
        raise VprError(f"bag {self.path} could not be written ({error}); check the space on the disk") from None

    def __enter__(self) -> "BagWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.close()
                return
            except BaseException:
                shutil.rmtree(self.path, ignore_errors=True)
                raise
        self._is_open = False
        with suppress(Exception):  # flushing to a full disk fails again; the first error is the one to tell
            self._writer.abort()
        shutil.rmtree(self.path, ignore_errors=True)


def folder_to_bag(
    folder,
    bag,
    rate_hz: float = RATE_HZ,
    storage: str = "mcap",
    topic: str = IMAGE_TOPIC,
    start_ns: int = START_NS,
    progress=None,
) -> int:
    """Write a folder's pictures as CompressedImage, in the natural order of their names (9 before 10).

    Returns how many. The files' bytes go in unchanged, their names to the topic `NAME_TOPIC`. Stamps are
    start_ns + i / rate_hz, for image and bag time alike.
    `progress(done, total)` is called after each file. Raises VprError for a folder without pictures.
    """
    if not rate_hz > 0:
        raise VprError(f"the rate must be above 0 Hz, got {rate_hz}")
    refuse_bag(folder)
    files = drive_pictures(folder)
    with BagWriter(bag, storage) as writer:
        for i, file in enumerate(files):
            stamp_ns = picture_stamp(i, rate_hz, start_ns)
            writer.write(topic, picture_message(file, stamp_ns), stamp_ns)
            writer.write(NAME_TOPIC, name_message(file), stamp_ns)
            if progress:
                progress(i + 1, len(files))
    return len(files)
