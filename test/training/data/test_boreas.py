"""The Boreas layout: poses, calibration, pairs, splits, and what is said about folders that are not whole."""

import shutil

import boreas_layout
import cv2
import numpy as np
import pytest

from vpr_ros.errors import FrameError, VprError
from vpr_ros.training.data.datasets.boreas import calibration
from vpr_ros.training.data.datasets.boreas.readings import read_poses, read_scan, stamp_to_ns
from vpr_ros.training.data.datasets.boreas.samples import BoreasPrepared, BoreasSamples, rows_with_spacing
from vpr_ros.training.data.datasets.boreas.sequence import TEST, TRAIN, BoreasSequence, find_sequences
from vpr_ros.training.data.sample import SampleSet

NAME = TRAIN[0]
SHIFT = np.array(boreas_layout.ENU_REF) - calibration.MAP_ORIGIN


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A sequence on disk that no test changes, and the world it shows."""
    root = tmp_path_factory.mktemp("boreas")
    world = boreas_layout.write_sequence(root, NAME, length_m=24.0, camera_hz=5.0, lidar_hz=4.8)
    return root / NAME, world


@pytest.fixture
def folder(written, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(written[0], tmp_path / NAME)


def naive_rotation(r, p, y):
    c, s = np.cos, np.sin
    roll = np.array([[1, 0, 0], [0, c(r), s(r)], [0, -s(r), c(r)]])
    pitch = np.array([[c(p), 0, -s(p)], [0, 1, 0], [s(p), 0, c(p)]])
    yaw = np.array([[c(y), s(y), 0], [-s(y), c(y), 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def test_rotation_is_the_passive_product():
    angles = np.random.default_rng(0).uniform(-1.5, 1.5, (20, 3))
    for one, C in zip(angles, calibration.rotation(*angles.T), strict=True):
        np.testing.assert_allclose(C, naive_rotation(*one), atol=1e-12)


@pytest.mark.parametrize(
    "text, ns",
    [
        ("1628184886438099", 1628184886438099000),
        ("1628184886438099123", 1628184886438099123),
        ("1628184886.438099", 1628184886438099000),
        ("1628184886438.099", 1628184886438099000),
        (" 1628184886438099.0 ", 1628184886438099000),
        ("1628184886", 1628184886000000000),
    ],
)
def test_unit_of_a_stamp_follows_from_its_digits(text, ns):
    assert stamp_to_ns(text) == ns


@pytest.mark.parametrize("text", ["", "GPSTime", "12345", "-1628184886438099", "nan", "162818488643809"])
def test_other_stamps_are_refused(text):
    with pytest.raises(ValueError):
        stamp_to_ns(text)


def test_poses_are_those_of_the_car(written):
    folder, world = written
    sequence = BoreasSequence(folder)
    assert sequence.kind == "utm"
    for stamp, T in zip(sequence.poses.stamps_ns, sequence.poses.T, strict=True):
        T_city_ins = world.T_city_ins(stamp // 1000)
        np.testing.assert_allclose(T[:3, 3], T_city_ins[:3, 3] + SHIFT, atol=1e-5)
        np.testing.assert_allclose(T[:3, :3], T_city_ins[:3, :3] @ boreas_layout.CAR_IN_INS, atol=1e-7)
    T = sequence.poses.T
    assert (np.einsum("nj,nj->n", np.diff(T[:, :3, 3], axis=0), T[:-1, :3, 0]) > 1.5).all()  # it drives forward


def test_velocities_are_derivatives_of_the_poses(written):
    sequence = BoreasSequence(written[0])
    linear, angular = sequence.velocities
    stamps, T = sequence.poses.stamps_ns, sequence.poses.T
    for i in range(1, len(T) - 1):
        dt = (stamps[i + 1] - stamps[i - 1]) * 1e-9
        np.testing.assert_allclose(linear[i], T[i, :3, :3].T @ (T[i + 1, :3, 3] - T[i - 1, :3, 3]) / dt, atol=0.03)
        turn = cv2.Rodrigues(T[i - 1, :3, :3].T @ T[i + 1, :3, :3])[0].ravel() / dt
        np.testing.assert_allclose(angular[i], turn, atol=0.01)


def test_poses_of_the_camera_stand_in_where_the_lidar_was_not_fetched(written, folder):
    (folder / "applanix" / "lidar_poses.csv").unlink()
    shutil.rmtree(folder / "lidar")
    whole, half = BoreasSequence(written[0]).poses, BoreasSequence(folder).poses
    for stamp in half.stamps_ns[2:-2]:
        np.testing.assert_allclose(half.at(stamp), whole.at(stamp), atol=0.02)
    samples = BoreasSamples([folder], sensors=("camera",), every=1, reduce=1)
    assert samples[0].cloud is None and samples[0].image is not None
    assert list(samples.stamps_ns) == list(BoreasSequence(folder).stamps_ns("camera"))


def test_every_point_lies_on_the_scene_at_its_own_time(written):
    """Points as measured, one by one: from where the LiDAR was at that moment, the ray ends at the point."""
    folder, world = written
    sequence = BoreasSequence(folder)
    stamp = int(sequence.stamps_ns("lidar")[4])
    points = sequence.scan(stamp)
    assert points.dtype == np.float32 and points.shape[1] == 6
    assert points[:, 5].min() < -0.045 and points[:, 5].max() > 0.045
    for x, y, z, _, _, dt in points[::97].astype(np.float64):
        T = sequence.poses.at(stamp + round(dt * 1e9)) @ sequence.T_base_lidar
        end = T @ [x, y, z, 1]
        origin, ray = T[:3, 3] - SHIFT, (end[:3] - T[:3, 3]) / np.linalg.norm(end[:3] - T[:3, 3])
        hit = world.cast(origin, ray[None])["t_hit"][0]
        # Poses are interpolated over 0.2 s, so grazing rays may end somewhat off.
        assert hit == pytest.approx(np.linalg.norm([x, y, z]), rel=0.05, abs=0.1)


def test_samples_are_pictures_with_the_nearest_scan_at_their_own_time(written):
    folder, world = written
    samples = BoreasSamples([folder], every=2, reduce=2, points=300)
    assert isinstance(samples, SampleSet)
    sequence, poses = samples.sequences[0], samples.sequences[0].poses
    scans = [int(p.stem) * 1000 for p in (folder / "lidar").glob("*.bin")]
    assert len(samples) > 3 and set(np.diff(np.searchsorted(sequence.stamps_ns("camera"), samples.stamps_ns))) == {2}
    for i in range(len(samples)):
        sample, stamp = samples[i], int(samples.stamps_ns[i])
        full = cv2.imread(str(folder / "camera" / f"{stamp // 1000}.png"))[..., ::-1]
        np.testing.assert_array_equal(sample.image, cv2.resize(full, (76, 64), interpolation=cv2.INTER_AREA))
        np.testing.assert_allclose(sample.T_world_base, poses.at(stamp), atol=1e-9)
        nearest = min(scans, key=lambda t: abs(t - stamp))
        assert abs(nearest - stamp) <= 100_000_000
        raw = sequence.scan(nearest)[:, :3].astype(np.float64)
        # LiDAR -> INS (right, forward, up) -> car (forward, left, up), by hand; then to the picture's time.
        ins = raw @ boreas_layout.lidar_in_ins()[:3, :3].T + boreas_layout.LIDAR_AT
        car = np.stack([ins[:, 1], -ins[:, 0], ins[:, 2], np.ones(len(ins))], axis=1)
        car = (car @ poses.at(nearest).T @ np.linalg.inv(poses.at(stamp)).T)[:, :3]
        assert sample.cloud.shape == (300, 3) and sample.cloud.dtype == np.float32
        assert np.linalg.norm(sample.cloud[:, None] - car[None], axis=2).min(axis=1).max() < 1e-4
        np.testing.assert_array_equal(sample.cloud, samples[i].cloud)  # the same points whenever it is read
        np.testing.assert_allclose(samples.positions_m[i], sample.T_world_base[:2, 3])
        forward = sample.T_world_base[:2, 0]
        assert samples.headings_rad[i] == pytest.approx(np.arctan2(forward[1], forward[0]))
        assert sample.drive == NAME and sample.stamp_ns == stamp and samples.areas[i] == "boreas"


def test_scans_alone_stand_at_their_own_time(written):
    samples = BoreasSamples([written[0]], sensors=("lidar",), every=1, points=None)
    sequence = samples.sequences[0]
    assert list(samples.stamps_ns) == list(sequence.stamps_ns("lidar"))
    sample = samples[3]
    points = sequence.scan(sample.stamp_ns)[:, :3] @ sequence.T_base_lidar[:3, :3].T + sequence.T_base_lidar[:3, 3]
    assert sample.image is None
    np.testing.assert_allclose(sample.cloud, points, atol=1e-4)


def test_spacing_takes_scans_by_distance(written):
    samples = BoreasSamples([written[0]], spacing_m=5.0)
    gaps = np.linalg.norm(np.diff(samples.positions_m, axis=0), axis=1)
    assert len(samples) >= 4 and (gaps >= 5).all() and (gaps < 7).all()
    line = np.stack([np.arange(10.0), np.zeros(10)], axis=1)
    assert rows_with_spacing(line, 2.5).tolist() == [0, 3, 6, 9]
    assert rows_with_spacing(line, 1.0).tolist() == list(range(10))


def test_projected_points_meet_the_pictures_depth(written):
    """A cloud through calibration, poses and the camera: its depths are those of rays cast from the camera."""
    folder, world = written
    sequence = BoreasSequence(folder)
    c, stamp = sequence.calibration, int(sequence.stamps_ns("lidar")[5])
    camera = calibration.camera_of(c.K, sequence.image_size(), sequence.image_size())
    np.testing.assert_allclose(camera.K, [[91.3, 0, 76.4], [0, 91.2, 64.2], [0, 0, 1]])
    at = int(sequence.stamps_ns("camera")[np.abs(sequence.stamps_ns("camera") - stamp).argmin()])
    points = sequence.scan(stamp)
    points = points[np.abs(points[:, 5]) < 0.03][:, :3]  # of nearly one moment
    T = np.linalg.inv(sequence.poses.at(at) @ c.T_base_camera) @ sequence.poses.at(stamp) @ c.T_base_lidar
    seen = points @ T[:3, :3].T + T[:3, 3]
    pixels, visible = camera.project(seen)
    assert visible.sum() > 20
    T_city_camera = world.T_city_ins(at // 1000) @ boreas_layout.camera_in_ins()
    rays = np.column_stack([(pixels[visible] - [76.4, 64.2]) / [91.3, 91.2], np.ones(visible.sum())])
    hit = world.cast(T_city_camera[:3, 3], rays @ T_city_camera[:3, :3].T)["t_hit"]
    assert np.median(np.abs(hit - seen[visible, 2]) / seen[visible, 2]) < 0.02


def test_reduced_camera_sees_the_same_directions():
    full, K = (2048, 2448), np.array([[1460.98, 0, 1230.0], [0, 1460.93, 1035.08], [0, 0, 1.0]])
    small = calibration.camera_of(K, full, (256, 306))
    # The corner between pixels is the same place in both pictures, and pixel centres are whole numbers.
    points = np.array([[1.0, -2.0, 9.0], [-3.0, 1.0, 7.0]])
    large = points[:, :2] / points[:, 2:] * [1460.98, 1460.93] + [1230.0, 1035.08]
    np.testing.assert_allclose(small.project(points)[0], (large + 0.5) / 8 - 0.5, atol=1e-9)
    assert (small.width, small.height) == (306, 256)


def test_two_kinds_of_positions_are_not_mixed(written, folder):
    path = folder / "applanix" / "lidar_poses.csv"
    header, *lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines]
    for row in rows:
        row[1:4] = [str(float(v) - o) for v, o in zip(row[1:4], boreas_layout.ENU_REF, strict=True)]
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    relative, utm = BoreasSamples([folder], every=1), BoreasSamples([written[0]], every=1)
    np.testing.assert_allclose(relative.positions_m, utm.positions_m - SHIFT[:2], atol=1e-6)
    with pytest.raises(VprError, match=f"{NAME} is given twice"):
        BoreasSamples([written[0], folder])
    with pytest.raises(VprError, match="share no frame"):
        BoreasSamples([written[0], folder.rename(folder.parent / TRAIN[1])])


def test_splits_are_by_sequence(tmp_path):
    assert len(TRAIN) == len(TEST) == 6 and not set(TRAIN) & set(TEST)
    for name in (*TRAIN, *TEST, "other"):
        (tmp_path / name).mkdir()
    assert [p.name for p in find_sequences(tmp_path, "test")] == list(TEST)
    assert len(find_sequences(tmp_path)) == 12
    (tmp_path / TRAIN[2]).rmdir()
    with pytest.raises(VprError, match=f"lacks 1 of 6 sequences: {TRAIN[2]}"):
        find_sequences(tmp_path, "train")
    with pytest.raises(VprError, match="no split 'validation'"):
        find_sequences(tmp_path, "validation")
    with pytest.raises(VprError, match="holds no sequence"):
        find_sequences(tmp_path / TRAIN[0])
    with pytest.raises(VprError, match="is not a folder"):
        find_sequences(tmp_path / "nowhere")


def remove(folder, *names):
    for name in names:
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()


@pytest.mark.parametrize(
    "missing, sentence",
    [
        (["lidar"], "lidar is missing: the lidar readings .* <16 digits of microseconds>.bin"),
        (["camera"], "camera is missing: the camera readings .* <16 digits of microseconds>.png"),
        (["applanix"], "lidar_poses.csv cannot be read .* fetch the sequence's applanix/"),
        (["calib"], "T_applanix_lidar.txt cannot be read .* fetch the sequence's calib/"),
        (["calib/T_applanix_lidar.txt"], "T_applanix_lidar.txt cannot be read"),
        (["applanix", "calib"], "neither applanix/ nor calib/"),
    ],
)
def test_missing_parts_are_named(folder, missing, sentence):
    remove(folder, *missing)
    with pytest.raises(VprError, match=sentence):
        BoreasSamples([folder])


def test_half_a_download_is_told_and_may_be_wanted(folder):
    scans = sorted((folder / "lidar").iterdir())
    for path in scans[len(scans) // 2 :]:
        path.unlink()
    first = scans[len(scans) // 2].name
    lacking = len(scans) - len(scans) // 2
    with pytest.raises(VprError, match=f"lacks {lacking} of the {len(scans)} files .*the first is {first}"):
        BoreasSamples([folder])
    clouds = BoreasSamples([folder], sensors=("lidar",), every=1, partial=True)
    assert len(clouds) == len(scans) // 2
    scans[0].write_bytes(b"")  # what an interrupted download leaves counts as missing
    assert len(BoreasSamples([folder], sensors=("lidar",), every=1, partial=True)) == len(scans) // 2 - 1
    pictures = BoreasSamples([folder], every=1, max_gap_s=0.1, partial=True)  # those with a scan near by
    assert 0 < len(pictures) < len(BoreasSequence(folder).stamps_ns("camera"))
    assert pictures.stamps_ns.max() <= clouds.stamps_ns.max() + 100_000_000
    remove(folder, "lidar")
    (folder / "lidar").mkdir()
    with pytest.raises(VprError, match="lidar holds no <16 digits"):
        BoreasSamples([folder], partial=True)


def test_torn_files_are_named(folder):
    poses = folder / "applanix" / "lidar_poses.csv"
    lines = poses.read_text().splitlines()
    poses.write_text("\n".join([*lines[:4], lines[4][:40]]))
    with pytest.raises(VprError, match=r"lidar_poses.csv, line 5, is torn"):
        read_poses(poses)
    poses.write_text("\n".join(lines[1:]))
    with pytest.raises(VprError, match="lacks its header line"):
        read_poses(poses)
    poses.write_text(lines[0] + "\n")
    with pytest.raises(VprError, match="holds no pose"):
        read_poses(poses)
    scan = sorted((folder / "lidar").iterdir())[0]
    scan.write_bytes(scan.read_bytes()[:-5])
    with pytest.raises(FrameError, match="no multiple of the 24 of a point"):
        read_scan(scan)
    picture = sorted((folder / "camera").iterdir())[0]
    picture.write_bytes(picture.read_bytes()[:-200])
    sequence = BoreasSequence(folder)
    with pytest.raises(FrameError, match="is cut short: its lower part is missing"):
        sequence.image(int(picture.stem) * 1000)


@pytest.mark.parametrize(
    "text, sentence",
    [
        ("1 0 0 0\n0 1 0 0\n0 0 1\n", "is no matrix"),
        ("", "is no matrix"),
        ("a b c d\n" * 4, "is no matrix"),
        ("9 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "no rotation"),
        ("-1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", "no rotation"),
    ],
)
def test_torn_calibration_is_named(folder, text, sentence):
    (folder / "calib" / "T_camera_lidar.txt").write_text(text)
    with pytest.raises(VprError, match=f"T_camera_lidar.txt .*{sentence}"):
        _ = BoreasSequence(folder).calibration


def test_other_folders_are_told_apart(tmp_path, written):
    with pytest.raises(VprError, match="is not a folder"):
        BoreasSequence(tmp_path / "nothing")
    (tmp_path / "stereo.timestamps").write_text("")
    with pytest.raises(VprError, match="RobotCar traversal"):
        BoreasSequence(tmp_path)
    with pytest.raises(VprError, match=f"holds 1 sequences; give one of them, e.g. .*{NAME}"):
        BoreasSequence(written[0].parent)


def write_prepared(folder, count=5, origin=boreas_layout.ENU_REF):
    rng = np.random.default_rng(0)
    for sub in ("lidar_1_4096_interval10", "camera_lidar_interval10"):
        (folder / sub).mkdir(parents=True)
    lines = ["timestamp,northing,easting"]
    for i in range(count):
        t = 1606417097528152 + 1_036_000 * i
        np.save(folder / "lidar_1_4096_interval10" / f"{t}.npy", rng.normal(0, 20, (4096, 3)))
        cv2.imwrite(str(folder / "camera_lidar_interval10" / f"{t + 30_000}.png"), np.full((256, 306, 3), 40 * i, "u1"))
        lines.append(f"{t},{origin[1] + 9.0 * i},{origin[0] + i}")
    (folder / "pointcloud_locations_interval10.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_prepared_folders(tmp_path):
    folder = write_prepared(tmp_path / TEST[3])
    samples = BoreasPrepared([folder])
    assert isinstance(samples, SampleSet) and len(samples) == 5
    third = samples[3]
    assert third.cloud.shape == (4096, 3) and third.image.shape == (256, 306, 3) and third.image[0, 0, 0] == 120
    np.testing.assert_allclose(samples.positions_m[3], np.add(SHIFT[:2], [3, 27]))
    assert third.condition == "night" and third.drive == TEST[3] and third.T_world_base is None
    next((folder / "camera_lidar_interval10").iterdir()).unlink()
    with pytest.raises(VprError, match="lists 5 clouds, .* holds 5 .npy and camera_lidar_interval10/ 4 .png"):
        BoreasPrepared([folder])
    other = write_prepared(tmp_path / TEST[4])
    cloud = sorted((other / "lidar_1_4096_interval10").iterdir())[2]
    cloud.rename(cloud.with_name("1606417097528153.npy"))
    with pytest.raises(VprError, match="1606417097528153.npy is not a cloud that"):
        BoreasPrepared([other])
    (other / "pointcloud_locations_interval10.csv").write_text("timestamp,easting\n1,2\n")
    with pytest.raises(VprError, match="lacks one of the columns"):
        BoreasPrepared([other])
    with pytest.raises(VprError, match="interval10.csv cannot be read"):
        BoreasPrepared([tmp_path])
    with pytest.raises(VprError, match="partly of UTM size"):
        BoreasPrepared([write_prepared(tmp_path / TEST[0]), write_prepared(tmp_path / TEST[1], origin=(0, 0, 0))])
