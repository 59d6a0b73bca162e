"""What teachers are given: pictures, clouds and occupancy grids made from samples."""

import numpy as np
import pytest
import torch

from vpr_ros.errors import VprError
from vpr_ros.training.data.sample import Sample
from vpr_ros.training.teachers import TeacherInputs, collate, load_teacher
from vpr_ros.training.teachers.inputs import thin
from vpr_ros.training.teachers.occupancy import GRIDS, OccupancyGrid, grid_of


def sample(seed=0, image=True, cloud=True, size=(48, 64), points=500, scale=0.4):
    rng = np.random.default_rng(seed)
    return Sample(
        image=rng.integers(0, 256, (*size, 3), dtype=np.uint8) if image else None,
        cloud=(rng.normal(size=(points, 3)) * scale).astype("f") if cloud else None,
        T_world_base=np.eye(4),
        stamp_ns=seed,
        drive="d",
    )


def half_even(value):
    """Rounding of a float to the nearest whole number, ties to the even one."""
    below = int(np.floor(value))
    rest = value - below
    if rest == 0.5:
        return below if below % 2 == 0 else below + 1
    return below if rest < 0.5 else below + 1


def naive_grid(points, lower, upper, shape, turned):
    cells = np.zeros((1, *shape), "f")
    for x, y, z in points.astype(float).tolist():
        p = (-y, -x, z) if turned else (x, y, z)
        index = [half_even((p[i] - lower[i]) * shape[i] / (upper[i] - lower[i])) for i in range(3)]
        if all(0 <= index[i] < shape[i] for i in range(3)):
            cells[(0, *index)] = 1
    return cells


@pytest.mark.parametrize(
    ("name", "lower", "upper", "turned", "scale"),
    [
        ("robotcar", (-0.8, -0.4, -0.2), (0.8, 0.4, 0.4), True, 0.4),
        ("robotcar-distilvpr", (-0.8, -0.4, -0.2), (0.8, 0.4, 0.4), False, 0.4),
        ("nclt", (-20, -20, 0), (20, 20, 5), False, 9.0),
    ],
)
def test_occupancy_grids_equal_loops(name, lower, upper, turned, scale):
    cloud = sample(points=3000, scale=scale).cloud
    cells = GRIDS[name].fill(cloud)
    assert cells.shape == (1, 72, 72, 48) and cells.dtype == np.float32
    expected = naive_grid(cloud, lower, upper, (72, 72, 48), turned)
    assert np.array_equal(cells, expected) and 100 < expected.sum() < 3000


def test_grid_rounds_half_to_even_and_drops_what_is_outside():
    grid = OccupancyGrid((0, 0, 0), (4, 4, 4), (4, 4, 4), turned=False)
    along_x = [0.5, 1.5, 2.5, -0.5, -0.51, 3.49, 3.5, 9]
    hits = [grid.fill(np.array([[x, 1.0, 1.0]]))[0].nonzero()[0].tolist() for x in along_x]
    assert hits == [[0], [2], [2], [0], [], [3], [], []]
    turned = OccupancyGrid((-4, -4, -4), (4, 4, 4), (8, 8, 8), turned=True)
    # (x, y, z) = (1, 2, 3) is seen at (-2, -1, 3)
    assert np.argwhere(turned.fill(np.array([[1.0, 2.0, 3.0]]))[0]).tolist() == [[2, 3, 7]]
    assert not grid.fill(np.zeros((0, 3))).any()


def test_grids_by_name_by_fields_and_wrong_ones():
    assert grid_of("nclt", (8, 8, 8)) == OccupancyGrid((-20, -20, 0), (20, 20, 5), (8, 8, 8), False)
    fields = {"lower": [0, 0, 0], "upper": [1, 1, 1], "shape": [8, 8, 8], "turned": False}
    assert grid_of(fields).shape == (8, 8, 8)
    with pytest.raises(VprError, match="no occupancy grid 'kitti': choose one of robotcar,"):
        grid_of("kitti")
    with pytest.raises(VprError, match="cells and a box"):
        OccupancyGrid((0, 0, 0), (1, 0, 1))


