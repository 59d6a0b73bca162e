"""Rendered pictures, scans, bags and training sets, at tiny sizes."""

import csv
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

pytest.importorskip("open3d")

from vpr_ros.errors import VprError
from vpr_ros.geometry import invert
from vpr_ros.training.synthetic.bags import odometry_between, write_drive_bag
from vpr_ros.training.synthetic.conditions import CameraConfig, LidarConfig, named_conditions
from vpr_ros.training.synthetic.drive import plan_drive
from vpr_ros.training.synthetic.rendering.camera import camera_rays
from vpr_ros.training.synthetic.rendering.lidar import render_scan
from vpr_ros.training.synthetic.training_set import render_training_set
from vpr_ros.training_set.format import COLUMNS

CAMERA = CameraConfig(width=64, height=48)
LIDAR = LidarConfig(beams=16, azimuths=240, noise_m=0.0, dropout=0.0)


def _drive(name="day", seed=1, length_m=80.0, **changes):
    return plan_drive(7, named_conditions(name, seed=seed), CAMERA, LIDAR, length_m=length_m, spacing_m=10, **changes)


def ray_lengths(scene, camera, T_city_base):
    """Distance along each pixel's ray (H, W) in metres, inf for sky."""
    origin, directions = camera_rays(replace(camera, supersample=1), T_city_base)
    return scene.cast(origin, directions)["t_hit"].reshape(camera.height, camera.width)


@pytest.fixture(scope="module")
def day():
    drive = _drive()
    return drive, list(drive.frames())


def test_the_bytes_do_not_depend_on_the_number_of_processes(day):
    drive, alone = day
    shared = list(drive.frames(workers=2, chunk=4))
    assert [f.index for f in shared] == list(range(len(drive)))
    for a, b in zip(alone, shared, strict=True):
        assert a.image.tobytes() == b.image.tobytes()
        assert a.cloud.tobytes() == b.cloud.tobytes()


def test_scan_points_project_onto_the_depth_of_the_picture(day):
    drive, frames = day
    compared = 0
    for index in (1, 4, 6):
        depth = ray_lengths(drive.scene(7), replace(CAMERA, width=320, height=240), drive.T_city_base[index])
        K = replace(CAMERA, width=320, height=240).K
        T = invert(drive.T_base_cameralink @ drive.T_cameralink_optical) @ drive.T_base_lidar
        p = frames[index].cloud @ T[:3, :3].T + T[:3, 3]
        p = p[p[:, 2] > 1]
        pixel = p @ K.T
        u, v = np.floor(pixel[:, 0] / pixel[:, 2]).astype(int), np.floor(pixel[:, 1] / pixel[:, 2]).astype(int)
        inside = (u > 0) & (u < 319) & (v > 0) & (v < 239)
        u, v, length = u[inside], v[inside], np.linalg.norm(p[inside], axis=1)
        # One of the 3 x 3 pixels around must see the same distance; the rest is hidden from the other sensor.
        around = np.stack([depth[v + dv, u + du] for dv in (-1, 0, 1) for du in (-1, 0, 1)])
        error = np.abs(around - length).min(0) / length
        assert np.mean(error < 0.02) > 0.93
        compared += len(u)
    assert compared > 300


def test_axes_follow_rep_103(day):
    drive, frames = day
    cloud = frames[2].cloud
    ground = cloud[cloud[:, 2] < -1.85]
    assert len(ground) > 100 and np.abs(ground[:, 2] + LIDAR.height_m).max() < 0.15  # the road lies below the sensor
    T = drive.T_base_cameralink @ drive.T_cameralink_optical
    assert np.allclose(T[:3, 2], [1, 0, 0], atol=1e-9)  # the optical axis looks along base_link's x
    assert np.allclose(T[:3, 0], [0, -1, 0], atol=1e-9)  # image columns grow to the right, that is -y
    moved = invert(drive.T_map_base[2]) @ drive.T_map_base[3]
    assert moved[0, 3] > 8 and abs(moved[1, 3]) < 5  # the vehicle moves forward along its x


def test_sky_is_above_and_road_below(day):
    drive, _ = day
    depth = np.stack([ray_lengths(drive.scene(7), CAMERA, T) for T in drive.T_city_base])
    assert np.isinf(depth[:, :16]).mean() > 0.02
    assert depth[:, -6:].max() < 12  # the lowest rows see the road or a car, never a hole


