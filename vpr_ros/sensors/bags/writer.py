"""ROS 2 bags written without ROS."""

import re
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.drive_frames import NAME_TOPIC
from vpr_ros.sensors.bags.messages import compressed_image_msg, make, typestore

_STORAGE = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
_FOREVER = QosTime(9223372036, 854775807)


def _qos(topic: str) -> list[Qos]:
    # A late subscriber to /tf_static gets it only when the bag says that it was latched.
    durability = QosDurability.TRANSIENT_LOCAL if topic == "/tf_static" else QosDurability.VOLATILE
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


def _natural(file: Path) -> list:
    # Digits compare as numbers, so that photo 10 follows photo 9 without leading zeros.
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def folder_to_bag(
    folder,
    bag,
    rate_hz: float = 10.0,
    storage: str = "mcap",
    topic: str = "/camera/image/compressed",
    start_ns: int = 1_000_000_000,
    progress=None,
) -> int:
    """Write a folder's JPEG and PNG files as CompressedImage, in the order of their names (9 before 10).

    Returns how many. The files' bytes go in unchanged, their names to the topic `NAME_TOPIC`. Stamps are
    start_ns + i / rate_hz, for image and bag time alike.
    `progress(done, total)` is called after each file. Raises VprError for a folder without pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise VprError(f"{folder} is not a folder; give the folder that holds the JPEG or PNG files")
    if not rate_hz > 0:
        raise VprError(f"the rate must be above 0 Hz, got {rate_hz}")
    kinds = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png"}
    files = sorted((f for f in folder.iterdir() if f.suffix.lower() in kinds and f.is_file()), key=_natural)
    if not files:
        raise VprError(f"{folder} holds no .jpg, .jpeg or .png file; convert the pictures or give another folder")
    with BagWriter(bag, storage) as writer:
        for i, file in enumerate(files):
            stamp_ns = start_ns + round(i * 1e9 / rate_hz)
            try:
                data = file.read_bytes()
            except OSError as error:
                raise VprError(f"{file} cannot be read ({error.strerror}); check its rights") from None
            writer.write(topic, compressed_image_msg(data, stamp_ns, format=kinds[file.suffix.lower()]), stamp_ns)
            writer.write(NAME_TOPIC, make("std_msgs/msg/String", data=file.name), stamp_ns)
            if progress:
                progress(i + 1, len(files))
    return len(files)
