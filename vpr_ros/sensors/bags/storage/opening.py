"""Opens the files of a bag, or a folder of pictures in its place, each as far as it can be read."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.kinds import kind_of
from vpr_ros.sensors.bags.losses import Losses
from vpr_ros.sensors.bags.picture_reader import PictureReader
from vpr_ros.sensors.bags.storage.base import Storage, StorageError
from vpr_ros.sensors.bags.storage.compression import unpack_zstd
from vpr_ros.sensors.bags.storage.finding import Signature, files_of, signature_of
from vpr_ros.sensors.bags.storage.mcap import McapFile
from vpr_ros.sensors.bags.storage.rosbag1 import Rosbag1File
from vpr_ros.sensors.bags.storage.sqlite import SqliteFile


class BagStorages:
    """The opened files of a bag. Of several files one may be beyond reading: that is a loss, and the others are read.

    Raises VprError where the path is no bag or no file of it can be read.
    """

    def __init__(self, path: Path, losses: Losses):
        self._losses = losses
        self._stack = ExitStack()
        self.storages: list[Storage] = []
        self.pictures: bool = kind_of(path) == "pictures"
        try:
            self._open(path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the files and remove what was unpacked; safe to call twice."""
        self._stack.close()

    def _open(self, path: Path) -> None:
        if self.pictures:
            self.storages.append(PictureReader(path))
            return
        found = files_of(path)
        for sentence in found.missing:
            self._losses.lost(sentence)
        for sentence in found.notes:
            self._losses.note(sentence)
        failures: list[VprError] = []
        for file in found.files:
            try:
                self._open_file(file)
            except VprError as error:
                if self._losses.strict:
                    raise
                failures.append(error)
        if not self.storages:
            raise failures[0]
        for error in failures:
            self._losses.lost(str(error))
        there = sum(c.count for storage in self.storages for c in storage.connections)
        if there < found.promised and not self._losses.sentences:
            self._losses.lost(
                f"metadata.yaml of bag {path} counts {found.promised} messages, of which {there} are there"
            )

    def _open_file(self, file: Path) -> None:
        kind = signature_of(file)
        try:
            if kind == "zstd":
                file = self._unpacked(file)
                kind = signature_of(file)
            storage = self._opened(file, kind)
        except StorageError as error:
            if error.unsupported:
                raise VprError(f"bag file {file} is of a kind that is not read: {error}") from None
            raise VprError(
                f"bag file {file} cannot be read, it is cut short or damaged: {error}; {_repair(file, kind)}"
            ) from None
        except OSError as error:
            raise VprError(
                f"bag file {file} cannot be read ({error.strerror or error}); check its rights and disk"
            ) from None
        self._stack.callback(storage.close)
        self.storages.append(storage)

    def _opened(self, file: Path, kind: Signature) -> Storage:
        if kind == "mcap":
            return McapFile(file, self._losses.lost)
        if kind == "sqlite":
            return SqliteFile(file, self._losses.lost, self._losses.note)
        if kind == "rosbag1":
            return Rosbag1File(file, self._losses.lost)
        raise StorageError("it is compressed twice", unsupported=True)

    def _unpacked(self, file: Path) -> Path:
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="vpr_ros_bag_")))
        target = folder / file.name.removesuffix(".zstd")
        if not unpack_zstd(file, target):
            self._losses.lost(f"{file} was cut short or is damaged: as much as decompresses is read")
        return target


def _repair(file: Path, kind: Signature) -> str:
    if kind == "rosbag1":
        return f"try 'rosbag reindex {file.name}'"
    if kind == "mcap":
        return f"try 'mcap recover' on it, then 'ros2 bag reindex {file.parent}'"
    return f"try 'ros2 bag reindex {file.parent}', or SQLite's '.recover' on it"
