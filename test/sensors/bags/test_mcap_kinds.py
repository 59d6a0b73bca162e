"""MCAP files of every profile, encoding and layout: what nobody asked for never makes the images unreadable."""

import bz2
from itertools import pairwise

import lz4.frame
import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from support.mcap_bytes import Channel, McapBytes

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.nodes.launching.bag_topics import bag_topics
from vpr_ros.sensors import Bag, Drive, decode_image, doctor, image_msg, odometry_msg, reading_bags
from vpr_ros.sensors.bags.messages import typestore
from vpr_ros.sensors.bags.storage.compression import zstd

SECOND = 10**9
TENTH = SECOND // 10
PIXELS = np.random.default_rng(3).integers(0, 256, (10, 6, 8, 3), dtype=np.uint8)
CAMERA = Channel("/camera", "sensor_msgs/msg/Image")
JSON = Channel("/status", "acme.Status", "json", "jsonschema", b'{"type": "object"}')
PROTOBUF = Channel("/boxes", "foxglove.SceneUpdate", "protobuf", "protobuf", b"\x0a\x05abc")
ODD = Channel("/odd", "", "cbor", "")


def cdr(msg) -> bytes:
    return bytes(typestore().serialize_cdr(msg, msg.__msgtype__))


def images(channel=0):
    return [(channel, SECOND + i * TENTH, cdr(image_msg(p, SECOND + i * TENTH))) for i, p in enumerate(PIXELS)]


def ros1(msgtype, **fields):
    store = get_typestore(Stores.ROS1_NOETIC)
    return store, store.types[msgtype](**fields)


def ros1_image(pixels, stamp) -> bytes:
    store = get_typestore(Stores.ROS1_NOETIC)
    t = store.types
    header = t["std_msgs/msg/Header"](0, t["builtin_interfaces/msg/Time"](*divmod(stamp, SECOND)), "camera")
    height, width = pixels.shape[:2]
    msg = t["sensor_msgs/msg/Image"](header, height, width, "rgb8", 0, width * 3, pixels.reshape(-1))
    return bytes(store.serialize_ros1(msg, "sensor_msgs/msg/Image"))


def ros1_fuel(level) -> bytes:
    store = get_typestore(Stores.ROS1_NOETIC)
    store.register(get_types_from_msg("uint32 level", "acme_msgs/msg/Fuel"))
    return bytes(store.serialize_ros1(store.types["acme_msgs/msg/Fuel"](level), "acme_msgs/msg/Fuel"))


def write(tmp_path, mcap: McapBytes, name="bag.mcap"):
    path = tmp_path / name
    path.write_bytes(bytes(mcap))
    return path


def read_pixels(path, topic="/camera"):
    with reading_bags(strict=True), Bag(path) as bag:
        return [decode_image(msg) for _, _, msg in bag.messages([topic])]


@pytest.mark.parametrize("profile", ["ros2", "ros1", "", "acme"])
@pytest.mark.parametrize("index", [True, False])
def test_the_profile_does_not_decide(tmp_path, profile, index):
    assert np.array_equal(read_pixels(write(tmp_path, McapBytes([CAMERA], images(), profile, index=index))), PIXELS)


@pytest.mark.parametrize("per_chunk", [3, None])
@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("other", [JSON, PROTOBUF, ODD], ids=lambda c: c.message_encoding)
def test_channels_that_nobody_asked_for(tmp_path, other, index, per_chunk):
    messages = sorted(images() + [(1, SECOND + i * TENTH + 1, b'{"ok": true}') for i in range(5)], key=lambda m: m[1])
    path = write(tmp_path, McapBytes([CAMERA, other], messages, index=index, per_chunk=per_chunk))
    assert np.array_equal(read_pixels(path), PIXELS)
    with Bag(path) as bag:
        topic = bag.topic(other.topic)
        assert (topic.count, topic.readable, topic.encoding) == (5, False, other.message_encoding)
        assert len(list(bag.receive_times([other.topic]))) == 5
        with pytest.raises(FrameError, match=f"encoded as {other.message_encoding}, which is not read"):
            next(bag.messages([other.topic]))
    report = doctor(path)
    assert report.stage("image").verdict == report.stage("recording").verdict == "OK"
    told = next(t for t in report.topics if t.name == other.topic)
    assert told.count == 5 and told.detail == f"{other.message_encoding}, which is not read"


