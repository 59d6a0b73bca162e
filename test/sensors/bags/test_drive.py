"""A bag as observations: poses at image time, clouds in the base frame, and every bad input counted, never fatal."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert, make_transform, planar_transform, yaw_of
from vpr_ros.sensors import (
    BagWriter,
    Drive,
    DriveConfig,
    DriveTopics,
    cloud_msg,
    compressed_image_msg,
    image_msg,
    navsat_msg,
    odometry_msg,
    pose_msg,
    tf_msg,
)

SECOND = 10**9
TENTH = SECOND // 10
IMAGE = np.full((12, 16, 3), 80, np.uint8)


def odometry(stamps, speed_mps=10.0, **kwargs):
    poses = [planar_transform((t - SECOND) * 1e-9 * speed_mps, 0, 0) for t in stamps]
    return [("/odom", odometry_msg(T, t, **kwargs), t) for T, t in zip(poses, stamps, strict=True)]


def by_time(messages):
    return sorted(messages, key=lambda m: m[2])


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_odometry_is_interpolated_at_the_image_stamp(straight_drive, storage):
    with Drive(straight_drive(storage)) as drive:
        observations = list(drive)
    assert len(drive) == len(observations) == drive.delivered == 30
    for i, o in enumerate(observations):
        assert o.stamp_ns == SECOND + i * TENTH
        # Odometry sample k is at 1 s + (k - 1) * 50 ms + 7 ms and x = k / 2.
        assert np.allclose(o.T_odom_base, planar_transform(((i * 0.1 - 0.007) / 0.05 + 1) / 2, 0, 0))
        assert o.T_map_base is None and o.cloud is None
    assert not drive.skipped and not drive.notes


def test_second_pass_gives_the_same(straight_drive):
    drive = Drive(straight_drive())
    first, second = [o.stamp_ns for o in drive], [o.stamp_ns for o in drive]
    assert first == second and drive.delivered == 30


def test_no_pose_outside_of_the_samples_or_inside_a_gap(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(50)]
    covered = [s for s in stamps if SECOND + 5 * TENTH <= s <= SECOND + 40 * TENTH]
    samples = [s for s in covered if not SECOND + 15 * TENTH < s < SECOND + 30 * TENTH]
    drive = Drive(make_bag(by_time([*image_messages(stamps), *odometry(samples)])))
    for o in drive:
        assert (o.T_odom_base is not None) == (o.stamp_ns in samples)
    wide = Drive(drive.bag.path, max_gap_s=2.0)
    assert all((o.T_odom_base is not None) == (o.stamp_ns in covered) for o in wide)


def test_ground_truth_is_never_read_unless_named(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(5)]
    truth = [("/ground_truth/pose", pose_msg(planar_transform(1, 2, 0.5), t), t) for t in stamps]
    with_truth = make_bag(by_time([*image_messages(stamps), *odometry(stamps), *truth]), name="with")
    without = make_bag(by_time([*image_messages(stamps), *odometry(stamps)]), name="without")
    for a, b in zip(Drive(with_truth), Drive(without), strict=True):
        assert np.array_equal(a.image, b.image) and np.array_equal(a.T_odom_base, b.T_odom_base)
        assert a.T_map_base is None and b.T_map_base is None
    named = next(iter(Drive(with_truth, DriveTopics(pose="/ground_truth/pose"))))
    assert np.allclose(named.T_map_base, planar_transform(1, 2, 0.5))


def test_pose_with_covariance_reaches_the_observation(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(3)]
    covariance = np.diag([1, 2, 3, 0.1, 0.2, 0.3]).astype(float)
    poses = [
        ("/localisation", pose_msg(planar_transform(i, 0, 0), t, covariance=covariance), t)
        for i, t in enumerate(stamps)
    ]
    observations = list(Drive(make_bag(by_time([*image_messages(stamps), *poses]))))
    assert np.allclose([o.T_map_base[0, 3] for o in observations], [0, 1, 2])
    assert np.array_equal(observations[1].covariance, covariance)


def test_gnss_gives_east_north_up_and_course_over_ground(make_bag, image_messages):
    stamps = [SECOND + i * SECOND for i in range(6)]
    # Standing at first, then north-east; one degree is 110.57 km north and 111.32 km east at the equator.
    steps = [0, 0, 1, 2, 3, 4]
    fixes = [
        ("/fix", navsat_msg(k * 3 / 110574.3, 10 + k * 4 / 111319.5, 20.0, t, covariance=np.eye(3) * 4), t)
        for k, t in zip(steps, stamps, strict=True)
    ]
    lost = ("/fix", navsat_msg(0, 0, 0, stamps[0] + 1, fixed=False), stamps[0] + 1)
    nan = ("/fix", navsat_msg(np.nan, 0, 0, stamps[0] + 2), stamps[0] + 2)
    path = make_bag(by_time([*image_messages(stamps), *fixes, lost, nan]))
    drive = Drive(path, max_gap_s=1.5)
    observations = list(drive)
    assert drive.datum == (0.0, 10.0, 20.0)
    assert drive.skipped == {"pose unusable": 2}
    for k, o in zip(steps, observations, strict=True):
        assert np.allclose(o.T_map_base[:3, 3], [4 * k, 3 * k, 0], atol=1e-2)
        assert np.isclose(yaw_of(o.T_map_base), np.arctan2(3, 4), atol=1e-3)
    assert np.allclose(observations[2].covariance[:3, :3], np.eye(3) * 4)
    moved = list(Drive(path, config=DriveConfig(max_gap_s=1.5, datum=(0.0, 10.0, 0.0))))
    assert np.isclose(moved[0].T_map_base[2, 3], 20, atol=1e-6)


def test_tf_stands_in_for_odometry_and_pose(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(4)]
    T_map_odom = planar_transform(100, 50, np.pi / 2)
    tf = []
    for i, t in enumerate(stamps):
        tf.append(("/tf", tf_msg([("odom", "base_link", planar_transform(i, 0, 0))], t), t))
        tf.append(("/tf", tf_msg([("map", "odom", T_map_odom)], t), t))
    for i, o in enumerate(Drive(make_bag(by_time([*image_messages(stamps), *tf])))):
        assert np.allclose(o.T_odom_base, planar_transform(i, 0, 0))
        assert np.allclose(o.T_map_base, T_map_odom @ planar_transform(i, 0, 0))


def test_odometry_about_another_frame_is_brought_to_the_base(make_bag, image_messages):
    stamps = [SECOND, SECOND + TENTH]
    T_imu_base = planar_transform(-1, 0.5, np.pi / 2)
    link = ("/tf_static", tf_msg([("imu_link", "base_link", T_imu_base)], 1), 1)
    messages = [*image_messages(stamps), *odometry(stamps, child_frame_id="imu_link")]
    o = list(Drive(make_bag(by_time([*messages, link]), name="linked")))[1]
    assert np.allclose(o.T_odom_base, planar_transform(1, 0, 0) @ T_imu_base)
    unlinked = Drive(make_bag(by_time(messages), name="unlinked"))
    assert np.allclose(list(unlinked)[1].T_odom_base, planar_transform(1, 0, 0))
    assert any("imu_link is taken as the base" in note for note in unlinked.notes)


def test_cloud_is_in_the_base_frame_at_the_image_time(make_bag, image_messages):
    T_base_lidar = make_transform([1, 0, 2], [0, 0, np.sin(0.2), np.cos(0.2)])
    point_odom = np.array([50.0, 3.0, 1.0, 1.0])
    clouds, stamps = [], [SECOND + i * TENTH for i in range(10)]
    for t in range(SECOND + TENTH // 2, SECOND + 9 * TENTH, TENTH):
        T_odom_lidar = planar_transform((t - SECOND) * 1e-8, 0, 0) @ T_base_lidar
        clouds.append(("/points", cloud_msg((invert(T_odom_lidar) @ point_odom)[None, :3], t), t + 2 * TENTH))
    static = ("/tf_static", tf_msg([("base_link", "lidar_link", T_base_lidar)], 1), 1)
    messages = by_time([*image_messages(stamps), *odometry(stamps), *clouds, static])
    observations = list(Drive(make_bag(messages), load_clouds=True))
    assert [o.stamp_ns for o in observations] == stamps
    assert all(o.cloud is not None and o.cloud.dtype == np.float32 for o in observations)
    for o in observations:  # a world point seen from where the base was when the image was taken
        assert np.allclose(o.cloud[0], (invert(o.T_odom_base) @ point_odom)[:3], atol=1e-4)


def test_clouds_that_cannot_be_used(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(6)]
    foreign = [("/points", cloud_msg(np.ones((2, 3)), t, frame_id="radar"), t) for t in stamps[:3]]
    broken = cloud_msg(np.ones((2, 3)), stamps[3], frame_id="base_link")
    broken.fields = broken.fields[:2]
    empty = cloud_msg(np.empty((0, 3)), stamps[4], frame_id="base_link")
    path = make_bag(
        by_time([*image_messages(stamps), *foreign, ("/points", broken, stamps[3]), ("/points", empty, stamps[4])])
    )
    drive = Drive(path, load_clouds=True, max_cloud_gap_s=0.01)
    clouds = [o.cloud for o in drive]
    assert [None if c is None else len(c) for c in clouds] == [None, None, None, None, 0, None]
    assert drive.skipped == {"cloud frame unknown": 3, "cloud unusable": 1}
    assert "no frame radar" in drive.first_errors["cloud frame unknown"]
    assert "no field z" in drive.first_errors["cloud unusable"]


def test_cloud_topic_that_fell_silent_holds_nothing_up(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(40)]
    cloud = ("/points", cloud_msg(np.ones((2, 3)), SECOND, frame_id="base_link"), SECOND)
    observations = list(Drive(make_bag(by_time([*image_messages(stamps), cloud])), load_clouds=True))
    assert [o.stamp_ns for o in observations] == stamps
    assert observations[0].cloud is not None and observations[5].cloud is None


def test_images_wait_for_a_silent_cloud_topic_only_as_long_as_configured(make_bag, image_messages):
    messages = image_messages([SECOND + i * TENTH for i in range(40)])
    messages[25] = (messages[25][0], compressed_image_msg(b"", SECOND + 25 * TENTH), messages[25][2])
    cloud = ("/points", cloud_msg(np.ones((2, 3)), SECOND, frame_id="base_link"), SECOND)
    drive = Drive(make_bag(by_time([*messages, cloud])), load_clouds=True, cloud_wait_s=0.5)
    stream = iter(drive)
    for _ in range(10):
        next(stream)
    assert not drive.skipped  # the broken image 25 has not been read yet
    assert len(list(stream)) == 29 and drive.skipped == {"image unreadable": 1}


def test_one_bad_image_of_each_kind_is_skipped_and_counted(make_bag):
    good = compressed_image_msg(IMAGE, 0)
    bad = [b"", good.data.tobytes()[:200], b"no picture at all"]
    messages = []
    for i in range(6):
        payload = bad[i // 2] if i % 2 else good.data.tobytes()
        t = SECOND + i * TENTH
        messages.append(("/camera", compressed_image_msg(payload, t), t))
    drive = Drive(make_bag(messages))
    assert [o.stamp_ns for o in drive] == [SECOND, SECOND + 2 * TENTH, SECOND + 4 * TENTH]
    assert drive.skipped == {"image unreadable": 3}
    assert "zero bytes" in drive.first_errors["image unreadable"]


def test_unknown_encoding_and_odd_step_in_a_bag(make_bag):
    messages = [("/camera", image_msg(IMAGE, SECOND + i), SECOND + i) for i in range(5)]
    messages[1][1].encoding = "17XYZ"
    messages[2][1].step = 7
    messages[3][1].step += 1
    messages[3][1].data = np.concatenate([np.pad(row.reshape(-1), (0, 1)) for row in IMAGE])
    drive = Drive(make_bag(messages))
    observations = list(drive)
    assert [o.stamp_ns - SECOND for o in observations] == [0, 3, 4]
    assert np.array_equal(observations[1].image, IMAGE)  # an odd step is legal when the bytes are there
    assert drive.skipped == {"image unreadable": 2}


def test_bag_whose_images_are_all_unusable_says_why(make_bag):
    messages = [("/camera", compressed_image_msg(b"", SECOND + i), SECOND + i) for i in range(3)]
    with pytest.raises(VprError, match="none of the 3 images on /camera is usable, 3 times .*zero bytes"):
        list(Drive(make_bag(messages)))


def test_repeated_and_disordered_stamps_are_skipped(make_bag, image_messages):
    stamps = [SECOND, SECOND + TENTH, SECOND + TENTH, SECOND + 5 * TENTH, SECOND + 3 * TENTH, 0, SECOND + 6 * TENTH]
    drive = Drive(make_bag(image_messages(stamps)))
    assert [o.stamp_ns for o in drive] == [SECOND, SECOND + TENTH, SECOND + 5 * TENTH, SECOND + 6 * TENTH]
    assert drive.skipped == {"image stamp repeated": 1, "image stamp went backwards": 1, "image stamp zero": 1}


def test_looped_bag_goes_on_with_the_poses_of_its_own_lap(make_bag, image_messages):
    lap = [SECOND + i * TENTH for i in range(15)]
    images = image_messages(lap * 2)
    poses = [
        ("/odom", odometry_msg(planar_transform(1000 * (k // 15) + k % 15, 0, 0), lap[k % 15]), SECOND + k * TENTH)
        for k in range(30)
    ]
    drive = Drive(make_bag(by_time([*poses, *images])))
    observations = list(drive)
    assert [o.stamp_ns for o in observations] == lap * 2
    assert [round(o.T_odom_base[0, 3]) for o in observations] == [*range(15), *range(1000, 1015)]
    assert drive.notes == {"clock jumped back": 1} and not drive.skipped


def test_zero_header_stamps_fall_back_to_receive_times(make_bag):
    messages = by_time(
        [("/camera", compressed_image_msg(IMAGE, 0), SECOND + i * TENTH) for i in range(4)]
        + [("/odom", odometry_msg(planar_transform(i, 0, 0), 0), SECOND + i * TENTH) for i in range(4)]
    )
    drive = Drive(make_bag(messages))
    observations = list(drive)
    assert [o.stamp_ns for o in observations] == [SECOND + i * TENTH for i in range(4)]
    assert [o.T_odom_base[0, 3] for o in observations] == [0, 1, 2, 3]
    assert list(drive.notes) == ["header stamps are all zero: receive times are used"]


def test_nan_poses_and_zero_quaternions_are_counted(make_bag, image_messages):
    stamps = [SECOND + i * TENTH for i in range(7)]
    messages = odometry(stamps)
    messages[2][1].pose.pose.position.y = float("nan")
    messages[4][1].pose.pose.orientation.w = 0.0
    drive = Drive(make_bag(by_time([*image_messages(stamps), *messages])))
    observations = list(drive)
    assert np.allclose([o.T_odom_base[0, 3] for o in observations], range(7))  # bridged by their neighbours
    assert drive.skipped == {"pose unusable": 2}


def test_image_size_may_change(make_bag):
    sizes = [(12, 16), (12, 16), (24, 32), (12, 16)]
    messages = [
        ("/camera", image_msg(np.zeros((*size, 3), np.uint8), SECOND + i), SECOND + i) for i, size in enumerate(sizes)
    ]
    drive = Drive(make_bag(messages))
    assert [o.image.shape[:2] for o in drive] == sizes
    assert drive.notes == {"image size changed": 2}


def test_ambiguous_topics_close_the_bag_and_list_them(make_bag):
    path = make_bag([("/left", image_msg(IMAGE, 1), 1), ("/right", image_msg(IMAGE, 1), 2)])
    with pytest.raises(VprError, match="--image-topic NAME"):
        Drive(path)
    assert len(list(Drive(path, DriveTopics(image="/left")))) == 1


def test_memory_stays_flat_over_a_long_bag(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    path = tmp_path / "long"
    with BagWriter(path, "sqlite3") as writer:
        for i in range(300):
            t = SECOND + i * TENTH
            writer.write("/camera", image_msg(pixels, t), t)
            writer.write("/points", cloud_msg(np.ones((500, 3)), t, frame_id="base_link"), t)
    drive = Drive(path, load_clouds=True)
    stream = iter(drive)
    next(stream)
    tracemalloc.start()
    count = sum(o.cloud is not None for o in stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 299
    assert peak < 8e6  # the images alone are 17 MB


def test_objects_like_rclpy_messages_decode_the_same():
    """rclpy hands out array.array and its own classes; nothing here asks for a type."""
    from array import array

    from vpr_ros.sensors import Trajectory, decode_cloud, decode_image
    from vpr_ros.sensors.poses.trajectory import pose_of

    def like(msg):
        if isinstance(msg, np.ndarray):
            return array({"u1": "B", "f8": "d"}[msg.dtype.str[1:]], msg.tobytes())
        if isinstance(msg, list):
            return [like(m) for m in msg]
        if hasattr(msg, "__dataclass_fields__"):
            return SimpleNamespace(**{k: like(getattr(msg, k)) for k in msg.__dataclass_fields__ if k != "__msgtype__"})
        return msg

    points = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    assert np.array_equal(decode_image(like(image_msg(IMAGE, 1))), IMAGE)
    assert np.array_equal(decode_image(like(compressed_image_msg(IMAGE, 1, format="png"))), IMAGE)
    assert np.array_equal(decode_cloud(like(cloud_msg(points, 1))), points)
    T, covariance = pose_of(like(odometry_msg(planar_transform(1, 2, 3), 1, covariance=np.eye(6))))
    assert np.allclose(T, planar_transform(1, 2, 3)) and np.array_equal(covariance, np.eye(6))
    assert len(Trajectory.from_messages([like(pose_msg(np.eye(4), 5))])) == 1
