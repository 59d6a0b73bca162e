"""Reading ROS 1 and ROS 2 bags (.bag, sqlite3, mcap) through rosbags, message by message."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from pathlib import Path
from types import TracebackType

from rosbags.interfaces import MessageDefinitionFormat
from rosbags.rosbag1 import Reader as Reader1
from rosbags.rosbag2 import Reader as Reader2
from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.bags.kinds import kind_of
from vpr_ros.sensors.bags.picture_reader import PictureReader
from vpr_ros.sensors.picture_files import is_picture_name, lack_of_pictures

_STORAGE_FILES = (".mcap", ".db3")


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag. `msgtype` is spelled as in ROS 2 for every kind of bag."""

    name: str
    msgtype: str
    count: int


@lru_cache(maxsize=2)
def _standard(ros2: bool):
    return get_typestore(Stores.ROS2_HUMBLE if ros2 else Stores.ROS1_NOETIC)


class Bag:
    """An opened bag: a ROS 1 `.bag` file, a ROS 2 bag folder, or one `.mcap` or `.db3` file of such a folder.

    A folder of pictures is read as the bag that `folder_to_bag` makes of it.
    Message types nobody knows are listed among the topics; only topics that are asked for are decoded.
    A folder without metadata.yaml is read from its storage files. Raises VprError when nothing can be read.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._readers: list = []
        self._stores: dict = {}
        self.pictures = kind_of(self.path) == "pictures"
        files, self.ros2 = ([self.path], True) if self.pictures else _storage_files(self.path)
        open_reader = PictureReader if self.pictures else Reader2 if self.ros2 else Reader1
        try:
            for file in files:
                reader = open_reader(file)
                reader.open()
                self._readers.append(reader)
        except Exception as error:  # rosbags lets struct, assertion and YAML errors of damaged files through
            self.close()
            raise _unreadable(self.path, file, error) from None
        self.topics: list[TopicInfo] = _topics(self._readers)
        stamped = [r for r in self._readers if r.message_count]
        self.message_count: int = sum(r.message_count for r in stamped)
        self.start_ns: int = min((r.start_time for r in stamped), default=0)
        self.end_ns: int = max((r.end_time - 1 for r in stamped), default=0)

    @property
    def duration_s(self) -> float:
        """Seconds between the first and the last message's receive time."""
        return max(self.end_ns - self.start_ns, 0) * 1e-9

    def topic(self, name: str) -> TopicInfo:
        """The topic of that name; VprError listing the topics when there is none."""
        for info in self.topics:
            if info.name == name:
                return info
        raise VprError(f"bag {self.path} has no topic {name}; it has {describe_topics(self.topics)}")

    def messages(
        self, names, on_error: Callable[[str, FrameError], None] | None = None
    ) -> Iterator[tuple[str, int, object]]:
        """(topic, receive time in ns, message) of the named topics, in the order they were received.

        A message whose bytes do not fit its type goes to `on_error(topic, error)` and is skipped; without
        `on_error` the FrameError is raised. Raises VprError where the file itself is damaged.
        """
        wanted = set(names)
        for name in wanted:
            self.topic(name)
        streams = []
        for reader in self._readers:
            connections = [c for c in reader.connections if c.topic in wanted]
            if connections:
                streams.append(self._raw(reader, connections))
        for connection, time_ns, raw in merge(*streams, key=lambda item: item[1]):
            try:
                message = self._decode(connection, raw)
            except FrameError as error:
                if on_error is None:
                    raise
                on_error(connection.topic, error)
                continue
            yield connection.topic, time_ns, message

    def receive_times(self, names) -> Iterator[tuple[str, int]]:
        """(topic, receive time in ns) without decoding; works for message types nobody knows."""
        wanted = set(names)
        for reader in self._readers:
            connections = [c for c in reader.connections if c.topic in wanted]
            if connections:
                for connection, time_ns, _ in self._raw(reader, connections):
                    yield connection.topic, time_ns

    def _raw(self, reader, connections):
        read = 0
        try:
            for item in reader.messages(connections=connections):
                read += 1
                yield item
        except (GeneratorExit, VprError):
            raise
        except Exception as error:
            raise VprError(
                f"bag {self.path} is damaged after {read} messages of the topics asked for "
                f"({_short(error)}); {_repair(self.path, self.ros2)}"
            ) from None

    def _decode(self, connection, raw):
        store = self._store(connection)
        try:
            if self.ros2:
                return store.deserialize_cdr(raw, connection.msgtype)
            return store.deserialize_ros1(raw, connection.msgtype)
        except Exception as error:  # rosbags raises many kinds for bytes that do not fit the type
            raise FrameError(
                f"message on {connection.topic} does not fit its type {connection.msgtype} ({_short(error)})"
            ) from None

    def _store(self, connection):
        msgtype = connection.msgtype
        if msgtype in _standard(self.ros2).types:
            return _standard(self.ros2)
        if msgtype not in self._stores:
            store = get_typestore(Stores.EMPTY)
            try:
                if connection.msgdef.format == MessageDefinitionFormat.MSG:
                    store.register(get_types_from_msg(connection.msgdef.data, msgtype))
                elif connection.msgdef.format == MessageDefinitionFormat.IDL:
                    store.register(get_types_from_idl(connection.msgdef.data))
                known = msgtype in store.types
            except Exception:  # a definition written by a broken recorder must not hide the other topics
                known = False
            self._stores[msgtype] = store if known else None
        if self._stores[msgtype] is None:
            raise FrameError(f"message type {msgtype} on {connection.topic} is unknown and the bag does not define it")
        return self._stores[msgtype]

    def close(self) -> None:
        """Close the files; safe to call twice."""
        readers, self._readers = self._readers, []
        for reader in readers:
            reader.close()

    def __enter__(self) -> "Bag":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def describe_topics(topics: list[TopicInfo]) -> str:
    """Topics as a phrase: '/scan (sensor_msgs/msg/LaserScan, 75 messages), ...'."""
    if not topics:
        return "no topics at all"
    return ", ".join(f"{t.name} ({t.msgtype}, {t.count} message{'' if t.count == 1 else 's'})" for t in topics)