def test_images_in_an_encoding_that_is_not_read_are_named_and_never_chosen(tmp_path):
    foxglove = Channel("/front", "foxglove.CompressedImage", "protobuf", "protobuf")
    lookalike = Channel("/back", "sensor_msgs/msg/Image", "json", "jsonschema")
    path = write(tmp_path, McapBytes([foxglove, lookalike], [(0, 1, b"x"), (1, 2, b"{}")], profile=""))
    with pytest.raises(VprError) as caught:
        Drive(path)
    assert "no camera images" in str(caught.value) and "damaged" not in str(caught.value)
    assert "/front (foxglove.CompressedImage as protobuf, which is not read, 1 message)" in str(caught.value)
    beside = write(tmp_path, McapBytes([CAMERA, lookalike], [*images(), (1, SECOND, b"{}")]), "beside.mcap")
    with Drive(beside) as drive:
        assert drive.topics.image == "/camera" and len(list(drive)) == 10


def test_one_topic_in_two_encodings_is_read_where_it_can_be(tmp_path):
    twin = Channel("/camera", "sensor_msgs/msg/Image", "json", "jsonschema")
    messages = sorted(images() + [(1, SECOND + 5, b"{}")], key=lambda m: m[1])
    path = write(tmp_path, McapBytes([CAMERA, twin], messages))
    assert np.array_equal(read_pixels(path), PIXELS)


@pytest.mark.parametrize("profile", ["ros1", ""])
def test_ros1_messages_in_mcap(tmp_path, profile):
    """What `mcap convert` makes of a ROS 1 bag: messages of ROS 1 with their own definitions."""
    camera = Channel("/camera", "sensor_msgs/Image", "ros1", "ros1msg", b"Header header\n")
    fuel = Channel("/fuel", "acme_msgs/Fuel", "ros1", "ros1msg", b"uint32 level\n")
    messages = [(0, SECOND + i * TENTH, ros1_image(p, SECOND + i * TENTH)) for i, p in enumerate(PIXELS)]
    messages.append((1, SECOND + TENTH * 20, ros1_fuel(7)))
    path = write(tmp_path, McapBytes([camera, fuel], messages, profile))
    with Bag(path) as bag:
        assert not bag.ros2
        assert {t.name: t.msgtype for t in bag.topics} == {
            "/camera": "sensor_msgs/msg/Image",
            "/fuel": "acme_msgs/msg/Fuel",
        }
        assert [m.level for _, _, m in bag.messages(["/fuel"])] == [7]
    observations = list(Drive(path))
    assert [o.stamp_ns for o in observations] == [SECOND + i * TENTH for i in range(10)]
    assert all(np.array_equal(o.image, p) for o, p in zip(observations, PIXELS, strict=True))
    assert doctor(path).kind == "ROS 1"
    with pytest.raises(VprError, match="holds messages of ROS 1, and ROS 2 cannot play them"):
        bag_topics(str(path), {"image": ""})


def test_ros1_and_ros2_channels_of_one_type_in_one_file(tmp_path):
    old = Channel("/old", "sensor_msgs/Image", "ros1", "ros1msg")
    messages = images() + [(1, 99 * SECOND, ros1_image(PIXELS[0], 99 * SECOND))]
    path = write(tmp_path, McapBytes([CAMERA, old], messages))
    assert np.array_equal(read_pixels(path), PIXELS) and np.array_equal(read_pixels(path, "/old")[0], PIXELS[0])


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize(
    "compression,compress",
    [("zstd", zstd.compress), ("lz4", lz4.frame.compress), ("", bytes)],
    ids=lambda x: str(x)[:4],
)
def test_compressed_chunks_and_messages_out_of_order(tmp_path, compression, compress, index):
    messages = images()
    for a, b in ((0, 2), (3, 4), (5, 9)):  # within and across chunks
        messages[a], messages[b] = messages[b], messages[a]
    for per_chunk in (4, None):
        mcap = McapBytes(
            [CAMERA], messages, compression=compression, compress=compress, index=index, per_chunk=per_chunk
        )
        with Bag(write(tmp_path, mcap)) as bag:
            times = [t for _, t, _ in bag.messages(["/camera"])]
        assert len(times) == 10 and all(a < b for a, b in pairwise(times))


