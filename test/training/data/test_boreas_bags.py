"""Boreas from its folder to a map: samples, a teacher's batch, an evaluation, bags, frames, mapping and localising."""

import shutil
import subprocess
import sys

import boreas_layout
import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from vpr_ros.errors import VprError
from vpr_ros.sensors import Bag, Drive, decode_image
from vpr_ros.sensors.clouds import decode_cloud_fields
from vpr_ros.training.data.convert.boreas import convert_boreas
from vpr_ros.training.data.datasets.boreas.samples import BoreasSamples
from vpr_ros.training.data.datasets.boreas.sequence import TEST, TRAIN, BoreasSequence
from vpr_ros.training.synthetic import DriveConditions
from vpr_ros.training_set import read_frame_table

FIRST, SECOND = TRAIN[0], TEST[4]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two drives of one street, in summer and in autumn."""
    root = tmp_path_factory.mktemp("boreas")
    kinds = DriveConditions(seed=1), DriveConditions(season="autumn", light="overcast", seed=2, lane_offset_m=0.3)
    start = 1606417097528152
    for i, (name, conditions) in enumerate(zip((FIRST, SECOND), kinds, strict=True)):
        boreas_layout.write_sequence(
            root,
            name,
            length_m=48.0,
            conditions=conditions,
            seed=i,
            camera_hz=5.0,
            lidar_hz=4.8,
            start_us=start + i * 10**12,
        )
    return root / FIRST, root / SECOND


@pytest.fixture(scope="module")
def bags(folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("bags")
    for folder, name in zip(folders, ("first", "second"), strict=True):
        result = convert_boreas(folder, root / name, reduce=1)
        assert not result.skipped
    return root / "first", root / "second"


def vpr(*arguments):
    from vpr_ros.cli import app

    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_a_bag_holds_what_the_folder_holds(folders, bags):
    sequence = BoreasSequence(folders[0])
    images, scans = sequence.stamps_ns("camera"), sequence.stamps_ns("lidar")
    with Bag(bags[0]) as bag:
        counts = {t.name: t.count for t in bag.topics}
        assert counts["/camera/image/compressed"] == counts["/camera/camera_info"] == len(images)
        assert counts["/points"] == len(scans) and counts["/odom"] == counts["/ground_truth/pose"] == counts["/tf"]
        seen = {}
        for topic, time, msg in bag.messages([n for n in counts if n not in ("/tf", "/tf_static")]):
            stamp = msg.header.stamp.sec * 10**9 + msg.header.stamp.nanosec
            assert time == stamp
            seen.setdefault(topic, {})[stamp] = msg
    assert list(seen["/camera/image/compressed"]) == list(images) and list(seen["/points"]) == list(scans)
    picture = decode_image(seen["/camera/image/compressed"][int(images[3])]).astype(int)
    assert np.abs(picture - sequence.image(int(images[3]))).mean() < 5  # JPEG of noise
    info = seen["/camera/camera_info"][int(images[3])]
    np.testing.assert_allclose(info.k.reshape(3, 3), sequence.calibration.K)
    assert (info.width, info.height, info.header.frame_id) == (153, 128, "camera_optical_frame")
    cloud, raw = seen["/points"][int(scans[4])], sequence.scan(int(scans[4]))
    fields = decode_cloud_fields(cloud)
    assert list(fields) == ["x", "y", "z", "intensity", "ring", "time"] and fields["ring"].dtype == np.uint16
    for column, name in enumerate(fields):
        np.testing.assert_array_equal(fields[name].astype(np.float32), raw[:, column])
    trajectory = sequence.poses
    for topic in ("/odom", "/ground_truth/pose"):
        for stamp, msg in seen[topic].items():
            pose = msg.pose.pose if topic == "/odom" else msg.pose
            T = trajectory.at(stamp)
            assert [pose.position.x, pose.position.y, pose.position.z] == pytest.approx(T[:3, 3].tolist())
    odometry = seen["/odom"][int(trajectory.stamps_ns[5])]
    linear, angular = (v[5] for v in sequence.velocities)
    twist = odometry.twist.twist
    assert [twist.linear.x, twist.linear.y, twist.angular.z] == pytest.approx([*linear[:2], angular[2]])
    assert (odometry.header.frame_id, odometry.child_frame_id) == ("odom", "base_link")


def test_a_drive_of_the_bag_is_the_set_of_samples(folders, bags):
    """Two ways to one picture, pose and cloud: the loader's, and through the bag, TF and the odometry."""
    samples = BoreasSamples([folders[0]], every=1, reduce=1, points=None)
    with Drive(bags[0], load_clouds=True) as drive:
        observations = {o.stamp_ns: o for o in drive if o.T_map_base is not None and o.cloud is not None}
    assert len(samples) > 20 and set(samples.stamps_ns.tolist()) <= set(observations)
    for i in range(0, len(samples), 4):
        sample, other = samples[i], observations[int(samples.stamps_ns[i])]
        np.testing.assert_allclose(sample.T_world_base, other.T_map_base, atol=1e-6)
        np.testing.assert_allclose(sample.T_world_base, other.T_odom_base, atol=1e-6)
        np.testing.assert_allclose(sample.cloud, other.cloud, atol=1e-3)
        assert np.abs(sample.image.astype(int) - other.image).mean() < 5


