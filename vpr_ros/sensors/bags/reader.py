"""Reading ROS 1 and ROS 2 bags (.bag, sqlite3, mcap) message by message, as far as they are whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from pathlib import Path
from types import TracebackType

from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.bags.losses import Losses
from vpr_ros.sensors.bags.picture_reader import PictureReader
from vpr_ros.sensors.bags.storage.base import READABLE, Connection, StorageError
from vpr_ros.sensors.bags.storage.compression import ZSTD_MAGIC, decompressed
from vpr_ros.sensors.bags.storage.opening import BagStorages


@dataclass(frozen=True)
class TopicInfo:
    """One topic of a bag. `msgtype` is spelled as in ROS 2 for every kind of bag."""

    name: str
    msgtype: str
    count: int
    encoding: str = "cdr"  # or ros1; messages of any other, such as json or protobuf, are not read

    @property
    def readable(self) -> bool:
        """Whether its messages can be decoded."""
        return self.encoding in READABLE


@lru_cache(maxsize=2)
def _standard(encoding: str):
    return get_typestore(Stores.ROS1_NOETIC if encoding == "ros1" else Stores.ROS2_HUMBLE)


class Bag:
    """An opened bag: a ROS 2 bag folder, one `.mcap` or `.db3` file, a ROS 1 `.bag`, or a folder of its split parts.

    A folder of pictures is read as the bag that `folder_to_bag` makes of it.
    Message types and encodings nobody knows are listed among the topics; only topics that are asked for are decoded.
    A folder without metadata.yaml is read from its storage files. A recording that was cut short, never closed or
    damaged is read as far as it is whole; `losses` says what is missing, as far as it has been read, and
    `losses.reading_bags` whether that is refused. Raises VprError when nothing can be read.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._losses = Losses()
        self._stores: dict = {}
        self._files = BagStorages(self.path, self._losses)
        self.pictures: bool = self._files.pictures
        connections = [c for storage in self._files.storages for c in storage.connections]
        self.topics: list[TopicInfo] = _topics(connections)
        # ROS 2 unless all that can be read is of ROS 1.
        self.ros2: bool = not connections or any(c.encoding != "ros1" for c in connections if c.readable)
        stamped = [s for s in self._files.storages if any(c.count for c in s.connections)]
        self.message_count: int = sum(c.count for c in connections)
        self.start_ns: int = min((s.start_ns for s in stamped), default=0)
        self.end_ns: int = max((s.end_ns for s in stamped), default=0)

    @property
    def losses(self) -> list[str]:
        """Sentences about what the recording lacks; complete once its messages have been read."""
        return self._losses.sentences

    def name_at(self, time_ns: int) -> str:
        """The file that holds the image of this receive time in a folder of pictures; nothing of a recorded bag."""
        found = [s.file_at(time_ns) for s in self._files.storages if isinstance(s, PictureReader)]
        return found[0].name if found else ""

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
        `on_error` the FrameError is raised. Raises VprError where damage is refused (see `losses`).
        """
        for name in set(names):
            self.topic(name)
        for connection, time_ns, raw in self._raw(names):
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
        for connection, time_ns, _ in self._raw(names):
            yield connection.topic, time_ns

    def _raw(self, names) -> Iterator[tuple[Connection, int, bytes]]:
        """Serialised messages of the named topics by time; of a topic in several encodings those that can be read."""
        readable = {t.name for t in self.topics if t.readable}
        streams = []
        for storage in self._files.storages:
            wanted = {
                c.id: c for c in storage.connections if c.topic in names and (c.readable or c.topic not in readable)
            }
            if wanted:
                streams.append(_of(wanted, storage.messages(set(wanted))))
        try:
            yield from merge(*streams, key=itemgetter(1))
        except (StorageError, OSError) as error:
            raise VprError(f"bag {self.path} cannot be read on: {error}") from None

    def _decode(self, connection: Connection, raw: bytes):
        if not connection.readable:
            raise FrameError(f"messages on {connection.topic} are encoded as {connection.encoding}, which is not read")
        store = self._store(connection)
        try:
            if connection.encoding == "ros1":
                return store.deserialize_ros1(raw, connection.msgtype)
            if raw.startswith(ZSTD_MAGIC):  # compressed one by one; serialised messages begin with a zero
                raw = decompressed(raw, "zstd")
            return store.deserialize_cdr(raw, connection.msgtype)
        except Exception as error:  # rosbags raises many kinds for bytes that do not fit the type
            raise FrameError(
                f"message on {connection.topic} does not fit its type {connection.msgtype} ({_short(error)})"
            ) from None

    def _store(self, connection: Connection):
        msgtype = connection.msgtype
        if msgtype in _standard(connection.encoding).types:
            return _standard(connection.encoding)
        key = (connection.encoding, msgtype)
        if key not in self._stores:
            store = get_typestore(Stores.EMPTY)
            try:
                definition = connection.definition
                if definition is not None:
                    is_msg = definition.language == "msg"
                    store.register(
                        get_types_from_msg(definition.text, msgtype) if is_msg else get_types_from_idl(definition.text)
                    )
                known = msgtype in store.types
            except Exception:  # a definition written by a broken recorder must not hide the other topics
                known = False
            self._stores[key] = store if known else None
        if self._stores[key] is None:
            raise FrameError(f"message type {msgtype} on {connection.topic} is unknown and the bag does not define it")
        return self._stores[key]

    def close(self) -> None:
        """Close the files; safe to call twice."""
        self._files.close()

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
    return ", ".join(
        f"{t.name} ({t.msgtype or 'no type'}{'' if t.readable else f' as {t.encoding}, which is not read'}, {t.count} "
        f"message{'' if t.count == 1 else 's'})"
        for t in topics
    )


def _topics(connections: list[Connection]) -> list[TopicInfo]:
    counts: dict[tuple[str, str, str], int] = {}
    for connection in connections:
        key = (connection.topic, connection.msgtype, connection.encoding)
        counts[key] = counts.get(key, 0) + connection.count
    # Of a topic in several encodings the one that is read comes first.
    ordered = sorted(counts.items(), key=lambda item: (item[0][0], item[0][2] not in READABLE, item[0]))
    return [TopicInfo(name, msgtype, count, encoding) for (name, msgtype, encoding), count in ordered]


def _of(connections: dict[int, Connection], messages) -> Iterator[tuple[Connection, int, bytes]]:
    for time_ns, number, raw in messages:
        yield connections[number], time_ns, raw


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".")
    return (text[:160] or type(error).__name__) if text != "0" else type(error).__name__
