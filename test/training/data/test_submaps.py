"""The submap builder against loops that do the published steps one point at a time."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import robotcar_layout as layout

from vpr_ros.errors import FrameError, VprError
from vpr_ros.sensors.clouds import cell_means
from vpr_ros.training.data.datasets.pointnetvlad.pickles import read_pickle
from vpr_ros.training.data.datasets.pointnetvlad.samples import PointNetVLAD, read_run
from vpr_ros.training.data.datasets.pointnetvlad.submaps import (
    SubmapConfig,
    assemble,
    ground_mask,
    make_submap,
    normalise,
    scan_rows,
    submap_windows,
    thin,
    with_exact_count,
    without_ground,
)
from vpr_ros.training.data.datasets.robotcar.models import MAP_ORIGIN
from vpr_ros.training.data.datasets.robotcar.submaps import write_pictures, write_submaps
from vpr_ros.training.data.datasets.robotcar.traversal import Traversal

CONFIG = SubmapConfig()
SUMMER = layout.NAMES[0]


def drive(n=400, seed=0):
    """Poses (n, 4, 4) of a winding drive that stops, creeps and turns on the spot."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.0, 0.004, 0.02, 0.3], n, p=[0.2, 0.2, 0.2, 0.4])
    turns = rng.choice([0.0, 0.2, 0.7], n, p=[0.8, 0.1, 0.1]) * rng.choice([-1, 1], n)
    heading = np.cumsum(turns * (steps == 0))
    x, y = np.cumsum(steps * np.cos(heading)), np.cumsum(steps * np.sin(heading))
    return np.array([layout.pose_matrix(a, b, 0, 0.01, 0, h) for a, b, h in zip(x, y, heading, strict=True)])


def angle_between(R, S):
    return np.arccos(np.clip((np.trace(R.T @ S) - 1) / 2, -1, 1))


def test_scans_are_taken_by_travel_or_turn():
    T = drive()
    taken = [0]
    for i in range(1, len(T)):
        last = T[taken[-1]]
        moved, turned = np.linalg.norm(T[i][:3, 3] - last[:3, 3]), angle_between(last[:3, :3], T[i][:3, :3])
        if moved >= 0.025 or turned >= np.radians(30):
            taken.append(i)
    assert scan_rows(T, CONFIG).tolist() == taken
    assert 0.3 * len(T) < len(taken) < 0.9 * len(T)
    assert scan_rows(np.empty((0, 4, 4)), CONFIG).tolist() == []


@pytest.mark.parametrize("every", [10.0, 20.0])
def test_windows_cut_the_travel(every):
    config = replace(CONFIG, every_m=every)
    T = drive(1500, seed=1)
    T[900:, 0, 3] += 80.0  # a chunk that was not fetched
    expected = []
    for first, last in [(0, 900), (900, len(T))]:
        travel = [0.0]
        for i in range(first + 1, last):
            travel.append(travel[-1] + np.linalg.norm(T[i][:3, 3] - T[i - 1][:3, 3]))
        k = 0
        while k * every + 20.0 <= travel[-1]:
            inside = [first + i for i, s in enumerate(travel) if k * every <= s < k * every + 20.0]
            expected.append((inside[0], inside[-1] + 1))
            k += 1
    found = submap_windows(T, config)
    assert len(found) >= 8 and found == expected
    if every == 20.0:
        assert all(a[1] <= b[0] for a, b in zip(found[:-1], found[1:], strict=True))  # test submaps share no scan
    assert submap_windows(T[:20], config) == []


def street(n=20_000, seed=2, tilt=0.03):
    """A slightly tilted street with walls and poles, z down as the INS has it; and which points are street."""
    rng = np.random.default_rng(seed)
    ground = np.column_stack([rng.uniform(-10, 10, n), rng.uniform(-6, 6, n), 0.3 + rng.normal(0, 0.04, n)])
    walls = np.column_stack([rng.uniform(-10, 10, n), rng.choice([-8, 9], n), rng.uniform(-9, -0.6, n)])
    points = np.concatenate([ground, walls])
    c, s = np.cos(tilt), np.sin(tilt)
    return points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T, np.arange(2 * n) < n