def test_a_kill_changes_nothing_in_the_end(folders, bags, tmp_path):
    program = (
        "import os, sys\n"
        "from vpr_ros.training.data.convert.boreas import convert_boreas\n"
        "def tell(done, total):\n"
        "    if done == 60: os.kill(os.getpid(), 9)\n"
        "convert_boreas(sys.argv[1], sys.argv[2], reduce=1, part_bytes=300_000, progress=tell)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(folders[0]), str(tmp_path / "bag")], check=False)
    assert killed.returncode == -9 and not (tmp_path / "bag" / "metadata.yaml").exists()
    result = convert_boreas(folders[0], tmp_path / "bag", reduce=1, part_bytes=300_000)
    assert result.parts > result.kept_parts >= 1
    convert_boreas(folders[0], tmp_path / "whole" / "bag", reduce=1, part_bytes=300_000)
    files = sorted(p.name for p in (tmp_path / "bag").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "whole" / "bag").iterdir())
    assert all((tmp_path / "bag" / f).read_bytes() == (tmp_path / "whole" / "bag" / f).read_bytes() for f in files)
    with pytest.raises(VprError, match="is a complete bag already"):
        convert_boreas(folders[0], tmp_path / "bag", reduce=1, part_bytes=300_000)


def test_what_may_be_left_out_and_what_may_not(folders, tmp_path):
    folder = shutil.copytree(folders[0], tmp_path / FIRST)
    torn = sorted((folder / "camera").iterdir())[2]
    torn.write_bytes(torn.read_bytes()[:-100])
    shutil.rmtree(folder / "lidar")
    with pytest.raises(VprError, match="lidar is missing: .* leave clouds out with --no-lidar"):
        convert_boreas(folder, tmp_path / "a")
    result = convert_boreas(folder, tmp_path / "b", reduce=3, lidar=False)
    assert dict(result.skipped) == {"pictures": 1} and torn.name in result.first_errors["pictures"]
    with Drive(tmp_path / "b") as drive:
        assert next(iter(drive)).image.shape == (42, 51, 3)
    shutil.rmtree(folder / "applanix")
    with pytest.raises(VprError, match="lidar_poses.csv cannot be read .* --no-poses"):
        convert_boreas(folder, tmp_path / "c", lidar=False)
    convert_boreas(folder, tmp_path / "c", lidar=False, poses=False)
    with Bag(tmp_path / "c") as bag:
        assert {t.name for t in bag.topics} == {"/camera/image/compressed", "/camera/camera_info", "/tf_static"}
    for path in sorted((folder / "camera").iterdir()):
        path.write_bytes(b"\x89PNG")
    with pytest.raises(VprError, match="no picture of .*camera can be read to begin with"):
        convert_boreas(folder, tmp_path / "d", lidar=False, poses=False)


def test_the_command_converts_and_speaks(folders, tmp_path):
    run = vpr("convert", "boreas", folders[0], "-o", tmp_path / "bag", "--reduce", "2")
    assert run.exit_code == 0 and "messages in 1 file" in run.output, run.output
    report = vpr("doctor", tmp_path / "bag")
    assert report.exit_code == 0 and "jpeg 76x64" in report.output, report.output
    again = vpr("convert", "boreas", folders[0], "-o", tmp_path / "bag", "--reduce", "2")
    assert again.exit_code == 2 and "complete bag already" in again.output
    wrong = vpr("convert", "boreas", folders[0].parent, "-o", tmp_path / "other")
    assert wrong.exit_code == 2 and "holds 2 sequences; give one of them" in wrong.output