def test_a_compression_that_is_not_known_is_not_damage(tmp_path):
    path = write(tmp_path, McapBytes([CAMERA], images(), compression="bz2", compress=bz2.compress))
    assert np.array_equal(read_pixels(path), PIXELS)
    odd = write(tmp_path, McapBytes([CAMERA], images(), compression="brotli"), "odd.mcap")
    with pytest.raises(VprError, match="compressed with 'brotli', which is not read") as caught:
        read_pixels(odd)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("per_chunk", [4, None])
def test_an_index_that_promises_more_than_there_is_is_called_so(tmp_path, per_chunk):
    odom = Channel("/odom", "nav_msgs/msg/Odometry")
    messages = images() + [(1, SECOND + 5, cdr(odometry_msg(planar_transform(0, 0, 0), SECOND)))]
    path = write(tmp_path, McapBytes([CAMERA, odom], messages, promised={0: 25}, per_chunk=per_chunk))
    told = []
    with reading_bags(tell=told.append), Bag(path) as bag:
        assert bag.topic("/camera").count == 10 and len(list(bag.messages(["/camera"]))) == 10
    assert len(told) == 1 and "its index counts 25 messages on /camera, of which 10 are there" in told[0]
    with reading_bags(strict=True), pytest.raises(VprError, match="25 messages on /camera, of which 10 are there"):
        Bag(path)


def test_a_chunk_that_holds_less_than_its_index_says(tmp_path):
    mcap = McapBytes([CAMERA], images(), chunk_crc=False)
    data = bytes(mcap)
    marker = images()[5][2][-40:]  # in the second chunk: the record of another kind is passed over
    at = data.index(images()[5][2])
    assert data.count(marker) == 1 and data[at - 22 - 9] == 5
    path = tmp_path / "bag.mcap"
    path.write_bytes(data[: at - 31] + b"\x0c" + data[at - 30 :])
    told = []
    with reading_bags(tell=told.append), Bag(path) as bag:
        assert len(list(bag.messages(["/camera"]))) == 9
        assert bag.losses == told == [f"{path}: its index counts 10 messages on /camera, of which 9 are there"]


@pytest.mark.parametrize("compression,compress", [("", bytes), ("zstd", zstd.compress)], ids=["plain", "zstd"])
@pytest.mark.parametrize("index", [True, False])
def test_one_damaged_chunk_costs_its_own_messages_only(tmp_path, compression, compress, index):
    mcap = McapBytes([CAMERA], images(), compression=compression, compress=compress, index=index)
    data = bytearray(bytes(mcap))
    data[mcap.chunk_ends[1] - 20] ^= 0x10
    path = tmp_path / "bag.mcap"
    path.write_bytes(data)
    told = []
    with reading_bags(tell=told.append), Bag(path) as bag:
        times = [t for _, t, _ in bag.messages(["/camera"])]
    assert times == [SECOND + i * TENTH for i in (0, 1, 2, 3, 8, 9)]
    assert len(told) == 1 and "is damaged" in told[0]
    assert doctor(path).stage("recording").verdict == "WARN"
    with reading_bags(strict=True), pytest.raises(VprError, match="damaged.*without --strict"):
        read_pixels(path)


def test_a_wrong_index_is_not_trusted(tmp_path):
    """An index of another file, or one with flipped bits: the file is read record by record."""
    mcap = McapBytes([CAMERA], images())
    data = bytes(mcap)
    summary = data.rindex(b"\x0b", 0, len(data) - 37)
    flipped = data[: summary + 12] + bytes([data[summary + 12] ^ 1]) + data[summary + 13 :]
    path = tmp_path / "bag.mcap"
    path.write_bytes(flipped)
    assert np.array_equal(read_pixels(path), PIXELS)
    shifted = bytes(McapBytes([CAMERA, JSON], images()))  # its chunks lie elsewhere
    body, index = data[: mcap.chunk_ends[-1]], shifted[-400:]
    path.write_bytes(body + index)
    with Bag(path) as bag:
        assert len(list(bag.messages(["/camera"]))) == 10
