"""Recordings that ended with the power: the whole prefix is read, what is missing is said, and strict refuses."""

import random
import struct

import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.typesys import Stores, get_typestore
from support.mcap_bytes import Channel, McapBytes

from vpr_ros.errors import VprError
from vpr_ros.sensors import Bag, BagWriter, Drive, doctor, image_msg, make, reading_bags
from vpr_ros.sensors.bags.messages import typestore
from vpr_ros.sensors.bags.storage.compression import zstd

TOPIC = "/log"
TEXTS = [f"message {i:04d} " + "x" * (i * 37 % 90) + "!" for i in range(30)]  # each is unique
CHANNEL = Channel(TOPIC, "std_msgs/msg/String")


def string_cdr(text) -> bytes:
    return bytes(typestore().serialize_cdr(make("std_msgs/msg/String", data=text), "std_msgs/msg/String"))


def mcap_bytes(per_chunk) -> bytes:
    return bytes(McapBytes([CHANNEL], [(0, i + 1, string_cdr(t)) for i, t in enumerate(TEXTS)], per_chunk=per_chunk))


def ros1_bytes(tmp_path, chunk_bytes=400, compression=None) -> bytes:
    path = tmp_path / "whole.bag"
    store = get_typestore(Stores.ROS1_NOETIC)
    writer = Writer1(path)
    writer.chunk_threshold = chunk_bytes
    if compression:
        writer.set_compression(Writer1.CompressionFormat[compression])
    with writer:
        log = writer.add_connection(TOPIC, "std_msgs/msg/String", typestore=store)
        for i, text in enumerate(TEXTS):
            message = store.types["std_msgs/msg/String"](text)
            writer.write(log, i + 1, store.serialize_ros1(message, "std_msgs/msg/String"))
    return path.read_bytes()


def never_finished(data: bytes) -> bytes:
    """A ROS 1 bag of one chunk as a crash leaves it: the sizes of the chunk and the place of the index are zero."""
    at = len(b"#ROSBAG V2.0\n")
    while True:
        (header,) = struct.unpack_from("<I", data, at)
        (size,) = struct.unpack_from("<I", data, at + 4 + header)
        if b"op=\x05" in data[at + 4 : at + 4 + header]:
            break
        at += 8 + header + size
    begin = at + 8 + header
    data = data[: begin - 4] + bytes(4) + data[begin : begin + size]
    place = data.index(b"index_pos=") + 10
    return data[:place] + bytes(8) + data[place + 8 :]


def read(path):
    told = []
    with reading_bags(tell=told.append), Bag(path) as bag:
        count = bag.topic(TOPIC).count
        texts = [m.data for _, _, m in bag.messages([TOPIC])]
    assert count == len(texts)
    return texts, told


@pytest.mark.parametrize("kind,per_chunk", [("mcap", 4), ("mcap", None), ("bag", None)])
def test_cut_anywhere_the_whole_prefix_is_read(tmp_path, kind, per_chunk):
    data = mcap_bytes(per_chunk) if kind == "mcap" else ros1_bytes(tmp_path)
    # Where each message ends: behind its text, and the zero that ends a string in CDR.
    ends = [data.index(text.encode()) + len(text) + (kind == "mcap") for text in TEXTS]
    index_at = int.from_bytes(data[data.find(b"index_pos=") + 10 :][:8], "little")
    cuts = {at + step for at in ends for step in (-1, 0, 1)}
    cuts |= set(random.Random(1).sample(range(len(data)), 60)) | {len(data) - 1, len(data) - 8, 0, 1, 9, 20}
    path = tmp_path / f"cut.{kind}"
    for cut in sorted(cuts):
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        if not whole:
            with pytest.raises(VprError) as caught:
                read(path)
            assert "\n" not in str(caught.value)
            continue
        texts, told = read(path)
        assert texts == TEXTS[:whole], cut
        if kind == "bag" and cut >= index_at and not told:
            continue  # of the index alone something is missing
        assert len(told) == 1 and "cut short or never closed" in told[0] and f"its first {whole} messages" in told[0]
        with reading_bags(strict=True), pytest.raises(VprError, match="cut short.*without --strict"):
            Bag(path)
    path.write_bytes(data)
    assert read(path) == (TEXTS, [])


@pytest.mark.parametrize("kind", ["mcap", "bag"])
def test_space_that_was_reserved_and_never_written(tmp_path, kind):
    data = mcap_bytes(4) if kind == "mcap" else ros1_bytes(tmp_path)
    path = tmp_path / f"cut.{kind}"
    path.write_bytes(data[: data.index(TEXTS[21].encode())] + bytes(20_000))
    texts, told = read(path)
    assert 20 <= len(texts) <= 22 and texts[:20] == TEXTS[:20] and len(told) == 1


