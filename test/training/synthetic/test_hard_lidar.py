"""The troubled LiDAR: each trouble does what it says, and a LiDAR without them sees what it always saw."""

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("open3d")

from vpr_ros.errors import VprError
from vpr_ros.geometry import yaw_of
from vpr_ros.training.synthetic.conditions import CameraConfig, LidarConfig, hard_lidar, named_conditions
from vpr_ros.training.synthetic.drive import plan_drive
from vpr_ros.training.synthetic.rendering.lidar import box_hits, mounting_error, passing_vehicles, render_scan
from vpr_ros.training.synthetic.training_set import TrainingSetConfig, render_training_set, stored_cloud

CLEAR = LidarConfig(beams=8, azimuths=180, noise_m=0.0, dropout=0.0)


@pytest.fixture(scope="module")
def drive():
    return plan_drive(7, named_conditions("day", seed=1), CameraConfig(), CLEAR, length_m=60, spacing_m=10)


def scan(drive, lidar, seed=(1, 2), frame=2):
    return render_scan(drive.scene(7), lidar, drive.T_city_base[frame], list(seed))


def test_hard_lidars_differ_and_are_seeded():
    made = [hard_lidar(np.random.default_rng(seed)) for seed in range(30)]
    assert made[3] == hard_lidar(np.random.default_rng(3)) and len(set(made)) == 30
    assert max(m.beams for m in made) <= 24 and min(m.vehicles for m in made) > 0.4
    assert max(m.height_m for m in made) - min(m.height_m for m in made) > 0.4


def test_boxes_are_hit_where_a_march_along_the_ray_enters_them():
    rng = np.random.default_rng(0)
    boxes = np.array([[[4, -1, 0], [8, 1, 3]], [[-9, 2, 0.4], [-3, 4.5, 3]]], dtype=float)
    origins = rng.uniform([-1, -1, 1], [1, 1, 2], (300, 3))
    directions = rng.normal(size=(300, 3)) * [1, 1, 0.15]
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    found = box_hits(boxes, origins, directions)
    steps = np.arange(0, 15, 0.01)
    hits = 0
    for origin, direction, t in zip(origins, directions, found, strict=True):
        path = origin + steps[:, None] * direction
        inside = np.any([((path >= low) & (path <= high)).all(1) for low, high in boxes], axis=0)
        if inside.sum() > 3:
            assert t == pytest.approx(steps[inside.argmax()], abs=0.02)
            hits += 1
        elif not inside.any():
            assert not t < 14.9 or inside.sum() == 0 and _grazes(boxes, origin + t * direction)
    assert hits > 30
    assert np.isinf(box_hits(boxes[:0], origins, directions)).all()
    assert np.isinf(box_hits(boxes[:1], np.zeros((1, 3)), np.array([[-1.0, 0, 0]]))).all(), "boxes behind are not hit"


def _grazes(boxes, point) -> bool:
    """Whether the point lies on an edge that the march steps over."""
    gap = np.minimum(np.abs(point - boxes[:, 0]), np.abs(point - boxes[:, 1]))
    return bool((np.sort(gap, axis=1)[:, 1] < 0.05).any())


def test_vehicles_hide_what_lies_behind_and_leave_the_rest(drive):
    free, busy = scan(drive, CLEAR), scan(drive, replace(CLEAR, vehicles=6.0))
    boxes = passing_vehicles(6.0, np.random.default_rng([1, 2, 7]))
    assert len(boxes) and (boxes[:, 0] < boxes[:, 1]).all()
    points = busy + [0, 0, CLEAR.height_m]
    on_box = np.any([((points > low - 0.02) & (points < high + 0.02)).all(1) for low, high in boxes], axis=0)
    assert on_box.sum() > 10
    kept = {tuple(p) for p in np.round(free, 3).tolist()}
    same = [tuple(p) in kept for p in np.round(busy[~on_box], 3).tolist()]
    assert np.mean(same) > 0.99 and len(free) > 500


def test_a_mounting_error_turns_the_cloud(drive):
    lidar = replace(CLEAR, tilt_deg=(3.0, -2.0), twist_deg=10.0)
    R = mounting_error(lidar)
    assert np.allclose(R @ R.T, np.eye(3)) and np.linalg.det(R) == pytest.approx(1)
    assert np.array_equal(mounting_error(CLEAR), np.eye(3))
    assert np.degrees(np.arctan2(R[1, 0], R[0, 0])) == pytest.approx(10, abs=0.2)
    assert np.degrees(np.arcsin(R[2, 1])) == pytest.approx(3, abs=0.1)
    # turned back, the road lies level below the sensor again
    cloud = scan(drive, lidar) @ R.T
    straight = scan(drive, CLEAR)

    def low(c):
        return c[(np.hypot(c[:, 0], c[:, 1]) < 9) & (c[:, 2] < -1.6)][:, 2]

    assert len(low(straight)) > 50 and np.median(low(cloud)) == pytest.approx(np.median(low(straight)), abs=0.06)


def test_motion_within_the_revolution_shifts_each_ray_by_its_time(drive):
    skew = 2.0
    moved, still = scan(drive, replace(CLEAR, skew_m=skew)), scan(drive, CLEAR)

    # The scan begins ahead (azimuth 0) half a revolution early: what is there was seen from further back.
    def reach(cloud, low, high):
        return np.median([p[0] for p in cloud if low < np.degrees(np.arctan2(p[1], p[0])) % 360 < high and p[2] < -1.8])

    assert len(moved) > 500 and not np.array_equal(moved[:200], still[:200])
    road_moved, road_still = (c[c[:, 2] < -1.85] for c in (moved, still))
    # A ring on flat ground keeps its radius about the moving sensor: the stored points do not show the motion there.
    assert np.median(np.hypot(*road_moved[:, :2].T)) == pytest.approx(
        np.median(np.hypot(*road_still[:, :2].T)), abs=0.2
    )
    assert reach(moved, 0, 20) == pytest.approx(reach(still, 0, 20), abs=0.3)