def _descriptor(image):
    """Local contrast of a tiny grey picture, compared by correlation."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (24, 18), interpolation=cv2.INTER_AREA).astype(
        np.float32
    )
    flat = small - cv2.GaussianBlur(small, (0, 0), 4)
    return (flat / np.linalg.norm(flat)).ravel()


def test_the_same_place_looks_nearer_than_other_places(day):
    other = _drive("overcast", seed=9)
    a = np.array([_descriptor(f.image) for f in day[1]])
    b = np.array([_descriptor(f.image) for f in other.frames(with_clouds=False)])
    similarity = a @ b.T
    same, different = np.diag(similarity), similarity[~np.eye(len(a), dtype=bool)]
    assert same.mean() > different.mean() + 0.1
    assert same.mean() < 0.98  # and yet no two drives are the same picture


def test_conditions_change_the_light_but_not_the_place(day):
    def mean(name):
        return np.mean([_drive(name).frame(i, False).image for i in (1, 4)])

    bright, dusk, night = np.mean([f.image for f in day[1]]), mean("dusk"), mean("night")
    assert bright > dusk > night > 8
    snow = _drive("winter").frame(4, False).image[-14:].mean()
    bare = _drive("overcast").frame(4, False).image[-14:].mean()
    assert snow > bare + 8


def test_no_crown_swallows_the_camera():
    for seed in (7, 12):
        drive = plan_drive(seed, camera=CAMERA, length_m=240, spacing_m=8)
        scene = drive.scene(seed)
        near = [np.median(ray_lengths(scene, CAMERA, T)) for T in drive.T_city_base]
        assert np.mean(np.array(near) < 2.0) < 0.02


def test_a_drive_becomes_a_bag_that_reads_back(tmp_path, day):
    from rosbags.highlevel import AnyReader

    drive = plan_drive(
        7,
        named_conditions("day", seed=1),
        CAMERA,
        LIDAR,
        length_m=40,
        spacing_m=10,
        offmap_seed=12,
        offmap_length_m=30,
    )
    for storage in ("mcap", "sqlite3"):
        write_drive_bag(tmp_path / storage, drive, storage)
        with AnyReader([tmp_path / storage]) as reader:
            counts = {c.topic: c.msgcount for c in reader.connections}
            assert counts == {
                "/camera/image/compressed": 7,
                "/camera/camera_info": 7,
                "/points": 7,
                "/odom": 25,
                "/tf": 25,
                "/ground_truth/pose": 7,
                "/tf_static": 1,
            }
            stamps = []
            for connection, _, raw in reader.messages(
                [c for c in reader.connections if c.topic == "/camera/image/compressed"]
            ):
                message = reader.deserialize(raw, connection.msgtype)
                stamps.append(message.header.stamp.sec * 10**9 + message.header.stamp.nanosec)
                assert message.header.frame_id == "camera_optical_frame"
                assert cv2.imdecode(message.data, cv2.IMREAD_COLOR).shape == (48, 64, 3)
            assert stamps == drive.stamps_ns.tolist()


def test_odometry_between_frames_ends_at_the_frame():
    drive = _drive()
    stamps, poses = zip(*(x for i in range(3) for x in odometry_between(drive, i)), strict=True)
    assert list(stamps) == sorted(set(stamps)) and stamps[-1] == drive.stamps_ns[2]
    assert np.allclose(poses[-1], drive.T_odom_base[2])
    assert np.allclose(poses[2][:3, 3], (drive.T_odom_base[0] + drive.T_odom_base[1])[:3, 3] / 2)


def test_a_frame_from_inside_a_post_is_left_out(tmp_path, monkeypatch):
    seen = []

    def blinded(*given):
        seen.append(render_scan(*given))
        return seen[-1][: 0 if len(seen) == 3 else None]

    monkeypatch.setattr("vpr_ros.training.synthetic.drive.render_scan", blinded)
    out = render_training_set(tmp_path / "set", [7], 1, 5, (24, 32), with_lidar=True, workers=1)
    with (out / "frames.csv").open(newline="") as stream:
        assert [row["frame"] for row in csv.DictReader(stream)] == ["0", "1", "3", "4"]
    assert not list(out.rglob("000002.*")) and len(seen) == 5


def test_a_training_set_resumes_and_refuses_other_settings(tmp_path):
    settings = dict(drives_per_city=2, frames_per_drive=6, image_size=(24, 32), workers=1)
    out = render_training_set(tmp_path / "set", [7], with_lidar=True, **settings)
    first = (out / "frames.csv").read_text()
    rows = list(csv.DictReader(first.splitlines()))
    assert tuple(rows[0]) == COLUMNS and len(rows) == 12
    assert len({r["condition"] for r in rows}) == 2 and {r["drive"] for r in rows} == {"7-0", "7-1"}
    assert cv2.imread(str(out / rows[7]["image"])).shape == (24, 32, 3)
    cloud = np.load(out / rows[7]["cloud"], allow_pickle=False)
    assert cloud.dtype == np.float16 and cloud.shape[1] == 3 and len(cloud) > 300
    assert json.loads((out / "meta.json").read_text())["world"]
    one, two = (np.array([[float(r["x_m"]), float(r["y_m"])] for r in rows if r["drive"] == d]) for d in ("7-0", "7-1"))
    assert np.linalg.norm(one - two, axis=1).max() < 6  # the same places, jittered

    image = (out / rows[7]["image"]).read_bytes()
    (out / "parts" / "city0007_drive001.csv").unlink()
    (out / rows[7]["image"]).unlink()
    render_training_set(out, [7], with_lidar=True, **settings)
    assert (out / "frames.csv").read_text() == first and (out / rows[7]["image"]).read_bytes() == image
    with pytest.raises(VprError, match="other settings"):
        render_training_set(out, [7, 8], with_lidar=True, **settings)