def test_collate_gives_what_each_teacher_takes():
    samples = [sample(i, size=(40 + i, 50)) for i in range(3)]
    for name, shapes in {
        "minkloc++": {"images": (3, 3, 240, 320), "clouds": 3},
        "minkloc++-cloud": {"clouds": 3},
        "minkloc++-image": {"images": (3, 3, 240, 320)},
        "adafusion": {"images": (3, 3, 300, 400), "voxels": (3, 1, 72, 72, 48)},
        "distilvpr-resnet18": {"images": (3, 3, 240, 320)},
    }.items():
        inputs = load_teacher(name).inputs
        batch = collate(samples, inputs)
        assert {k: len(v) if isinstance(v, list) else tuple(v.shape) for k, v in batch.items()} == shapes
        assert tuple(batch) == inputs.names
    batch = collate(samples, TeacherInputs(voxel_size=0.1, grid=GRIDS["robotcar"]))
    for one, cloud, voxels in zip(samples, batch["clouds"], batch["voxels"], strict=True):
        assert np.array_equal(cloud.numpy(), one.cloud) and np.array_equal(
            voxels.numpy(), GRIDS["robotcar"].fill(one.cloud)
        )


def test_pictures_are_resized_then_normalised_by_the_teachers_own_figures():
    one = sample(size=(16, 16))
    whole = collate([one], TeacherInputs(image_size=(16, 16), image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5)))
    for channel in range(3):
        for row in range(16):
            for col in range(16):
                expected = (one.image[row, col, channel] / 255 - 0.5) / 0.5
                assert whole["images"][0, channel, row, col].item() == pytest.approx(expected, abs=1e-6)
    half = collate([one], TeacherInputs(image_size=(8, 8)))["images"][0]
    blocks = one.image.reshape(8, 2, 8, 2, 3).mean((1, 3)) / 255
    expected = ((blocks - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    assert np.abs(half.numpy() - expected).max() < 0.5 / 255 / 0.224 + 1e-5
    ada = load_teacher("adafusion").inputs
    assert ada.image_mean == ada.image_std == (0.5, 0.5, 0.5)


def test_thinning_keeps_order_and_count():
    points = np.arange(30, dtype="f").reshape(10, 3)
    assert thin(points, None) is points and thin(points, 10) is points
    assert thin(points, 4)[:, 0].tolist() == [0, 6, 15, 21]
    drawn = [thin(points, 4, "random", np.random.default_rng(seed)) for seed in range(40)]
    for some in drawn:
        assert len(some) == 4 and (np.diff(some[:, 0]) > 0).all() and np.isin(some[:, 0], points[:, 0]).all()
    assert len({float(v) for some in drawn for v in some[:, 0]}) == 10
    inputs = TeacherInputs(voxel_size=1.0, cloud_points=50, thinning="random")
    torch.manual_seed(3)
    first, other = (collate([sample()], inputs)["clouds"][0] for _ in range(2))
    torch.manual_seed(3)
    again = collate([sample()], inputs)["clouds"][0]
    assert len(first) == 50 and torch.equal(first, again) and not torch.equal(first, other)
    seeded = [collate([sample()], inputs, np.random.default_rng(7))["clouds"][0] for _ in range(2)]
    assert torch.equal(*seeded)


def test_points_that_are_not_finite_are_left_out():
    one = sample(points=20)
    one.cloud[3, 1], one.cloud[7] = np.nan, np.inf
    kept = np.delete(one.cloud, [3, 7], axis=0)
    assert np.array_equal(collate([one], TeacherInputs(voxel_size=1.0))["clouds"][0].numpy(), kept)
    one.cloud[:] = np.nan
    with pytest.raises(VprError, match="at 0 ns of drive 'd' has a cloud without a finite point"):
        collate([one], TeacherInputs(grid=GRIDS["nclt"]))


def test_samples_that_lack_what_is_seen_are_refused():
    both = TeacherInputs(image_size=(8, 8), voxel_size=1.0)
    for bad, words in (
        (sample(4, image=False), "at 4 ns of drive 'd' has no image"),
        (sample(cloud=False), "has no cloud, which this teacher sees"),
        (Sample(sample().image, np.zeros((5, 4)), None, 0), r"shape \(5, 4\): \(N, 3\) is needed"),
    ):
        with pytest.raises(VprError, match=words):
            collate([sample(), bad], both)
    assert "images" in collate([sample(cloud=False)], TeacherInputs(image_size=(8, 8)))
    with pytest.raises(VprError, match="at least one"):
        collate([], both)
    for wrong in (dict(thinning="odd"), dict(cloud_points=0), dict(voxel_size=0.0), dict(image_size=(0, 4))):
        with pytest.raises(VprError, match=next(iter(wrong))):
            TeacherInputs(**wrong)