def test_weather_sends_more_rays_back():
    drive = plan_drive(7, named_conditions("snowfall", seed=1), CameraConfig(), CLEAR, length_m=40, spacing_m=10)
    near = [
        np.mean(np.linalg.norm(scan(drive, replace(CLEAR, weather_returns=k), frame=1), axis=1) < 4) for k in (0, 1, 3)
    ]
    assert near[0] + 0.02 < near[1] and near[1] + 0.03 < near[2]


def test_a_reversed_drive_looks_back_along_the_same_line():
    ahead, back = (
        plan_drive(7, named_conditions("day", seed=1, weave_m=0.0), length_m=100, spacing_m=10, reverse=reverse)
        for reverse in (False, True)
    )
    gaps = np.linalg.norm(ahead.T_city_base[:, None, :2, 3] - back.T_city_base[None, :, :2, 3], axis=2)
    gaps = gaps[1:]  # the one's first frame lies a step before the other's last
    matched = gaps.argmin(1)
    assert gaps.min(1).max() < 0.5 and (np.diff(matched) < 0).all()
    pairs = zip(ahead.T_city_base[1:], back.T_city_base[matched], strict=True)
    turn = np.array([yaw_of(b) - yaw_of(a) for a, b in pairs])
    assert np.abs(np.angle(np.exp(1j * (turn - np.pi)))).max() < 0.05
    assert (np.diff(back.stamps_ns) > 0).all()


def test_stored_clouds_are_in_base_link(drive):
    cloud = scan(drive, CLEAR)
    whole, high = (stored_cloud(cloud, drive, TrainingSetConfig((7,), above_ground_m=h)) for h in (0.0, 0.5))
    assert np.allclose(whole, cloud + [0, 0, 1.95], atol=1e-5) and whole.dtype == np.float32
    assert abs(np.median(whole[whole[:, 2] < 0.5, 2])) < 0.1  # the road lies at base_link's height
    expected = np.array([p + [0, 0, 1.95] for p in cloud.astype(float) if p[2] + 1.95 >= 0.5])
    assert np.allclose(high, expected, atol=1e-5) and 50 < len(high) < len(cloud)
    assert len(stored_cloud(cloud[:5] * [1, 1, 0] - [0, 0, 9], drive, TrainingSetConfig((7,), above_ground_m=0.5))) == 1


def test_a_hard_set_is_rendered(tmp_path):
    settings = dict(drives_per_city=2, frames_per_drive=5, image_size=(16, 24), with_lidar=True, workers=1)
    hard = render_training_set(
        tmp_path / "hard", [7], lidar="hard", above_ground_m=0.5, reversed_drives=(1,), **settings
    )
    lines = (hard / "frames.csv").read_text().splitlines()
    headings = {d: [float(x.split(",")[5]) for x in lines if f",7-{d}," in x or f"7-{d}," in x] for d in (0, 1)}
    assert abs(np.angle(np.exp(1j * (headings[0][2] - headings[1][2] - np.pi)))) < 0.6
    clouds = [np.load(path) for path in sorted(hard.glob("clouds/*/*/*.npy"))]
    assert len(clouds) == 10 and min(c[:, 2].min() for c in clouds) >= 0.499
    with pytest.raises(VprError, match="no LiDAR 'broken'"):
        render_training_set(tmp_path / "broken", [7], lidar="broken", **settings)
    # sets without the ground are in base_link whether their meta.json says so or not
    meta = json.loads((hard / "meta.json").read_text())
    assert meta.pop("cloud_frame") == "base_link"
    (hard / "meta.json").write_text(json.dumps(meta))
    render_training_set(hard, [7], lidar="hard", above_ground_m=0.5, reversed_drives=(1,), **settings)


def test_older_sets_go_on_unless_their_clouds_are_in_another_frame(tmp_path):
    settings = dict(drives_per_city=2, frames_per_drive=5, image_size=(16, 24), workers=1)
    clean = render_training_set(tmp_path / "clean", [7], **settings)
    meta = json.loads((clean / "meta.json").read_text())
    assert "cloud_frame" not in meta  # it has no clouds
    old = {key: value for key, value in meta.items() if key not in ("lidar", "above_ground_m", "reversed_drives")}
    (clean / "meta.json").write_text(json.dumps(old))
    render_training_set(clean, [7], **settings)
    with pytest.raises(VprError, match="other settings"):
        render_training_set(clean, [7], lidar="hard", **settings)
    with pytest.raises(VprError, match="other settings"):
        render_training_set(clean, [7], with_lidar=True, **settings)
    (clean / "meta.json").write_text(json.dumps(old | {"with_lidar": True}))
    with pytest.raises(VprError, match="clouds in lidar_link; choose another folder"):
        render_training_set(clean, [7], with_lidar=True, **settings)
    render_training_set(tmp_path / "new", [7], with_lidar=True, **settings)
    render_training_set(tmp_path / "new", [7], with_lidar=True, **settings)
    clouds = [np.load(path) for path in sorted((tmp_path / "new").glob("clouds/*/*/*.npy"))]
    assert len(clouds) == 10 and all(abs(np.median(c[c[:, 2] < 0.5, 2])) < 0.2 for c in clouds)
