"""Bags into training sets: what is kept and where it stands, frames shared by drives, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from vpr_ros.errors import VprError
from vpr_ros.geometry import geodetic_to_enu, planar_transform
from vpr_ros.offline.record_bag import FramesConfig, bag_to_frames
from vpr_ros.sensors import (
    BagWriter,
    DriveConfig,
    DriveTopics,
    Trajectory,
    camera_info_msg,
    cloud_msg,
    compressed_image_msg,
    navsat_msg,
    odometry_msg,
    pose_msg,
    tf_msg,
)
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training_set import read_frame_table

SECOND, START = 10**9, 1_700_000_000 * 10**9
K = np.array([[50.0, 0, 31.5], [0, 50.0, 23.5], [0, 0, 1]])
T_BASE_LIDAR = planar_transform(0.5, 0.0, np.pi / 2, 1.8)


def picture(i):
    """A grey that tells the frame, with texture."""
    rng = np.random.default_rng(i)
    return np.clip(8 * i + 20 + rng.integers(-3, 4, (48, 64, 3)), 0, 255).astype(np.uint8)


def write_bag(path, frames=20, *, odom=True, pose=False, fix=None, clouds=True, truth=True, y=0.0, step=0.52):
    """Images every 0.1 s, `step` metres apart along x; a cloud with every second image."""
    with BagWriter(path) as bag:
        bag.write("/tf_static", tf_msg([("base_link", "lidar_link", T_BASE_LIDAR)], START), START)
        for i in range(frames):
            t = START + i * SECOND // 10
            T = planar_transform(step * i, 0.0, 0.0)
            if odom:
                bag.write("/odom", odometry_msg(T, t), t)
            if pose:
                bag.write("/localization/pose", pose_msg(planar_transform(100, 50 + y, 0.3) @ T, t), t)
            if fix is not None:
                bag.write("/fix", navsat_msg(fix[0], fix[1] + step * i * 1e-5, 200.0, t), t)
            if truth:
                bag.write("/ground_truth/pose", pose_msg(planar_transform(-900, 0, 1.0) @ T, t), t)
            bag.write("/camera/camera_info", camera_info_msg(K, 64, 48, t), t)
            bag.write("/camera/image/compressed", compressed_image_msg(picture(i), t, format="png"), t)
            if clouds and i % 2 == 0:
                points = np.array([[1.0, 0, 0], [2.0, 1, 0], [i, 0, 1]])
                bag.write("/points", cloud_msg(points, t + 20_000_000), t + 20_000_000)
    return path


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_bag(tmp_path_factory.mktemp("bags") / "monday", pose=True)


def test_a_frame_every_so_many_metres_with_its_cloud_and_pose(bag, tmp_path):
    result = bag_to_frames(bag, tmp_path / "set", FramesConfig(condition="summer/day", spacing_m=2.0, max_width=32))
    # Cloud i stands 0.02 s after image i: image 1 is within 0.1 s of it, too. Every image is complete.
    assert (result.drives, result.images, result.poses, result.interrupted) == (("monday",), 20, "map", False)
    samples = TrainingSetSamples(tmp_path / "set")
    kept = [0, 4, 8, 12, 16]
    assert result.frames == len(samples) == len(kept)
    assert result.reasons == {"recorded": 5, "close to the last frame": 15}
    for row, i in enumerate(kept):
        sample = samples[row]
        assert sample.stamp_ns == START + i * SECOND // 10
        expected = planar_transform(100, 50, 0.3) @ planar_transform(0.52 * i, 0, 0)
        np.testing.assert_allclose(sample.T_world_base, expected, atol=2e-3)
        assert sample.image.shape == (24, 32, 3) and abs(int(sample.image.mean()) - (8 * i + 20)) <= 2
        # The cloud as the base saw it at the image's time: 0.02 s later the car is 0.104 m further.
        lidar = np.array([[1.0, 0, 0], [2.0, 1, 0], [i, 0, 1]])
        base = lidar @ T_BASE_LIDAR[:3, :3].T + T_BASE_LIDAR[:3, 3]
        np.testing.assert_allclose(sample.cloud, base + [0.104, 0, 0], atol=0.02)
        assert (sample.drive, sample.condition) == ("monday", "summer/day")
    meta = json.loads((tmp_path / "set" / "meta.json").read_text())["drives"][0]
    assert meta["camera"]["K"] == K.tolist() and meta["source"] == str(bag) and meta["poses"] == "map"


def test_true_poses_are_not_training_data_unless_named(bag, tmp_path):
    bag_to_frames(bag, tmp_path / "a", FramesConfig(spacing_m=0.0))
    named = DriveTopics(pose="/ground_truth/pose")
    bag_to_frames(bag, tmp_path / "b", FramesConfig(topics=named, spacing_m=0.0))
    a, b = read_frame_table(tmp_path / "a"), read_frame_table(tmp_path / "b")
    assert len(a) == len(b) == 20
    assert a.positions_m[0, 0] == 100 and b.positions_m[0, 0] == -900


def test_two_drives_share_a_set(bag, tmp_path):
    tuesday = write_bag(tmp_path / "tuesday", pose=True, y=1.0)
    bag_to_frames(bag, tmp_path / "set")
    bag_to_frames(tuesday, tmp_path / "set", FramesConfig(drive="tuesday at night", condition="night"))
    table = read_frame_table(tmp_path / "set")
    assert set(table.drives) == {"monday", "tuesday at night"} and set(table.cities) == {"own"}
    with pytest.raises(VprError, match="has bag .*monday already, as drive 'monday'"):
        bag_to_frames(bag, tmp_path / "set")


def test_odometry_stands_in_with_a_frame_for_each_drive(tmp_path):
    first = write_bag(tmp_path / "first")
    second = write_bag(tmp_path / "second")
    result = bag_to_frames(first, tmp_path / "set")
    # No image is lost to waiting for poses that the bag is known not to have.
    assert result.poses == "odometry" and "waiting for a pose in the map frame" not in result.reasons
    assert read_frame_table(tmp_path / "set").stamps_ns[0] == START
    bag_to_frames(second, tmp_path / "set")
    bag_to_frames(first.rename(tmp_path / "third"), tmp_path / "set", FramesConfig(city="second street"))
    table = read_frame_table(tmp_path / "set")
    assert set(table.cities) == {"own", "second street"} and len(set(table.pose_frames)) == 3
    samples = TrainingSetSamples(tmp_path / "set")
    of = {drive: np.flatnonzero(samples.drives == drive) for drive in ("first", "second", "third")}
    inside = samples.nearness.gaps(of["first"][0], of["first"])
    assert inside.near(5.0)[:4].all() and inside.least_m[-1] > 9
    assert samples.nearness.gaps(of["first"][0], of["second"]).unknown(3.0).all()
    assert (samples.nearness.gaps(of["first"][0], of["third"]).least_m == np.inf).all()


def test_poses_of_a_trajectory_bring_two_drives_into_one_frame(bag, tmp_path):
    plain = write_bag(tmp_path / "wednesday")
    stamps = START + np.arange(2, 20) * SECOND // 10  # the first two frames are not covered
    poses = np.array([planar_transform(7 + 0.52 * i, 3, 0.2) for i in range(2, 20)])
    Trajectory(stamps, poses).to_tum(tmp_path / "aligned.tum")
    bag_to_frames(bag, tmp_path / "set", FramesConfig(spacing_m=2.0))
    config = FramesConfig(spacing_m=2.0, trajectory=str(tmp_path / "aligned.tum"))
    result = bag_to_frames(plain, tmp_path / "set", config)
    assert result.poses == "map"
    table = read_frame_table(tmp_path / "set")
    mine = table.drives == "wednesday"
    assert 0 < mine.sum() == result.frames
    first = table.positions_m[mine][0]
    assert abs(first[1] - 3) < 1e-6 and first[0] >= 7 + 2 * 0.52 - 1e-6
    with pytest.raises(VprError, match="cannot be read"):
        bag_to_frames(plain, tmp_path / "other", FramesConfig(trajectory=str(tmp_path / "none.tum")))


def test_gaps_of_a_trajectory_are_named_with_their_option(tmp_path):
    """A pose every 1.4 s, as a SLAM's keyframes have."""
    drive = write_bag(tmp_path / "drive")
    poses = np.array([planar_transform(x, 3, 0.2) for x in (0.0, 7.28)])
    Trajectory([START, START + 14 * SECOND // 10], poses).to_tum(tmp_path / "sparse.tum")
    config = FramesConfig(spacing_m=0.0, require_cloud=False, trajectory=str(tmp_path / "sparse.tum"))
    few = bag_to_frames(drive, tmp_path / "few", config)
    sentence = "13 pictures lie in gaps of up to 1.4 s between the poses of the trajectory, longer than --max-gap-s 1"
    assert few.frames == 2 and sentence in few.notes
    bridged = bag_to_frames(drive, tmp_path / "all", replace(config, reading=DriveConfig(max_gap_s=1.4)))
    assert bridged.frames == 15 and not bridged.notes
    np.testing.assert_allclose(read_frame_table(tmp_path / "all").positions_m[7], [3.64, 3], atol=1e-6)


def test_satellite_fixes_of_a_city_have_one_origin(bag, tmp_path):
    first = write_bag(tmp_path / "first", odom=False, fix=(48.0, 11.0), step=3.0)
    second = write_bag(tmp_path / "second", odom=False, fix=(48.0005, 11.0002), step=3.0)
    bag_to_frames(first, tmp_path / "set")
    bag_to_frames(second, tmp_path / "set")
    table = read_frame_table(tmp_path / "set")
    start = table.positions_m[table.drives == "second"][0]
    np.testing.assert_allclose(start, geodetic_to_enu(48.0005, 11.0002, 200.0, (48.0, 11.0, 200.0))[:2], atol=0.01)
    assert np.linalg.norm(start) > 50
    with pytest.raises(VprError, match="city 'own' of .* has poses from satellite fixes, and this bag's come from"):
        bag_to_frames(bag, tmp_path / "set")
    bag_to_frames(bag, tmp_path / "other")
    with pytest.raises(VprError, match="poses that do not come from satellite fixes, and this bag's do"):
        bag_to_frames(first, tmp_path / "other")
    (tmp_path / "set" / "gnss_origins.json").write_text("[1]")
    with pytest.raises(VprError, match="gnss_origins.json is damaged"):
        bag_to_frames(bag, tmp_path / "set")


def test_pictures_alone(tmp_path):
    bag = write_bag(tmp_path / "bag", clouds=False)
    with pytest.raises(VprError, match="has no LiDAR .* --no-require-cloud"):
        bag_to_frames(bag, tmp_path / "set")
    assert bag_to_frames(bag, tmp_path / "set", FramesConfig(require_cloud=False)).frames == 10
    assert TrainingSetSamples(tmp_path / "set")[0].cloud is None


def test_a_bag_without_poses_gives_every_nth_picture(tmp_path):
    lost = write_bag(tmp_path / "lost", odom=False)
    result = bag_to_frames(lost, tmp_path / "set", FramesConfig(frame_every=4))
    assert (result.poses, result.frames) == ("none", 5)
    assert result.reasons == {"recorded": 5, "between n-th frames": 15}
    samples = TrainingSetSamples(tmp_path / "set")
    assert samples.stamps_ns.tolist() == [START + i * SECOND // 10 for i in (0, 4, 8, 12, 16)]
    assert samples[2].T_world_base is None and len(samples[2].cloud)
    assert samples.nearness.gaps(0, np.arange(1, 5)).unknown(1e6).all()
    with pytest.raises(VprError, match="every n-th frame is kept, n being 1 or more, not 0"):
        FramesConfig(frame_every=0)


def test_bags_that_cannot_teach_are_refused(tmp_path):
    with BagWriter(tmp_path / "apart") as bag:  # odometry ends before the first image
        for i in range(3):
            t = START + i * SECOND
            bag.write("/odom", odometry_msg(np.eye(4), t), t)
            bag.write("/camera/image/compressed", compressed_image_msg(picture(i), t + 60 * SECOND), t + 60 * SECOND)
    with pytest.raises(VprError, match="none of its 3 images became a frame .*3 times .no pose.*doctor"):
        bag_to_frames(tmp_path / "apart", tmp_path / "set", FramesConfig(require_cloud=False))
    with pytest.raises(VprError, match="spacing"):
        FramesConfig(spacing_m=-1)


def test_an_interrupted_run_keeps_what_it_has(bag, tmp_path):
    def stop(done, total):
        assert total == 20
        if done == 7:
            raise KeyboardInterrupt

    result = bag_to_frames(bag, tmp_path / "set", FramesConfig(spacing_m=0.0), progress=stop)
    assert result.interrupted and result.frames == 7
    assert len(read_frame_table(tmp_path / "set")) == 7


def test_the_command(bag, tmp_path):
    from vpr_ros.cli import app

    run = CliRunner().invoke(app, ["frames", str(bag), "-o", str(tmp_path / "set"), "--condition", "rain"])
    assert run.exit_code == 0, run.output
    assert "10 frames of 20 images, drive monday, poses of map" in run.output
    again = CliRunner().invoke(app, ["frames", str(bag), "-o", str(tmp_path / "set")])
    assert again.exit_code == 2 and "already" in again.output
    nothing = CliRunner().invoke(app, ["frames", str(tmp_path / "no.mcap"), "-o", str(tmp_path / "set")])
    assert nothing.exit_code == 2 and "does not exist" in nothing.output