def _topics(readers) -> list[TopicInfo]:
    counts: dict[tuple[str, str], int] = {}
    for reader in readers:
        for connection in reader.connections:
            key = (connection.topic, connection.msgtype)
            counts[key] = counts.get(key, 0) + connection.msgcount
    return [TopicInfo(name, msgtype, count) for (name, msgtype), count in sorted(counts.items())]


def _storage_files(path: Path) -> tuple[list[Path], bool]:
    """Files to open and whether they are ROS 2's."""
    if not path.exists():
        raise VprError(f"bag {path} does not exist; check the path")
    if path.is_file():
        if path.suffix == ".bag":
            return [path], False
        if path.suffix in _STORAGE_FILES:
            return [path], True
        if is_picture_name(path):
            raise VprError(f"{path} is a single picture; give the folder that holds it")
        raise VprError(f"{path} is not a bag; give a ROS 1 .bag file, a ROS 2 bag folder, or an .mcap or .db3 file")
    if (path / "metadata.yaml").exists():
        return [path], True
    files = sorted(f for f in path.iterdir() if f.suffix in _STORAGE_FILES)
    if files:
        return files, True
    compressed = sorted(f.name for f in path.iterdir() if f.name.endswith((".mcap.zstd", ".db3.zstd")))
    if compressed:
        raise VprError(
            f"bag {path} has no metadata.yaml and its files are compressed ({compressed[0]}); decompress "
            f"them with 'zstd -d' and run 'ros2 bag reindex {path}'"
        )
    raise VprError(
        f"folder {path} is not a bag, since it has neither metadata.yaml nor an .mcap or .db3 file; and "
        f"{lack_of_pictures(path)}"
    )


def _unreadable(path: Path, file: Path, error: Exception) -> VprError:
    if isinstance(error, PermissionError):
        return VprError(f"bag {path} may not be read by this user; check its rights")
    if file.is_file() and file.stat().st_size == 0:
        return VprError(f"bag file {file} is empty; the recording wrote nothing")
    return VprError(
        f"bag {path} cannot be read, it is cut short or damaged ({_short(error)}); "
        f"{_repair(path, path.suffix != '.bag')}"
    )


def _repair(path: Path, ros2: bool) -> str:
    if not ros2:
        return f"try 'rosbag reindex {path.name}'"
    folder = path if path.is_dir() else path.parent
    if path.suffix == ".mcap" or (path.is_dir() and any(path.glob("*.mcap"))):
        return f"try 'mcap recover' on its .mcap file, then 'ros2 bag reindex {folder}'"
    return f"try 'ros2 bag reindex {folder}', or SQLite's '.recover' on its .db3 file"


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return (text[:160] or type(error).__name__) if text != "0" else type(error).__name__
