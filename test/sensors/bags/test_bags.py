"""Bags of every kind, whole, foreign and broken."""

import resource
import shutil
import sqlite3

import numpy as np
import pytest
import yaml
from ros1_bags import write_ros1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import (
    Bag,
    BagWriter,
    Drive,
    decode_image,
    doctor,
    folder_to_bag,
    image_msg,
    make,
    navsat_msg,
    pose_msg,
    reading_bags,
    stamp_ns,
)
from vpr_ros.sensors.bags.drive_frames import read_drive_frames
from vpr_ros.sensors.bags.messages import typestore

SECOND = 10**9
RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (4, 60, 80, 3), dtype=np.uint8)


def write_unknown(path, storage=StoragePlugin.MCAP, definition="uint32 level\nstring tank\n", images=True):
    """A bag whose /fuel has a type that only its own maker knows."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg("uint32 level\nstring tank\n", "acme_msgs/msg/Fuel"))
    with Writer(path, version=8, storage_plugin=storage) as writer:
        fuel = writer.add_connection("/fuel", "acme_msgs/msg/Fuel", msgdef=definition, rihs01="RIHS01_" + "0" * 64)
        message = store.types["acme_msgs/msg/Fuel"](level=7, tank="left")
        for i in range(3):
            writer.write(fuel, SECOND + i, store.serialize_cdr(message, "acme_msgs/msg/Fuel"))
        if images:
            camera = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=store)
            for i, pixels in enumerate(PIXELS):
                msg = image_msg(pixels, SECOND + i)
                writer.write(camera, SECOND + i, store.serialize_cdr(msg, msg.__msgtype__))
    return path


def write_images(path, plugin=StoragePlugin.MCAP, compression=None):
    writer = Writer(path, version=8, storage_plugin=plugin)
    if compression:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        camera = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=typestore())
        for i, pixels in enumerate(PIXELS):
            msg = image_msg(pixels, SECOND + i)
            writer.write(camera, SECOND + i, typestore().serialize_cdr(msg, msg.__msgtype__))
    return path


def read_pixels(path, topic="/camera"):
    with Bag(path) as bag:
        return [decode_image(msg) for _, _, msg in bag.messages([topic])]


@pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("compression", [None, CompressionMode.MESSAGE, CompressionMode.FILE])
def test_ros2_storages_and_compressions(tmp_path, plugin, compression):
    path = write_images(tmp_path / "bag", plugin, compression)
    assert np.array_equal(read_pixels(path), PIXELS)


def test_mcap_with_compressed_chunks(tmp_path):
    path = write_images(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.STORAGE)
    assert np.array_equal(read_pixels(path), PIXELS)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_storage_file_alone_and_folder_without_metadata(make_bag, storage):
    path = make_bag([("/camera", image_msg(p, SECOND + i), SECOND + i) for i, p in enumerate(PIXELS)], storage)
    file = next(f for f in path.iterdir() if f.suffix in (".mcap", ".db3"))
    assert np.array_equal(read_pixels(file), PIXELS)
    (path / "metadata.yaml").unlink()
    assert np.array_equal(read_pixels(path), PIXELS)


def test_split_recording_without_metadata_is_joined_by_time(make_bag, tmp_path):
    first = make_bag([("/camera", image_msg(p, SECOND + i), SECOND + i) for i, p in enumerate(PIXELS[:2])], name="a")
    second = make_bag(
        [("/camera", image_msg(p, SECOND + 2 + i), SECOND + 2 + i) for i, p in enumerate(PIXELS[2:])], name="b"
    )
    both = tmp_path / "both"
    both.mkdir()
    # Named against the order of time: the stamps decide.
    shutil.copy(next(second.glob("*.mcap")), both / "x_0.mcap")
    shutil.copy(next(first.glob("*.mcap")), both / "x_1.mcap")
    with Bag(both) as bag:
        assert [t.count for t in bag.topics] == [4]
    assert np.array_equal(read_pixels(both), PIXELS)


def test_metadata_of_version_five(make_bag):
    """Humble's own recorder: version 5, text QoS, no type hashes in metadata or database."""
    path = make_bag([("/camera", image_msg(p, SECOND + i), SECOND + i) for i, p in enumerate(PIXELS)], "sqlite3")
    meta = yaml.safe_load((path / "metadata.yaml").read_text())
    info = meta["rosbag2_bagfile_information"]
    info["version"] = 5
    for key in ("custom_data", "ros_distro"):
        info.pop(key)
    for topic in info["topics_with_message_count"]:
        topic["topic_metadata"].pop("type_description_hash")
    (path / "metadata.yaml").write_text(yaml.safe_dump(meta))
    with sqlite3.connect(next(path.glob("*.db3"))) as db:
        db.executescript(
            "DROP TABLE message_definitions; DROP TABLE schema; DROP TABLE metadata;"
            "ALTER TABLE topics DROP COLUMN type_description_hash;"
        )
    assert np.array_equal(read_pixels(path), PIXELS)


