"""Depth images: their two encodings, and which of a bag belongs to which picture."""

import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import rigid_transform
from vpr_ros.sensors import Drive, DriveTopics, cloud_msg, compressed_image_msg, image_msg, tf_msg
from vpr_ros.sensors.depth_images import decode_depth

SECOND = 10**9
ALIGNED = "/camera/aligned_depth_to_color/image_raw"


def depth_msg(depth, stamp_ns, encoding="32FC1", big_endian=False):
    """sensor_msgs/Image of depth (H, W): metres, or millimetres where the encoding is 16UC1; rows are padded."""
    height, width = depth.shape
    kind = (">" if big_endian else "<") + ("u2" if encoding == "16UC1" else "f4")
    rows = np.zeros((height, width + 1), kind)
    rows[:, :width] = depth
    msg = image_msg(np.zeros((height, width), np.uint8), stamp_ns, encoding="mono8")
    msg.encoding, msg.step, msg.is_bigendian = encoding, rows.strides[0], int(big_endian)
    msg.data = np.frombuffer(rows.tobytes(), np.uint8)
    return msg


@pytest.mark.parametrize("big_endian", [False, True])
def test_both_encodings_give_metres_and_nan_where_nothing_was_measured(big_endian):
    metres = np.array([[1.5, 0.0, np.nan], [np.inf, 12.25, -1.0]], np.float32)
    wanted = [[1.5, np.nan, np.nan], [np.nan, 12.25, np.nan]]
    np.testing.assert_array_equal(decode_depth(depth_msg(metres, 1, "32FC1", big_endian)), wanted)
    millimetres = np.array([[1500, 0, 65535]])
    found = decode_depth(depth_msg(millimetres, 1, "16UC1", big_endian))
    np.testing.assert_allclose(found, [[1.5, np.nan, 65.535]], rtol=1e-6)
    assert found.dtype == np.float32


def test_another_encoding_and_a_cut_message_are_refused():
    with pytest.raises(FrameError, match="encoding 'mono8'; it is 16UC1 .millimetres. or 32FC1 .metres."):
        decode_depth(image_msg(np.zeros((4, 4), np.uint8), 1, encoding="mono8"))
    msg = depth_msg(np.ones((4, 4)), 1)
    msg.data = msg.data[:20]
    with pytest.raises(FrameError, match="depth image of 4x4 pixels carries 20 bytes"):
        decode_depth(msg)


@pytest.fixture
def bag_of(make_bag):
    """bag_of(extra, rotated): three pictures of 6x4 pixels, 0.1 s apart, with extra messages."""

    def make(*extra):
        picture = np.random.default_rng(3).integers(0, 255, (4, 6, 3)).astype(np.uint8)
        images = [
            ("/camera/image", compressed_image_msg(picture, t, format="png"), t)
            for t in (SECOND, SECOND + SECOND // 10, SECOND + SECOND // 5)
        ]
        return make_bag(sorted([*images, *extra], key=lambda m: m[2]))

    return make


def depths(*stamps_ns, topic=ALIGNED, size=(4, 6), late_ns=30_000_000):
    """Depth images whose pixels are their stamp's milliseconds, received later than the pictures."""
    return [(topic, depth_msg(np.full(size, t // 10**6 % 10000, float), t, "16UC1"), t + late_ns) for t in stamps_ns]


def test_each_picture_gets_the_depth_image_of_its_time_or_none(bag_of):
    near, far = SECOND + 5_000_000, SECOND + SECOND // 10 + 40_000_000
    with Drive(bag_of(*depths(near, far, SECOND + SECOND // 5)), load_depth=True) as drive:
        assert drive.topics.depth == ALIGNED
        found = [o.depth for o in drive]
    assert found[1] is None  # the nearest is 40 ms away
    np.testing.assert_allclose(found[0], np.full((4, 6), 1.005), rtol=1e-6)
    np.testing.assert_allclose(found[2], np.full((4, 6), 1.2), rtol=1e-6)


def test_depth_is_turned_as_the_picture_is(bag_of):
    image = np.arange(24, dtype=float).reshape(4, 6) + 1
    path = bag_of((ALIGNED, depth_msg(image, SECOND), SECOND))
    with Drive(path, load_depth=True, rotate="90") as drive:
        first = next(iter(drive))
    np.testing.assert_array_equal(first.depth, np.rot90(image, -1))
    assert first.image.shape[:2] == first.depth.shape


def test_depth_of_another_size_is_one_sentence_and_costs_no_picture(bag_of):
    with Drive(bag_of(*depths(SECOND, SECOND + SECOND // 10, size=(8, 12))), load_depth=True) as drive:
        assert [o.depth for o in drive] == [None] * 3
        assert drive.skipped == {"depth unusable": 2}
        assert "has 12x8 pixels and the picture 6x4: take the topic" in drive.first_errors["depth unusable"]


def test_depth_counts_where_it_is_wanted_and_its_name_says_that_it_is_aligned_or_it_is_named(bag_of):
    path = bag_of(*depths(SECOND, topic="/camera/depth/image_rect_raw"))
    with Drive(path, load_depth=True) as drive:
        assert drive.topics.depth is None
    named = DriveTopics(depth="/camera/depth/image_rect_raw")
    with Drive(path, named, load_depth=True) as drive:
        assert next(iter(drive)).depth is not None
    with Drive(path, named) as drive:
        assert next(iter(drive)).depth is None
    with pytest.raises(VprError, match="no topic /nowhere"):
        Drive(path, DriveTopics(depth="/nowhere"), load_depth=True)


def test_clouds_for_depth_are_welcome_and_of_two_none_is_taken(make_bag, bag_of):
    cloud = np.array([[4.0, 0, 0]], np.float32)
    fixed = ("/tf_static", tf_msg([("base_link", "lidar_link", rigid_transform(np.eye(3), [0, 0, 1.0]))], 1), 1)
    one = ("/points", cloud_msg(cloud, SECOND), SECOND)
    with Drive(bag_of(fixed, one, *depths(SECOND)), load_depth=True) as drive:
        first, *others = drive
    np.testing.assert_allclose(first.cloud, [[4, 0, 1]])
    assert first.depth is not None and all(o.depth is None for o in others)


def test_two_lidars_leave_depth_to_the_others(bag_of):
    clouds = [(f"/{name}", cloud_msg(np.ones((1, 3), np.float32), SECOND), SECOND) for name in ("left", "right")]
    with Drive(bag_of(*clouds), load_depth=True) as drive:
        assert drive.topics.points is None and next(iter(drive)).cloud is None