def test_from_the_folder_through_a_teacher_to_an_evaluation(folders):
    """One training batch of a small MinkLoc++ on pairs of the two drives, then AR@1 by the benchmark's rule."""
    from vpr_ros.training.data.augment.clouds import CLOUD_AUGMENTS
    from vpr_ros.training.data.augment.minkloc_images import ImageAugmentConfig
    from vpr_ros.training.data.sampling.masks import masks_by_position
    from vpr_ros.training.data.sampling.pairs import PairBatchSampler
    from vpr_ros.training.evaluation import run_pairs
    from vpr_ros.training.losses.triplet import batch_hard_triplet
    from vpr_ros.training.teacher.tuples import TeacherTuples, TupleBatches
    from vpr_ros.training.teachers.inputs import collate
    from vpr_ros.training.teachers.registry import load_teacher

    samples = BoreasSamples(folders, every=1, reduce=2, points=1000)
    torch.manual_seed(0)
    teacher = load_teacher(
        "distilvpr-minkloc++",
        sparse="torch",
        cloud_dim=16,
        image_dim=16,
        voxel_size=1.0,
        cloud_planes=(8, 8, 8),
        image_planes=(8, 8, 8),
        image_size=(64, 80),
    ).train()
    cloud = CLOUD_AUGMENTS["distilvpr-boreas"]
    tuples = TeacherTuples(samples, ("image", "cloud"), cloud, ImageAugmentConfig())
    batches = TupleBatches(lambda items, rng: collate(items, teacher.inputs, rng), cloud)
    keys = next(iter(PairBatchSampler(samples, 8, positive_m=6.0)))
    batch = batches([tuples[key] for key in keys])
    rows = batch["rows"]
    drawn = rows.numpy()
    positive, negative = masks_by_position(samples.nearness.among(drawn), drawn, positive_m=6.0, non_negative_m=12.0)
    assert positive.any(1).all() and negative.any()
    triplets = batch_hard_triplet(teacher(**batch["inputs"]), positive, negative, margin=2.0)
    triplets.loss.backward()
    assert triplets.active and all(p.grad is not None and torch.isfinite(p.grad).all() for p in teacher.parameters())
    teacher.eval()
    with torch.no_grad():
        chunks = [list(range(i, min(i + 16, len(samples)))) for i in range(0, len(samples), 16)]
        embeddings = np.concatenate(
            [teacher(**collate([samples[i] for i in chunk], teacher.inputs)).numpy() for chunk in chunks]
        )
    result = run_pairs(
        embeddings, samples.positions_m, samples.drives, samples.areas, radius_m=6.0, conditions=samples.conditions
    )
    assert len(result.pairs) == 2 and result.counted == len(samples) and 0 < result.ar1 <= 1
    assert {p.query_condition for p in result.pairs} == {"", "clouds"}
    at = samples.positions_m  # a descriptor that is the position itself finds every place
    assert run_pairs(at, at, samples.drives, samples.areas, radius_m=6.0).ar1 == 1


def test_from_the_bags_through_a_map_to_a_recall(bags, tmp_path):
    """The shipped network on both drives: mapped, localised, judged by the ground truth, and recorded as frames."""
    mapped = vpr("map", bags[0], "-o", tmp_path / "town.vpr")
    assert mapped.exit_code == 0, mapped.output
    located = vpr("localize", bags[1], "--map", tmp_path / "town.vpr", "-o", tmp_path / "run", "--no-report")
    assert located.exit_code == 0, located.output
    judged = vpr("eval", "run", tmp_path / "run", "--map-bag", bags[0], "--query-bag", bags[1], "--radius-m", "4")
    assert judged.exit_code == 0, judged.output
    recall = next(float(line.split()[-1]) for line in judged.output.splitlines() if "recall@1 (single" in line)
    assert recall > 0.8, judged.output  # chance is about 0.17
    frames = vpr("frames", bags[0], "-o", tmp_path / "set", "--spacing-m", "4")
    frames = vpr("frames", bags[1], "-o", tmp_path / "set", "--spacing-m", "4", "--condition", "autumn")
    assert frames.exit_code == 0, frames.output
    table = read_frame_table(tmp_path / "set")
    assert set(table.drives) == {"first", "second"} and all(table.clouds)
    gaps = np.linalg.norm(table.positions_m[:, None] - table.positions_m[None], axis=2)
    across = gaps[np.ix_(table.drives == "first", table.drives == "second")]
    assert (across.min(axis=1) < 4).mean() > 0.8  # both drives stand in one frame
    assert cv2.imread(str(table.images[0])).shape == (128, 153, 3)