def test_the_ground_is_found_and_only_the_ground():
    points, is_ground = street()
    mask = ground_mask(points, CONFIG, np.random.default_rng(0))
    assert mask[is_ground].mean() > 0.999 and mask[~is_ground].mean() < 0.05
    # Both directions of z are level, and the plane is that of the points: refitted by hand, the same are near it.
    assert ground_mask(points * [1, 1, -1], CONFIG, np.random.default_rng(0))[is_ground].mean() > 0.999
    A = np.column_stack([points[mask][:, :2], np.ones(mask.sum())])
    a, b, c = np.linalg.lstsq(A, points[mask][:, 2], rcond=None)[0]
    distance = np.abs(points[:, 2] - points[:, 0] * a - points[:, 1] * b - c) / np.sqrt(1 + a * a + b * b)
    assert ((distance <= 0.5) == mask).mean() > 0.999
    walls = points[~is_ground] * [1, 1, 1.0]
    upright = walls[walls[:, 1] > 0]
    assert ground_mask(upright, CONFIG, np.random.default_rng(0)).mean() < 0.2  # a wall is no ground
    assert not ground_mask(np.zeros((2, 3)), CONFIG, np.random.default_rng(0)).any()
    assert not ground_mask(np.zeros((50, 3)), CONFIG, np.random.default_rng(0)).any()


def naive_means(points, size):
    cells = {}
    low = points.min(axis=0)
    for p in points:
        cells.setdefault(tuple(np.floor((p - low) / size).astype(int)), []).append(p)
    return np.array([np.mean(cells[key], axis=0) for key in sorted(cells)])


@pytest.mark.parametrize("size", [0.3, 1.001, 4.0])
def test_voxels_hold_the_mean_of_their_points(size):
    points = np.random.default_rng(3).normal(0, 4, (3000, 3))
    np.testing.assert_allclose(cell_means(points, size, points.min(axis=0)), naive_means(points, size), atol=1e-9)


@pytest.mark.parametrize(("spread", "target"), [(1.5, 250), (12.0, 350), (4.0, 100)])
def test_the_voxel_size_is_tuned_in_steps(spread, target):
    """From 1.001 m in steps of 0.025 m: up until few enough, or down while few enough."""
    config = replace(CONFIG, points=target)
    points = np.random.default_rng(4).normal(0, spread, (600, 3))
    low, size = points.min(axis=0), 1.001

    def count(cell):
        return len({tuple(np.floor((p - low) / cell)) for p in points})

    if count(size) > target:
        while count(size) > target:
            size += 0.025
    else:
        while size - 0.025 > 1e-3 and count(size - 0.025) <= target:
            size -= 0.025
    assert size != 1.001
    found = thin(points, config)
    np.testing.assert_allclose(found, naive_means(points, size), atol=1e-9)
    assert 0 < len(found) <= target
    few = points[:40]
    assert thin(few, config) is few


def test_exactly_so_many_points_and_none_invented():
    points, _ = street(6000)
    rng = np.random.default_rng(5)
    above = without_ground(points, CONFIG, rng)
    out = with_exact_count(above, CONFIG, rng)
    kept = thin(above, CONFIG)
    assert out.shape == (4096, 3) and 1000 < len(kept) < 4096
    np.testing.assert_array_equal(out[: len(kept)], kept)
    source = {tuple(p) for p in above}
    filled = [tuple(p) for p in out[len(kept) :]]
    assert set(filled) <= source and len(set(filled)) == len(filled)  # each drawn once
    few = with_exact_count(above[:100], CONFIG, rng)
    assert few.shape == (4096, 3) and {tuple(p) for p in few} == {tuple(p) for p in above[:100]}