def test_a_compressed_chunk_gives_what_of_it_decompresses(tmp_path):
    messages = [(0, i + 1, string_cdr(f"{i:04d}" + random.Random(i).randbytes(9000).hex())) for i in range(40)]
    mcap = McapBytes([CHANNEL], messages, compression="zstd", compress=zstd.compress, per_chunk=40)
    data = bytes(mcap)
    path = tmp_path / "cut.mcap"
    path.write_bytes(data[: mcap.chunk_ends[0] * 3 // 4])
    texts, told = read(path)
    assert 10 <= len(texts) < 40 and [int(t[:4]) for t in texts] == list(range(len(texts))) and len(told) == 1


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_an_active_ros1_bag_whose_chunk_was_never_finished(tmp_path, compression):
    data = never_finished(ros1_bytes(tmp_path, 1 << 20, compression))
    path = tmp_path / "drive.bag.active"
    path.write_bytes(data)
    texts, told = read(path)
    assert texts == TEXTS and len(told) == 1 and "never closed" in told[0] and "rosbag reindex" in told[0]
    if compression is None:  # of the others a block is whole or nothing
        path.write_bytes(data[:-60])
        texts, _ = read(path)
        assert 25 < len(texts) < 30 and texts == TEXTS[: len(texts)]


@pytest.mark.parametrize("compression", [None, "BZ2", "LZ4"])
def test_a_damaged_chunk_of_a_ros1_bag_costs_its_own_messages_only(tmp_path, compression):
    data = bytearray(ros1_bytes(tmp_path, 400, compression))
    chunk = [i for i in range(len(data)) if data[i : i + 4] == b"op=\x05"][2]
    at = data.index(b"size=", chunk - 40) + 40
    data[at : at + 60] = bytes(range(60))
    path = tmp_path / "hurt.bag"
    path.write_bytes(data)
    told = []
    with reading_bags(tell=told.append), Bag(path) as bag:
        texts = [m.data for _, _, m in bag.messages([TOPIC], lambda *_: None)]
    missing = [t for t in TEXTS if t not in texts]
    assert 15 <= len(texts) < 30 and missing and told
    assert TEXTS.index(missing[-1]) - TEXTS.index(missing[0]) < 10  # neighbours, of one chunk
    assert texts[-1] == TEXTS[-1]


def test_the_verdict_of_the_doctor_and_of_a_drive(tmp_path):
    import numpy as np

    path = tmp_path / "bag"
    with BagWriter(path) as writer:
        for i in range(12):
            noise = np.random.default_rng(i).integers(0, 256, (200, 300, 3), dtype=np.uint8)
            writer.write("/camera", image_msg(noise, 10**9 * (i + 1)), 10**9 * (i + 1))
    file = next(path.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    drive = Drive(path)
    frames = len(list(drive))
    assert 6 <= frames < 12 and len(drive.bag.losses) == 1
    stage = doctor(path).stage("recording")
    assert stage.verdict == "WARN" and f"its first {frames} messages ({frames - 1:.1f} s) are read" in stage.sentence
    with reading_bags(strict=True), pytest.raises(VprError, match="cut short"):
        Drive(path)


def test_what_nobody_reads_is_not_called_damaged(tmp_path):
    for name, data, told in (
        ("old.bag", b"#ROSBAG V1.2\n" + bytes(100), "version 1.2; bring it to 2.0 with 'rosbag fix'"),
        ("other.db3", None, "has no tables topics and messages"),
    ):
        path = tmp_path / name
        if data is None:
            import sqlite3

            with sqlite3.connect(path) as db:
                db.execute("CREATE TABLE keyframes (id)")
        else:
            path.write_bytes(data)
        with pytest.raises(VprError, match=told) as caught:
            Bag(path)
        assert "damaged" not in str(caught.value) and "kind that is not read" in str(caught.value)
    encrypted = ros1_bytes(tmp_path).replace(b"\x0d\x00\x00\x00op=\x03", b"", 0)
    at = len(b"#ROSBAG V2.0\n")
    (header,) = struct.unpack_from("<I", encrypted, at)
    extra = struct.pack("<I", 18) + b"encryptor=rosbag/A"
    path = tmp_path / "secret.bag"
    path.write_bytes(
        encrypted[:at]
        + struct.pack("<I", header + len(extra))
        + encrypted[at + 4 : at + 4 + header]
        + extra
        + encrypted[at + 4 + header :]
    )
    with pytest.raises(VprError, match="it is encrypted"):
        Bag(path)