def test_ros1_bag_from_images_to_observations(tmp_path):
    path = write_ros1(tmp_path / "old.bag", PIXELS)
    with Bag(path) as bag:
        assert not bag.ros2
        assert {t.name: t.msgtype for t in bag.topics} == {
            "/cam": "sensor_msgs/msg/Image",
            "/odom": "nav_msgs/msg/Odometry",
            "/tf_static": "tf2_msgs/msg/TFMessage",
        }
    with Drive(path) as drive:
        observations = list(drive)
    assert [o.stamp_ns for o in observations] == [SECOND + i * SECOND // 10 + SECOND // 20 for i in range(4)]
    for i, (o, pixels) in enumerate(zip(observations, PIXELS, strict=True)):
        assert np.array_equal(o.image, pixels[..., ::-1])
        assert np.allclose(o.T_odom_base, planar_transform(i + 0.5, 0, 0))
        assert o.T_map_base is None
    assert drive.poses.tree.frames == ["base_link", "lidar"]
    assert doctor(path).kind == "ROS 1"


def test_unknown_types_are_listed_and_decoded_from_the_bags_own_definition(tmp_path):
    path = write_unknown(tmp_path / "bag")
    with Bag(path) as bag:
        assert [(t.name, t.msgtype, t.count) for t in bag.topics] == [
            ("/camera", "sensor_msgs/msg/Image", 4),
            ("/fuel", "acme_msgs/msg/Fuel", 3),
        ]
        assert [msg.tank for _, _, msg in bag.messages(["/fuel"])] == ["left"] * 3
    assert len(list(Drive(path))) == 4


@pytest.mark.parametrize("definition", ["", "%%% @@@ $$$", "this is !! no definition", "missing_msgs/Other thing\n"])
def test_types_without_a_usable_definition_do_not_hide_the_images(tmp_path, definition):
    path = write_unknown(tmp_path / "bag", definition=definition)
    assert len(list(Drive(path))) == 4
    told = "on /fuel .*acme_msgs/msg/Fuel|acme_msgs/msg/Fuel on /fuel is unknown"
    with Bag(path) as bag, pytest.raises(FrameError, match=told):
        list(bag.messages(["/fuel"]))
    report = doctor(path)
    assert report.stage("image").verdict == "OK"
    assert next(t for t in report.topics if t.name == "/fuel").count == 3


def test_unknown_type_in_a_bag_without_any_definitions(tmp_path):
    path = write_unknown(tmp_path / "bag", StoragePlugin.SQLITE3)
    with sqlite3.connect(next(path.glob("*.db3"))) as db:
        db.execute("DELETE FROM message_definitions")
    assert len(list(Drive(path))) == 4
    with Bag(path) as bag, pytest.raises(FrameError, match="Fuel on /fuel is unknown and the bag does not"):
        list(bag.messages(["/fuel"]))


def test_bag_of_unknown_types_only(tmp_path):
    with pytest.raises(VprError, match=r"no camera images.*/fuel \(acme_msgs/msg/Fuel, 3 messages\)"):
        Drive(write_unknown(tmp_path / "bag", images=False))


def test_garbage_in_one_message_is_that_messages_error(tmp_path):
    path = tmp_path / "bag"
    with Writer(path, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        camera = writer.add_connection("/camera", "sensor_msgs/msg/Image", typestore=typestore())
        for i, pixels in enumerate(PIXELS):
            raw = bytes(typestore().serialize_cdr(image_msg(pixels, SECOND + i), "sensor_msgs/msg/Image"))
            writer.write(camera, SECOND + i, b"\0\1\0\0garbage" if i == 1 else raw)
    drive = Drive(path)
    assert [o.stamp_ns for o in drive] == [SECOND, SECOND + 2, SECOND + 3]
    assert drive.skipped == {"message unreadable": 1}
    assert "/camera does not fit its type sensor_msgs/msg/Image" in drive.first_errors["message unreadable"]
    with Bag(path) as bag, pytest.raises(FrameError):
        list(bag.messages(["/camera"]))


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.97, 0.999])
@pytest.mark.parametrize("kind", ["mcap", "db3", "bag"])
def test_bags_cut_short_are_refused_in_one_sentence_where_that_is_wanted(tmp_path, make_bag, kind, keep):
    if kind == "bag":
        target = path = write_ros1(tmp_path / "cut.bag", PIXELS)
    else:
        path = make_bag(
            [("/camera", image_msg(PIXELS[0], SECOND + i), SECOND + i) for i in range(20)],
            {"mcap": "mcap", "db3": "sqlite3"}[kind],
        )
        target = next(path.glob(f"*.{kind}"))
    data = target.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)])
    with reading_bags(strict=True), pytest.raises(VprError, match="cut short|damaged") as caught:
        list(Drive(path))
    sentence = str(caught.value)
    assert "\n" not in sentence and ("reindex" in sentence or "recover" in sentence) and len(sentence) < 600