def test_normalisation_is_shift_scale_and_sign():
    rng = np.random.default_rng(6)
    points = rng.normal(0, 5, (4096, 3)) * [3, 1, 1] + [100, -50, 7]
    spare = rng.normal(0, 5, (500, 3)) + [100, -50, 7]
    submap = normalise(points, spare, rng)
    centroid = np.array([sum(points[:, k]) / 4096 for k in range(3)])
    mean = np.mean([np.linalg.norm(p - centroid) for p in points])
    np.testing.assert_allclose(submap.centroid, centroid)
    assert submap.scale == pytest.approx(0.5 / mean)
    spares = {tuple(np.round(-(p - centroid) * 0.5 / mean, 9)) for p in spare}
    replaced = 0
    for p, q in zip(points, submap.points, strict=True):
        expected = -(p - centroid) * 0.5 / mean
        if np.abs(expected).max() <= 1:
            np.testing.assert_allclose(q, expected, atol=1e-12)
        else:
            replaced += 1
            assert tuple(np.round(q, 9)) in spares
    assert replaced > 10 and np.abs(submap.points).max() <= 1
    far = normalise(points, spare + 1000, rng)  # no spare point falls inside
    assert np.abs(far.points).max() <= 1 and np.isfinite(far.points).all()
    assert np.isfinite(normalise(np.ones((10, 3)), np.ones((3, 3)), rng).points).all()


def test_a_submap_is_the_same_every_time_and_needs_more_than_ground():
    points, is_ground = street(5000)
    points[0] = np.nan
    a, b = make_submap(points, 7), make_submap(points, 7)
    np.testing.assert_array_equal(a.points, b.points)
    assert (a.points != make_submap(points, 8).points).any()
    # The published sign: what is forward and right and down comes out backward, left and up.
    assert np.mean(a.points[:, 2] > 0) > 0.3 and a.points[:, 2].max() < 0.9
    with pytest.raises(FrameError, match="no point beside the ground"):
        make_submap(points[1:][is_ground[1:]], 7)


def test_scans_are_put_together_by_their_poses():
    rng = np.random.default_rng(8)
    scans = [rng.normal(size=(n, 4)) for n in (3, 0, 5)]
    T = np.array([layout.pose_matrix(*row) for row in rng.uniform(-1, 1, (3, 6))])
    expected = [T[k] @ [*p[:3], 1] for k, scan in enumerate(scans) for p in scan]
    np.testing.assert_allclose(assemble(scans, T), np.array(expected)[:, :3], atol=1e-12)
    with pytest.raises(VprError, match="at least one scan"):
        assemble([], np.empty((0, 4, 4)))
    with pytest.raises(ValueError, match="3 scans for 2 poses"):
        assemble(scans, T[:2])


# -- a traversal's submaps on disk -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    root = tmp_path_factory.mktemp("benchmark")
    traversal = Traversal(layout.rendered()[0] / SUMMER)
    counts = {kind: write_submaps(traversal, root, kind) for kind in ("train", "test")}
    return root, traversal, counts


def test_a_run_of_the_benchmark_from_raw_scans(benchmark):
    root, traversal, counts = benchmark
    assert counts == {"train": 3, "test": 2}
    world = layout.rendered()[1][SUMMER]
    for kind, folder, name in [
        ("train", "pointcloud_20m_10overlap", "pointcloud_locations_20m_10overlap.csv"),
        ("test", "pointcloud_20m", "pointcloud_locations_20m.csv"),
    ]:
        run = root / "oxford" / SUMMER
        with (run / name).open() as stream:
            rows = list(csv.reader(stream))
        assert rows[0] == ["timestamp", "northing", "easting"] and len(rows) == 1 + counts[kind]
        assert sorted(p.name for p in (run / folder).iterdir()) == sorted(f"{row[0]}.bin" for row in rows[1:])
        for stamp, northing, easting in rows[1:]:
            data = (run / folder / f"{stamp}.bin").read_bytes()
            assert len(data) == 98_304
            points = np.frombuffer(data, "<f8").reshape(4096, 3)
            assert np.abs(points).max() <= 1
            n, e, *_ = world.ned(int(stamp))
            assert np.hypot(float(northing) - n, float(easting) - e) < 15  # the centroid is near the car
    stamps = [int(row[0]) for row in rows[1:]]
    travel = np.linalg.norm(world.T_city_ins(stamps[1])[:3, 3] - world.T_city_ins(stamps[0])[:3, 3])
    assert travel == pytest.approx(20, abs=1.0)


