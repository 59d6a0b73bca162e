"""A folder of pictures read as the bag that `folder_to_bag` would make of it."""

from collections.abc import Iterator
from pathlib import Path

from vpr_ros.errors import VprError
from vpr_ros.sensors.bags.messages import compressed_image_msg, make, typestore
from vpr_ros.sensors.bags.storage.base import Connection, Raw
from vpr_ros.sensors.picture_files import FORMATS, drive_pictures, in_utf8

IMAGE_TOPIC = "/camera/image/compressed"
# std_msgs/String: the file that the picture of the same receive time came from.
NAME_TOPIC = "/camera/image/file_name"
START_NS = 1_000_000_000
RATE_HZ = 10.0


def picture_stamp(number: int, rate_hz: float = RATE_HZ, start_ns: int = START_NS) -> int:
    """Stamp in nanoseconds of a folder's picture of this number, from 0."""
    return start_ns + round(number * 1e9 / rate_hz)


def picture_message(file: Path, stamp_ns: int):
    """CompressedImage with the file's bytes as they are. VprError where it cannot be read."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise VprError(f"{file} cannot be read ({error.strerror}); check its rights") from None
    return compressed_image_msg(data, stamp_ns, format=FORMATS[file.suffix.lower()])


def name_message(file: Path):
    """String with a file's name."""
    return make("std_msgs/msg/String", data=in_utf8(file.name))


class PictureReader:
    """The pictures of a folder as the storage of a bag, with messages in CDR.

    Pictures are stamped as `folder_to_bag` does. Raises VprError for a folder without pictures.
    """

    def __init__(self, folder: Path):
        self.files = drive_pictures(folder)
        count = len(self.files)
        self.connections = [
            Connection(0, IMAGE_TOPIC, "sensor_msgs/msg/CompressedImage", count=count),
            Connection(1, NAME_TOPIC, "std_msgs/msg/String", count=count),
        ]
        self.start_ns, self.end_ns = START_NS, picture_stamp(count - 1)

    def messages(self, wanted: set[int]) -> Iterator[Raw]:
        """Raw messages of the connections with these ids by time."""
        for number, file in enumerate(self.files):
            stamp = picture_stamp(number)
            for connection in self.connections:
                if connection.id in wanted:
                    message = picture_message(file, stamp) if connection.id == 0 else name_message(file)
                    yield stamp, connection.id, bytes(typestore().serialize_cdr(message, connection.msgtype))

    def file_at(self, time_ns: int) -> Path:
        """The picture that was received then."""
        return self.files[round((time_ns - START_NS) * RATE_HZ / 1e9)]

    def close(self) -> None:
        """Nothing is held open."""
