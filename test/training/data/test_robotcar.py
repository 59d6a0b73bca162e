"""RobotCar's raw layout against the world it was written from: pictures, scans, poses, and samples."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import robotcar_layout as layout

from vpr_ros.errors import FrameError, VprError
from vpr_ros.geometry import invert
from vpr_ros.sensors.stamps import nearest
from vpr_ros.training.data.datasets.robotcar.models import (
    MAP_ORIGIN,
    T_base_camera,
    T_base_lidar,
    T_map_base,
    default_model,
    demosaic,
    se3,
)
from vpr_ros.training.data.datasets.robotcar.readings import raw_velodyne_points, read_scan
from vpr_ros.training.data.datasets.robotcar.samples import RobotCar
from vpr_ros.training.data.datasets.robotcar.traversal import Traversal
from vpr_ros.training.data.sample import SampleSet

SUMMER, WINTER = layout.NAMES


@pytest.fixture(scope="module")
def traversal():
    return Traversal(layout.rendered()[0] / SUMMER)


@pytest.fixture(scope="module")
def world():
    return layout.rendered()[1][SUMMER]


def city_from_map(world):
    """Offset of the city's frame in the map frame: the two differ by a shift."""
    return np.array([world.utm[1] - MAP_ORIGIN[1], world.utm[0] - MAP_ORIGIN[0], 0.0])


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("camera", "pattern"), [("stereo/centre", "GBRG"), ("mono_left", "RGGB")])
def test_demosaicing_is_bilinear_in_the_cameras_pattern(camera, pattern):
    rng = np.random.default_rng(0)
    bayer = rng.integers(0, 256, (12, 14), dtype=np.uint8)
    channel = {(r, c): "RGB".index(pattern[2 * r + c]) for r in (0, 1) for c in (0, 1)}
    rgb = demosaic(bayer, camera)
    for y in range(1, 11):
        for x in range(1, 13):
            for k in range(3):
                # The nearest pixels of that colour: itself, else those at distance 1, else the diagonal ones.
                near = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if channel[(y + dy) % 2, (x + dx) % 2] == k]
                least = min(dy * dy + dx * dx for dy, dx in near)
                values = [float(bayer[y + dy, x + dx]) for dy, dx in near if dy * dy + dx * dx == least]
                assert abs(float(rgb[y, x, k]) - np.mean(values)) <= 1, (y, x, k)


def test_a_grey_world_stays_grey_to_the_borders():
    assert (demosaic(np.full((8, 10), 77, np.uint8), "stereo/left") == 77).all()


def test_undistortion_samples_where_the_table_says(traversal):
    model = traversal.camera("stereo/centre")
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (120, 160, 3), dtype=np.uint8), (0, 0), 1.5)
    out = model.undistort(image)
    data = np.fromfile(layout.rendered()[0] / "models" / "stereo_narrow_left_distortion_lut.bin", "<f8")
    assert len(data) == 2 * 120 * 160
    for y in range(0, 120, 7):
        for x in range(0, 160, 7):
            u, v = data[y * 160 + x], data[120 * 160 + y * 160 + x]
            a, b = int(np.floor(u)), int(np.floor(v))
            if not (0 <= a < 159 and 0 <= b < 119):
                continue
            f, g = u - a, v - b
            block = image[b : b + 2, a : a + 2].astype(float)
            expected = (1 - g) * ((1 - f) * block[0, 0] + f * block[0, 1]) + g * (
                (1 - f) * block[1, 0] + f * block[1, 1]
            )
            assert np.abs(out[y, x] - expected).max() <= 2.5  # OpenCV rounds positions to 1/32 pixel
    far = model.lut.copy()
    far[:10] = -50
    outside = replace(model, lut=far).undistort(np.full((120, 160, 3), 9, np.uint8))
    assert not outside[:10].any() and outside[20:100].all()


