"""Real samples, where they lie beside the checkout or VPR_ROS_DATA names their folder; one line of skips elsewhere."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert
from vpr_ros.sensors.cameras import Camera
from vpr_ros.sensors.clouds import transformed
from vpr_ros.sensors.poses.trajectory import travelled
from vpr_ros.training.data.datasets.boreas.readings import read_poses
from vpr_ros.training.data.datasets.boreas.samples import rows_with_spacing
from vpr_ros.training.data.datasets.boreas.sequence import BoreasSequence

DATA = Path(os.environ.get("VPR_ROS_DATA") or Path(__file__).resolve().parents[4] / "shared" / "data")
DRIVES = ("boreas-2021-08-05-13-34", "boreas-2021-09-02-11-42")

if not DATA.is_dir():
    pytest.skip(f"no real samples: {DATA} is not there, set VPR_ROS_DATA", allow_module_level=True)


def sample(name):
    if not (DATA / name).exists():
        pytest.skip(f"{DATA / name} is not there")
    return DATA / name


# Boreas: true poses of two drives of one route


@pytest.fixture(scope="module")
def drives():
    return [BoreasSequence(sample("boreas_poses") / name) for name in DRIVES]


def camera_poses(drive):
    return read_poses(drive.folder / "applanix" / "camera_poses.csv")


def test_boreas_drives_have_their_published_length(drives):
    for drive, count, km, seconds in zip(drives, (11192, 10293), (7.94, 7.96), (1119, 1034), strict=True):
        table = camera_poses(drive)
        assert len(table.stamps_ns) == count
        assert travelled(table.T_map_sensor)[-1] / 1000 == pytest.approx(km, abs=0.005)
        assert (table.stamps_ns[-1] - table.stamps_ns[0]) * 1e-9 == pytest.approx(seconds, abs=0.6)


def test_boreas_keyframes_of_the_second_drive_lie_near_the_first(drives):
    keyframes = [(p := camera_poses(d).T_map_sensor[:, :2, 3])[rows_with_spacing(p, 5.0)] for d in drives]
    assert [len(k) for k in keyframes] == [1437, 1436]
    nearest = np.linalg.norm(keyframes[1][:, None] - keyframes[0][None], axis=2).min(axis=1)
    assert round(100 * (nearest <= 5).mean(), 1) == 99.9 and (nearest <= 10).all()
    assert nearest.max() == pytest.approx(7.9, abs=0.05)


def test_boreas_car_drives_forward_and_level_and_the_map_frame_is_near(drives):
    for drive in drives:
        linear, _ = drive.velocities
        moving = np.linalg.norm(linear, axis=1) > 5
        forward, left, up = np.median(linear[moving] / np.linalg.norm(linear[moving], axis=1)[:, None], axis=0)
        assert forward > 0.999 and abs(left) < 0.02 and abs(up) < 0.02
        assert drive.poses.T[:, 2, 2].min() > 0.98  # z is up
        assert drive.kind == "utm" and np.abs(drive.poses.T[:, :3, 3]).max() < 5000


def test_boreas_camera_and_lidar_poses_agree_on_where_the_camera_sits(drives):
    """With another rotation convention the mount would turn with the car."""
    for drive in drives:
        table = camera_poses(drive)
        T, covered = drive.poses.at_many(table.stamps_ns, max_gap_s=0.15)
        mount = invert(T[covered]) @ table.T_map_sensor[covered]
        assert covered.mean() > 0.9
        assert mount[:, :3, 3].std(axis=0).max() < 0.002 and mount[:, :3, :3].std(axis=0).max() < 0.001
        np.testing.assert_allclose(mount[:, :3, 2].mean(axis=0), [1, 0, 0], atol=0.03)  # it looks ahead
        np.testing.assert_allclose(mount[:, :3, 3].mean(axis=0), [0.617, -0.054, 0.074], atol=0.001)


def test_boreas_velocities_are_those_of_the_positions(drives):
    """Positions are metres of one tangent plane: a UTM grid would be turned by 1.1 degrees and shrunk by 2e-4."""
    for drive in drives:
        table = read_poses(drive.folder / "applanix" / "lidar_poses.csv")
        dt = (table.stamps_ns[2:] - table.stamps_ns[:-2])[:, None] * 1e-9
        xy, told = table.T_map_sensor[:, :2, 3], table.velocity_mps[1:-1, :2]
        moved = (xy[2:] - xy[:-2]) / dt
        moved, told = moved @ [1, 1j], told @ [1, 1j]
        assert abs(np.degrees(np.angle(np.vdot(told, moved)))) < 0.01
        fast = np.abs(moved) > 5
        along = (told * moved.conj()).real[fast] / np.abs(moved[fast]) ** 2
        assert np.median(along) == pytest.approx(1, abs=1e-4)


def test_boreas_turning_is_that_of_the_poses(drives):
    for drive in drives:
        T, dt = drive.poses.T, (drive.poses.stamps_ns[2:] - drive.poses.stamps_ns[:-2]) * 1e-9
        turn = np.einsum("nji,njk->nik", T[:-2, :3, :3], T[2:, :3, :3])
        yaw_rate, told = np.arctan2(turn[:, 1, 0], turn[:, 0, 0]) / dt, drive.velocities[1][1:-1, 2]
        assert np.corrcoef(yaw_rate, told)[0, 1] > 0.99
        assert np.polyfit(told, yaw_rate, 1)[0] == pytest.approx(1, abs=0.02)


# KITTI: two synchronised frames of camera and LiDAR


def kitti(number):
    """Image (H, W, 3), points (N, 4), projection (3, 4), T_camera_velodyne (4, 4) rectified."""
    folder = sample("kitti_frames")
    values = {}
    for line in (folder / "calib" / f"{number}.txt").read_text().splitlines():
        if ":" in line:
            key, numbers = line.split(":")
            values[key] = np.array(numbers.split(), np.float64)
    R, T = np.eye(4), np.eye(4)
    R[:3, :3], T[:3] = values["R0_rect"].reshape(3, 3), values["Tr_velo_to_cam"].reshape(3, 4)
    image = cv2.imread(str(folder / "image_2" / f"{number}.png"))[..., ::-1]
    points = np.fromfile(folder / "velodyne" / f"{number}.bin", "<f4").reshape(-1, 4)
    return image, points, values["P2"].reshape(3, 4), R @ T


def seen_by(P, image):
    """Our camera of a projection matrix, and the transform that its fourth column is."""
    shift = np.eye(4)
    shift[:3, 3] = np.linalg.solve(P[:, :3], P[:, 3])
    return Camera(P[:, :3], image.shape[1], image.shape[0], np.zeros(5)), shift


@pytest.mark.parametrize("number", ["000000", "000001"])
def test_a_real_cloud_lands_where_the_published_formula_says(number, tmp_path):
    image, points, P, T = kitti(number)
    camera, shift = seen_by(P, image)
    seen = transformed(points[:, :3], shift @ T)
    pixels, inside = camera.project(seen)
    for i in np.flatnonzero(inside)[::211]:
        u, v, w = P @ T @ [*points[i, :3], 1]
        assert w > 0 and pixels[i] == pytest.approx([u / w, v / w], abs=1e-3)
    assert 15_000 < inside.sum() < 25_000
    picture = (image * 0.5).astype(np.uint8)
    depth = np.clip(255 * (1 - np.log(seen[inside, 2] / 4) / np.log(20)), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(depth[:, None], cv2.COLORMAP_TURBO)[:, 0, ::-1]
    columns, rows = np.round(pixels[inside]).astype(int).T.clip(0, [[image.shape[1] - 1], [image.shape[0] - 1]])
    picture[rows, columns] = colours
    assert cv2.imwrite(str(tmp_path / f"{number}.png"), picture[..., ::-1])


@pytest.mark.parametrize("number", ["000000", "000001"])
def test_a_real_cloud_fits_its_picture_best_where_the_calibration_puts_it(number):
    """Reflectance and brightness tell most of one another, and depth edges lie on image edges, at no extra turn."""
    image, points, P, T = kitti(number)
    camera, shift = seen_by(P, image)
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1).astype(np.float64)
    edges = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    ranges = np.linalg.norm(points[:, :3], axis=1)
    behind = np.maximum(np.roll(ranges, 1), np.roll(ranges, -1)) - ranges
    information, strength = {}, {}
    for degrees in (-4, -2, -1, -0.5, 0, 0.5, 1, 2, 4):
        turn = np.eye(4)
        turn[:3, :3] = cv2.Rodrigues(np.array([0, 0, np.radians(degrees)]))[0]
        pixels, inside = camera.project(transformed(points[:, :3], shift @ T @ turn))
        at = np.round(pixels[inside]).astype(int).clip(0, [image.shape[1] - 1, image.shape[0] - 1])
        both = np.histogram2d(points[inside, 3], grey[at[:, 1], at[:, 0]], bins=(16, 16))[0] / inside.sum()
        alone = both.sum(axis=1)[:, None] * both.sum(axis=0)[None]
        information[degrees] = (both[both > 0] * np.log(both[both > 0] / alone[both > 0])).sum()
        at = at[(behind[inside] > 0.5) & (behind[inside] < 20)]
        strength[degrees] = edges[at[:, 1], at[:, 0]].mean()
    assert max(information, key=lambda d: information[d]) == 0
    assert max(strength, key=lambda d: strength[d]) == 0


def test_neighbouring_real_scans_register():
    pytest.importorskip("small_gicp")
    from vpr_ros.verification.lidar import verify_clouds

    folder = sample("kitti_scans")
    first, second = (np.fromfile(folder / f"0000{n}.bin", "<f4").reshape(-1, 4)[:, :3] for n in (94, 95))
    result = verify_clouds(second, first)
    assert result.accepted, result.reason
    x, y, z = result.T_keyframe_query[:3, 3]
    assert 0.3 < x < 2.5 and abs(y) < 0.3 and abs(z) < 0.2  # a tenth of a second of driving forward
    assert np.linalg.norm(cv2.Rodrigues(result.T_keyframe_query[:3, :3])[0]) < 0.1


def test_a_real_bag_without_a_camera_is_no_training_data(tmp_path):
    from vpr_ros.offline.record_bag import bag_to_frames

    with pytest.raises(VprError, match="has no camera images"):
        bag_to_frames(sample("laserscan_bag"), tmp_path / "set")