def test_the_files_are_what_loops_over_the_raw_scans_give(benchmark):
    root, traversal, _ = benchmark
    table = read_run(root, SUMMER, "train")
    stamps = traversal.stamps_ns("lms_front")
    T = [traversal.ins.at(int(t)) for t in stamps]
    scans = [(int(t), M) for t, M in zip(stamps, T, strict=True) if M is not None]  # each 0.16 m on: all are taken
    travel = np.concatenate(
        [
            [0],
            np.cumsum([np.linalg.norm(b[1][:3, 3] - a[1][:3, 3]) for a, b in zip(scans[:-1], scans[1:], strict=True)]),
        ]
    )
    inside = [k for k, s in enumerate(travel) if 10 <= s < 30]
    middle = scans[(inside[0] + inside[-1] + 1) // 2]
    assert table.stamps[1] == middle[0] // 1000
    points = []
    T_ins = np.linalg.inv(np.diag([1.0, -1, -1, 1])) @ np.linalg.inv(middle[1])
    for k in inside:
        M = T_ins @ scans[k][1] @ np.diag([1.0, -1, -1, 1]) @ np.linalg.inv(layout.pose_matrix(*layout.INS))
        M = M @ layout.pose_matrix(*layout.LMS_FRONT)
        data = np.fromfile(traversal.folder / "lms_front" / f"{scans[k][0] // 1000}.bin", "<f8").reshape(-1, 3)
        points += [(M @ [x, y, 0, 1])[:3] for x, y, _ in data]
    expected = make_submap(np.array(points), int(table.stamps[1]))
    found = np.fromfile(root / table.paths[1], "<f8").reshape(-1, 3)
    # float32 scans can move a point over a cell's edge: the clouds agree as clouds.
    gaps = np.linalg.norm(found[::16, None] - expected.points[None], axis=-1).min(axis=1)
    assert np.median(gaps) < 1e-5 and (gaps < 0.02).mean() > 0.98
    centre = middle[1] @ [*(expected.centroid * [1, -1, -1]), 1]
    np.testing.assert_allclose(table.positions[1], [centre[1] + MAP_ORIGIN[0], centre[0] + MAP_ORIGIN[1]], atol=0.02)


def test_pictures_for_the_submaps(benchmark, tmp_path):
    root, traversal, _ = benchmark
    stamps = read_run(root, SUMMER, "test").stamps
    assert write_pictures(traversal, stamps, tmp_path / "images") == 23
    index = read_pickle(tmp_path / "images" / "lidar2image_ndx.pickle")
    images = [int(p.stem) for p in (traversal.folder / "stereo" / "centre").glob("*.png")]
    for stamp in stamps.tolist():
        assert index[stamp] == sorted(images, key=lambda t: (abs(t - stamp), t))[:20]
    samples = PointNetVLAD(root, read_run(root, SUMMER, "test").paths, images=tmp_path / "images")
    sample = samples[1]
    assert sample.image.shape == (30, 40, 3) and sample.cloud.shape == (4096, 3)  # a quarter of 160 x 120
    raw = traversal.image("stereo/centre", index[int(stamps[1])][0] * 1000)
    small = raw.reshape(30, 4, 40, 4, 3).mean(axis=(1, 3))
    assert np.abs(sample.image - small).max() <= 1  # demosaiced, not undistorted
    # A second kind of submaps adds to the index and keeps the pictures.
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "images" / SUMMER).iterdir()}
    write_pictures(traversal, read_run(root, SUMMER, "train").stamps, tmp_path / "images")
    assert set(stamps.tolist()) < set(read_pickle(tmp_path / "images" / "lidar2image_ndx.pickle"))
    assert all(p.stat().st_mtime_ns == t for p, t in before.items())


def test_submaps_that_cannot_be_made(tmp_path):
    folder = layout.copy(tmp_path)
    traversal = Traversal(folder)
    with pytest.raises(VprError, match="'train' or 'test'"):
        write_submaps(traversal, tmp_path, "both")
    with pytest.raises(VprError, match="less than one submap of 300 m"):
        write_submaps(traversal, tmp_path, config=replace(CONFIG, length_m=300.0))
    (tmp_path / "file").write_text("x")
    with pytest.raises(VprError, match="cannot be written"):
        write_submaps(traversal, tmp_path / "file")
    stamps = traversal.stamps_ns("stereo/centre")[:1] // 1000
    for path in (folder / "stereo" / "centre").glob("*.png"):
        path.write_bytes(b"torn")
    with pytest.raises(VprError, match="can be read"):
        write_pictures(Traversal(folder), stamps, tmp_path / "images")