def test_pictures_come_back_through_mosaic_and_lens(traversal, world):
    stamp = int(traversal.stamps_ns("stereo/centre")[5])
    seen = world.picture(stamp // 1000, [1, stamp // 1000])
    raw = traversal.image("stereo/centre", stamp)
    assert raw.shape == seen.shape
    # A mosaic keeps a third of the numbers: compared without the finest detail, in brightness and in hue.
    soft_raw, soft_seen = (cv2.GaussianBlur(image.astype(np.float32), (0, 0), 2) for image in (raw, seen))
    assert np.abs(soft_raw - soft_seen).mean() < 3
    hue_raw, hue_seen = ((image[..., 0] - image[..., 2]).ravel() for image in (soft_raw, soft_seen))
    assert np.corrcoef(hue_raw, hue_seen)[0, 1] > 0.8
    model = traversal.camera("stereo/centre")
    straight = traversal.image("stereo/centre", stamp, model)
    assert (straight == model.undistort(raw)).all() and (straight != raw).any()
    assert (traversal.image("stereo/centre", stamp, traversal.camera("stereo/centre", undistort=False)) == raw).all()


# -- frames ------------------------------------------------------------------------------------------------------------


def test_angles_are_yaw_after_pitch_after_roll():
    values = np.random.default_rng(2).uniform(-3, 3, (20, 6))
    for row, T in zip(values, se3(*values.T), strict=True):
        np.testing.assert_allclose(T, layout.pose_matrix(*row), atol=1e-12)


@pytest.mark.parametrize(
    ("angles", "forward", "left"),
    [
        ((0, 0, 0), (0, 1, 0), (-1, 0, 0)),  # heading north: the map's y
        ((0, 0, np.pi / 2), (1, 0, 0), (0, 1, 0)),  # yaw turns clockwise seen from above: east
        ((0, np.pi / 6, 0), (0, np.cos(np.pi / 6), 0.5), (-1, 0, 0)),  # pitch lifts the nose
        ((np.pi / 6, 0, 0), (0, 1, 0), (-np.cos(np.pi / 6), 0, 0.5)),  # roll lowers the right side
    ],
)
def test_the_base_looks_where_the_ins_says(angles, forward, left):
    T = T_map_base(MAP_ORIGIN[0] + 7, MAP_ORIGIN[1] + 3, -112.0, *angles)
    np.testing.assert_allclose(T[:3, 3], [3, 7, 2], atol=1e-9)
    np.testing.assert_allclose(T[:3, 0], forward, atol=1e-12)
    np.testing.assert_allclose(T[:3, 1], left, atol=1e-12)
    np.testing.assert_allclose(np.cross(T[:3, 0], T[:3, 1]), T[:3, 2], atol=1e-12)


def test_sensors_sit_where_the_car_has_them():
    """Forward, left, up of the INS, from the printed numbers by eye, to a hand's breadth."""
    for sensor, place in {
        "lms_front": (3.47, -0.11, 0.15),
        "lms_rear": (-0.87, -0.17, 0.11),
        "velodyne_left": (1.1, 0.46, 1.46),
        "velodyne_right": (1.1, -0.44, 1.46),
    }.items():
        np.testing.assert_allclose(T_base_lidar(sensor)[:3, 3], place, atol=0.2, err_msg=sensor)
    for camera, axis in {
        "stereo/centre": (1, 0, 0),
        "mono_left": (0, 1, 0),
        "mono_right": (0, -1, 0),
        "mono_rear": (-1, 0, 0),
    }.items():
        T = T_base_camera(camera)
        assert T[:3, 2] @ axis > 0.9, camera  # looks that way
        assert T[:3, 1] @ (0, 0, -1) > 0.9, camera  # its rows run down
    left, right = T_base_camera("stereo/left"), T_base_camera("stereo/right")
    np.testing.assert_allclose(invert(left) @ right @ [0, 0, 0, 1], [0.239983, 0, 0, 1], atol=1e-9)
    # The front laser sweeps a plane across the street: its z axis points along the car, its x axis down.
    R = T_base_lidar("lms_front")[:3, :3]
    assert abs(R[0, 2]) > 0.98 and R[2, 0] < -0.98


def test_poses_are_those_of_the_drive(traversal, world):
    for trajectory in (traversal.ins, traversal.poses("rtk")):
        for stamp in trajectory.stamps_ns[:: len(trajectory) // 20]:
            expected = world.T_city_ins(int(stamp) // 1000)
            T = trajectory.at(int(stamp))
            np.testing.assert_allclose(T[:3, :3], expected[:3, :3], atol=1e-6)
            np.testing.assert_allclose(T[:3, 3], expected[:3, 3] + city_from_map(world), atol=1e-5)
    speed = np.linalg.norm(traversal.ins_velocity_mps, axis=1)
    assert 7 < np.median(speed) < 9  # driven at 8 m/s
    moved = np.diff(traversal.ins.T[:, :3, 3], axis=0) / 0.02
    assert (
        np.abs(moved - traversal.ins_velocity_mps[1:]).max() < 2.5
        and np.abs(np.median(moved - traversal.ins_velocity_mps[1:], axis=0)).max() < 0.1
    )


# -- scans -------------------------------------------------------------------------------------------------------------


def in_city(traversal, world, sensor, stamp):
    T = traversal.ins.at(int(stamp))
    T[:3, 3] -= city_from_map(world)
    M = T @ T_base_lidar(sensor)
    return traversal.scan(sensor, int(stamp))[:, :3] @ M[:3, :3].T + M[:3, 3]


@pytest.mark.parametrize(
    ("sensor", "mounting", "below"),
    [("lms_front", layout.LMS_FRONT, 0.0), ("velodyne_left", layout.VELODYNE_LEFT, -0.090805)],
)
def test_scans_lie_on_the_surfaces_of_the_city(traversal, world, sensor, mounting, below):
    for stamp in traversal.stamps_ns(sensor)[2:8:2]:
        points = in_city(traversal, world, sensor, stamp)
        assert len(points) > 50 and (np.abs(points[:, 2]) < 0.06).mean() > 0.15  # the street is at height 0
        T = world.T_city_vehicle(int(stamp) // 1000) @ layout.pose_matrix(*mounting)
        origin = (T @ [0, 0, below, 1])[:3]
        reach = np.linalg.norm(points - origin, axis=1)
        hit = world.cast(np.tile(origin, (len(points), 1)), (points - origin) / reach[:, None])["t_hit"]
        assert (np.abs(hit - reach) < 0.05).mean() > 0.97  # an edge may be missed by a hair


def test_the_cloud_falls_on_what_the_camera_sees(traversal, world):
    model = traversal.camera("stereo/centre")
    checked, right = 0, 0
    images = traversal.stamps_ns("stereo/centre")
    for stamp in traversal.stamps_ns("velodyne_left")[2:6]:
        image = int(images[nearest(np.array([stamp]), images)[0, 0]])
        T_camera = traversal.ins.at(image) @ model.T_base_optical
        points = traversal.scan("velodyne_left", int(stamp))[:, :3]
        M = invert(T_camera) @ traversal.ins.at(int(stamp)) @ T_base_lidar("velodyne_left")
        local = points @ M[:3, :3].T + M[:3, 3]
        uv = local[:, :2] / local[:, 2:] * model.K[[0, 1], [0, 1]] + model.K[:2, 2]
        seen = (local[:, 2] > 2) & (uv > 0).all(axis=1) & (uv < [159, 119]).all(axis=1)
        local = local[seen]
        assert len(local) > 100
        reach = np.linalg.norm(local, axis=1)
        T = world.T_city_vehicle(image // 1000)
        rays = (local / reach[:, None])[:, [2, 0, 1]] @ T[:3, :3].T
        hit = world.cast(np.tile(T[:3, 3], (len(rays), 1)), rays)["t_hit"]
        checked += len(local)
        right += int((np.abs(hit - reach) < 0.3).sum())
    assert right / checked > 0.85


def test_raw_velodyne_images_are_read_pixel_by_pixel(traversal, world):
    stamp = int(traversal.stamps_ns("velodyne_left")[3])
    ranges, azimuth = world.velodyne(stamp // 1000)
    found = traversal.scan("velodyne_left", stamp)
    expected = []
    for beam in range(32):
        elevation = np.radians(32 / 3 - beam * 4 / 3)
        for k, tick in enumerate(azimuth):
            r = round(ranges[beam, k] / 0.002) * 0.002
            if r > 1.0:
                a = np.radians(tick / 100)
                expected.append(
                    [
                        r * np.cos(elevation) * np.sin(a),
                        -r * np.cos(elevation) * np.cos(a),
                        -r * np.sin(elevation) - 0.090805,
                        beam,
                    ]
                )
    np.testing.assert_allclose(found, expected, atol=1e-4)
    image = np.zeros((100, 2), np.uint8)
    image[32:96:2, 0], image[33:96:2, 0] = 500 & 255, 500 >> 8  # exactly 1 m: not beyond the least range
    image[32:96:2, 1], image[33:96:2, 1] = 501 & 255, 501 >> 8
    assert len(raw_velodyne_points(image)) == 32


def test_binary_scans_of_every_laser(tmp_path):
    points = np.random.default_rng(5).normal(size=(7, 4)).astype(np.float32)
    (tmp_path / "1.bin").write_bytes(points.T.astype("<f4").tobytes())  # all x, all y, all z, all intensities
    np.testing.assert_array_equal(read_scan(tmp_path / "1.bin", "velodyne_left"), points)
    triples = points[:, :3].astype("<f8")
    (tmp_path / "2.bin").write_bytes(triples.tobytes())
    lms, ldmrs = read_scan(tmp_path / "2.bin", "lms_rear"), read_scan(tmp_path / "2.bin", "ldmrs")
    np.testing.assert_allclose(lms, np.column_stack([triples[:, :2], np.zeros(7), triples[:, 2]]))
    np.testing.assert_allclose(ldmrs, np.column_stack([triples, np.zeros(7)]))
    (tmp_path / "3.bin").write_bytes(b"")
    assert read_scan(tmp_path / "3.bin", "lms_front").shape == (0, 4)
    (tmp_path / "4.bin").write_bytes(b"12345")
    for path, sensor in [
        ("4.bin", "lms_front"),
        ("4.bin", "velodyne_left"),
        ("9.bin", "ldmrs"),
        ("9.png", "velodyne_left"),
    ]:
        with pytest.raises(FrameError, match=path):
            read_scan(tmp_path / path, sensor)


def test_converted_scans_are_preferred_to_raw_ones(tmp_path):
    folder = layout.copy(tmp_path)
    stamp = int(Traversal(folder).stamps_ns("velodyne_left")[0])
    assert len(Traversal(folder).scan("velodyne_left", stamp)) > 100
    points = np.ones((3, 4), "<f4")
    (folder / "velodyne_left" / f"{stamp // 1000}.bin").write_bytes(points.T.tobytes())
    assert Traversal(folder).scan("velodyne_left", stamp).shape == (3, 4)


# -- samples -----------------------------------------------------------------------------------------------------------


def test_samples_with_submaps_of_the_front_laser(world):
    root = layout.rendered()[0]
    samples = RobotCar([root / SUMMER, root / WINTER], every_m=4.0, conditions={SUMMER: "summer/day"})
    assert isinstance(samples, SampleSet) and samples.cloud_unit == "m"
    assert set(samples.drives) == {SUMMER, WINTER} and set(samples.areas) == {"robotcar"}
    assert set(samples.conditions[samples.drives == SUMMER]) == {"summer/day"}
    for name in (SUMMER, WINTER):
        at = samples.positions_m[samples.drives == name]
        assert len(at) >= 4
        assert (np.linalg.norm(np.diff(at, axis=0), axis=1) > 3.9).all()
    # Both traversals of the street lie in one frame, whatever their first poses.
    summer, winter = (samples.positions_m[samples.drives == n] for n in (SUMMER, WINTER))
    assert np.linalg.norm(summer[:, None] - winter[None], axis=-1).min(axis=1).max() < 6
    sample = samples[1]
    assert sample.image.shape == (120, 160, 3) and sample.cloud.shape == (4096, 3) and sample.cloud.dtype == np.float32
    assert sample.stamp_ns == samples.stamps_ns[1] and sample.drive == SUMMER and sample.place == -1
    np.testing.assert_allclose(sample.T_world_base[:2, 3], samples.positions_m[1])
    T = sample.T_world_base
    np.testing.assert_allclose(np.arctan2(T[1, 0], T[0, 0]), samples.headings_rad[1])
    np.testing.assert_array_equal(samples[1].cloud, sample.cloud)
    # Twenty metres around the picture, seen through a laser 3.5 m ahead of the base.
    x = np.median(sample.cloud[:, 0])
    assert 0 < x < 7 and 12 < np.ptp(sample.cloud[:, 0]) < 40
    T = sample.T_world_base.copy()
    T[:3, 3] -= city_from_map(world)
    assert (sample.cloud @ T[:3, :3].T + T[:3, 3])[:, 2].min() > 0.05  # the ground is gone


def test_samples_with_the_nearest_velodyne_scan():
    root = layout.rendered()[0]
    samples = RobotCar(root / SUMMER, lidar="velodyne_left", every_m=0.0, undistort=False)
    traversal = samples.traversals[0]
    scans = traversal.stamps_ns("velodyne_left")
    assert len(samples) > 5
    for i in (0, 3):
        gap = np.abs(scans - samples.stamps_ns[i])
        assert gap.min() <= 0.1e9
        stamp = int(scans[np.argmin(gap)])
        M = invert(traversal.ins.at(int(samples.stamps_ns[i]))) @ traversal.ins.at(stamp)
        M = M @ T_base_lidar("velodyne_left")
        expected = traversal.scan("velodyne_left", stamp)[:, :3] @ M[:3, :3].T + M[:3, 3]
        np.testing.assert_allclose(samples[i].cloud, expected, atol=1e-4)
    assert RobotCar(root / SUMMER, lidar=None, poses="rtk")[0].cloud is None


# -- what is missing or wrong ------------------------------------------------------------------------------------------


def overwrite(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


def remove(folder, pattern, keep=0):
    for path in sorted(folder.glob(pattern))[keep:]:
        path.unlink()


def replace_line(path, number, text):
    lines = path.read_text().splitlines()
    lines[number] = text
    path.write_text("\n".join(lines) + "\n")


PNG, INS, TABLE = "stereo/centre/*.png", "gps/ins.csv", "models/stereo_narrow_left_distortion_lut.bin"
FAR = layout.INS_HEADER + "\n1,G,0,0,0,5735000,620000,-110,30U,0,0,0,0,0,0\n"
DAMAGES = {
    "no list": (lambda f: (f / "stereo.timestamps").unlink(), ["stereo.timestamps is missing"]),
    "no folder": (lambda f: (f / "stereo" / "centre").rename(f / "moved"), ["stereo/centre is missing", "<16 digits"]),
    "half a chunk": (lambda f: remove(f, PNG, keep=18), ["lacks 5 of the 11 files of chunk 2", "again"]),
    "empty files": (lambda f: [overwrite(p, b"") for p in sorted(f.glob(PNG))[:4]], ["lacks 4 of the 12", "chunk 1"]),
    "nothing unpacked": (lambda f: remove(f, PNG), ["holds none of the 23 readings"]),
    "torn list": (lambda f: overwrite(f / "stereo.timestamps", "1400505893173765 1\n14005058"), ["line 2", "torn"]),
    "binary list": (lambda f: overwrite(f / "stereo.timestamps", b"\xff\xfe\x00"), ["cannot be read"]),
    "demosaiced": (
        lambda f: [cv2.imwrite(str(p), np.zeros((120, 160, 3), np.uint8)) for p in f.glob(PNG)],
        ["no picture of stereo/centre can be read", "Bayer"],
    ),
    "torn pictures": (
        lambda f: [overwrite(p, p.read_bytes()[:900]) for p in f.glob(PNG)],
        ["is cut short: its lower part is missing"],
    ),
    "no models": (
        lambda f: (f.parent / "models").rename(f.parent / "moved"),
        ["stereo_narrow_left.txt is missing", "models/"],
    ),
    "no table": (lambda f: (f.parent / TABLE).unlink(), ["_lut.bin is missing"]),
    "short table": (lambda f: overwrite(f.parent / TABLE, b"0" * 99), ["99 bytes", "307200"]),
    "model text": (lambda f: overwrite(f.parent / "models" / "stereo_narrow_left.txt", "fx fy"), ["no camera model"]),
    "no ins": (lambda f: (f / INS).unlink(), ["ins.csv cannot be read"]),
    "empty ins": (lambda f: overwrite(f / INS, ""), ["lacks the columns", "northing"]),
    "header only": (lambda f: overwrite(f / INS, layout.INS_HEADER + "\n"), ["holds no pose"]),
    "torn ins": (lambda f: overwrite(f / INS, (f / INS).read_text()[:3000]), ["line", "torn"]),
    "wrong number": (lambda f: replace_line(f / INS, 5, "1400505893170765,GOOD,x"), ["line 6"]),
    "no scans": (lambda f: (f / "lms_front").rename(f / "gone"), ["lms_front is missing"]),
    "other poses": (lambda f: overwrite(f / INS, FAR), ["the poses cover no scan of lms_front"]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_missing_or_torn_is_told_in_a_sentence(tmp_path, damage):
    folder = layout.copy(tmp_path)
    spoil, fragments = DAMAGES[damage]
    spoil(folder)
    with pytest.raises(VprError) as error:
        RobotCar(folder)
    sentence = str(error.value)
    assert "\n" not in sentence and all(f in sentence for f in fragments), sentence


def test_a_chunk_that_was_not_fetched_is_left_out(tmp_path):
    folder = layout.copy(tmp_path)
    remove(folder, PNG, keep=12)
    remove(folder, "lms_front/*.bin", keep=141)
    readings = Traversal(folder).readings("stereo/centre")
    assert readings.absent_chunks == (2,) and len(readings.stamps_us) == 12 and readings.missing == 0
    assert len(Traversal(folder).stamps_ns("lms_front")) == 141


def test_a_reading_now_and_then_may_be_missing(tmp_path):
    folder = layout.copy(tmp_path)
    sorted((folder / "lms_front").glob("*.bin"))[20].unlink()
    readings = Traversal(folder).readings("lms_front")
    assert readings.missing == 1 and len(readings.stamps_us) == 281


def test_folders_that_are_no_traversal(tmp_path):
    root = layout.rendered()[0]
    with pytest.raises(VprError, match="holds 2 traversals"):
        Traversal(root)
    with pytest.raises(VprError, match="neither"):
        Traversal(tmp_path)
    with pytest.raises(VprError, match="not a folder"):
        Traversal(tmp_path / "nowhere")
    (tmp_path / "applanix").mkdir()
    with pytest.raises(VprError, match="convert boreas"):
        Traversal(tmp_path)


def test_names_that_do_not_exist(traversal):
    for wrong in (
        lambda: traversal.readings("mono_front"),
        lambda: default_model("stereo/middle"),
        lambda: traversal.poses("gps"),
        lambda: RobotCar(traversal.folder, lidar="radar"),
    ):
        with pytest.raises(VprError, match=r"mono_front|stereo/middle|'gps'|radar"):
            wrong()


def test_rtk_is_found_named_or_missed(tmp_path):
    folder = layout.copy(tmp_path, WINTER)
    assert Traversal(folder).rtk is None
    with pytest.raises(VprError, match=r"no RTK ground truth.*rtk\.csv"):
        Traversal(folder).poses("rtk")
    source = tmp_path / "rtk" / SUMMER / "rtk.csv"
    with pytest.raises(VprError, match=r"nowhere\.csv is missing"):
        _ = Traversal(folder, rtk=tmp_path / "nowhere.csv").rtk
    assert len(Traversal(folder, rtk=source).poses("rtk")) > 100
    (folder / "rtk.csv").write_bytes(source.read_bytes())
    assert Traversal(folder).rtk_path == folder / "rtk.csv"


def test_a_torn_picture_or_scan_of_a_sample_names_its_file(tmp_path):
    folder = layout.copy(tmp_path)
    samples = RobotCar(folder, every_m=5.0)
    stamp = int(samples.stamps_ns[0]) // 1000
    overwrite(folder / "stereo" / "centre" / f"{stamp}.png", b"\x89PNG")
    with pytest.raises(VprError, match=f"{stamp}.png"):
        _ = samples[0]
    for path in (folder / "lms_front").glob("*.bin"):
        overwrite(path, path.read_bytes()[:-3])
    with pytest.raises(VprError, match=r"lms_front/\d+\.bin has"):
        _ = samples[1]