def test_broken_folders_and_foreign_files(tmp_path, make_bag):
    def sentence(path):
        with pytest.raises(VprError) as caught:
            Bag(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "does not exist" in sentence(tmp_path / "nowhere")
    assert "neither metadata.yaml nor" in sentence(empty)
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    assert "is not a bag" in sentence(text)
    for name in ("zero.mcap", "zero.db3", "zero.bag"):
        (tmp_path / name).write_bytes(b"")
        assert "empty" in sentence(tmp_path / name)
    (tmp_path / "fake.mcap").write_bytes(b"I am not an mcap file at all" * 9)
    assert "cannot be read" in sentence(tmp_path / "fake.mcap")
    bag = make_bag([("/camera", image_msg(PIXELS[0], SECOND), SECOND)])
    for damaged in (b"rosbag2_bagfile_information: [1, 2", b"hello: world\n", b"\xff\xfe\x00", b""):
        (bag / "metadata.yaml").write_bytes(damaged)
        assert len(read_pixels(bag)) == 1
        with reading_bags(strict=True):
            assert "metadata.yaml of bag" in sentence(bag) and "is damaged" in sentence(bag)
    next(bag.glob("*.mcap")).unlink()
    assert "cannot be read: its metadata.yaml is damaged" in sentence(bag)


def test_missing_storage_file_is_named(make_bag):
    path = make_bag([("/camera", image_msg(PIXELS[0], SECOND), SECOND)])
    next(path.glob("*.mcap")).unlink()
    with pytest.raises(VprError, match="files are missing"):
        Bag(path)


def test_unknown_topic_lists_what_there_is(make_bag):
    with Bag(make_bag([("/camera", image_msg(PIXELS[0], SECOND), SECOND)])) as bag:
        with pytest.raises(VprError, match=r"no topic /cam; it has /camera \(sensor_msgs/msg/Image, 1 message\)"):
            list(bag.messages(["/cam"]))


def test_many_types_in_one_bag_and_times(make_bag):
    path = make_bag(
        [
            ("/a", make("std_msgs/msg/String", data="hello"), 3 * SECOND),
            ("/fix", navsat_msg(1, 2, 3, 5), 4 * SECOND),
            ("/pose", pose_msg(np.eye(4), 6, covariance=np.eye(6)), 5 * SECOND),
        ]
    )
    with Bag(path) as bag:
        assert bag.message_count == 3 and bag.duration_s == 2.0 and bag.start_ns == 3 * SECOND
        rows = [(topic, t, type(m).__name__) for topic, t, m in bag.messages(["/pose", "/a", "/fix"])]
        assert [r[:2] for r in rows] == [("/a", 3 * SECOND), ("/fix", 4 * SECOND), ("/pose", 5 * SECOND)]
        assert list(bag.receive_times(["/fix"])) == [("/fix", 4 * SECOND)]


def test_writer_refuses_what_exists_and_unknown_storage(tmp_path):
    (tmp_path / "bag").mkdir()
    with pytest.raises(VprError, match="exists already"):
        BagWriter(tmp_path / "bag")
    with pytest.raises(VprError, match="mcap or sqlite3"):
        BagWriter(tmp_path / "other", "rosbag9")
    with pytest.raises(VprError, match="cannot be written"):
        BagWriter("/proc/no_bag_here")


def test_writer_leaves_nothing_behind_when_its_body_fails(tmp_path):
    with pytest.raises(RuntimeError, match="renderer broke"), BagWriter(tmp_path / "bag") as writer:
        writer.write("/camera", image_msg(PIXELS[0], SECOND), SECOND)
        raise RuntimeError("renderer broke")
    assert not (tmp_path / "bag").exists()


def test_tf_static_is_written_as_latched(make_bag):
    from vpr_ros.sensors import tf_msg

    path = make_bag([("/tf_static", tf_msg([("a", "b", np.eye(4))], 1), SECOND), ("/tf", tf_msg([], 1), SECOND)])
    info = yaml.safe_load((path / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    topics = [t["topic_metadata"] for t in info["topics_with_message_count"]]
    durability = {t["name"]: yaml.safe_load(t["offered_qos_profiles"])[0]["durability"] for t in topics}
    assert durability == {"/tf_static": 1, "/tf": 2}


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("count", [200, 1])  # the disk fills while writing, or only when the bag is closed
def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, storage, count):
    """A file size limit of the process makes every write fail as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with (
            pytest.raises(VprError, match="could not be written .*check the space"),
            BagWriter(tmp_path / "bag", storage) as writer,
        ):
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000 if count > 1 else 100, hard))
            for i in range(count):
                writer.write("/camera", image_msg(PIXELS[i % 4], SECOND + i), SECOND + i)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_photo_folder_becomes_a_bag_bit_by_bit(tmp_path, storage):
    import cv2

    folder = tmp_path / "photos"
    folder.mkdir()
    for i in (1, 2, 9, 10):
        name = f"img_{i}.{'PNG' if i == 2 else 'jpg'}"
        (folder / name).write_bytes(cv2.imencode(f".{name[-3:]}", np.full((9, 9, 3), i * 20, np.uint8))[1].tobytes())
    (folder / "notes.txt").write_text("not a picture")
    seen = []
    count = folder_to_bag(folder, tmp_path / "bag", rate_hz=4, storage=storage, progress=lambda *p: seen.append(p))
    assert count == 4 and seen[-1] == (4, 4)
    with Bag(tmp_path / "bag") as bag:
        messages = [m for _, _, m in bag.messages(["/camera/image/compressed"])]
    names = ["img_1.jpg", "img_2.PNG", "img_9.jpg", "img_10.jpg"]
    assert [m.data.tobytes() for m in messages] == [(folder / n).read_bytes() for n in names]
    assert [m.format for m in messages] == ["jpeg", "png", "jpeg", "jpeg"]
    assert np.diff([stamp_ns(m) for m in messages]).tolist() == [SECOND // 4] * 3
    frames = read_drive_frames(tmp_path / "bag")
    assert frames.names == tuple(names)
    assert frames.stamps_ns.tolist() == [stamp_ns(m) for m in messages]
    asked = [frames.stamps_ns[2] + 400, frames.stamps_ns[0] - 400, frames.stamps_ns[3], 5]
    assert frames.numbers_of(np.array(asked)).tolist() == [2, 0, 3, -1]


def test_photo_folders_that_cannot_become_a_bag(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(VprError, match="holds no pictures"):
        folder_to_bag(tmp_path / "empty", tmp_path / "bag")
    with pytest.raises(VprError, match="is not a folder"):
        folder_to_bag(tmp_path / "nowhere", tmp_path / "bag")
    with pytest.raises(VprError, match="above 0 Hz"):
        folder_to_bag(tmp_path / "empty", tmp_path / "bag", rate_hz=0)
