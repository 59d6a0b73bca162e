"""Descriptors of two parts: what is fitted, how they are weighed, and what a checkpoint keeps of it."""

import numpy as np
import pytest
import torch
from safetensors import safe_open

from vpr_ros.errors import VprError
from vpr_ros.student import (
    D2VPR,
    LITE0,
    NANO,
    DescriptorExtractor,
    Part,
    PartedProjection,
    Projection,
    fit_parts,
    fit_projection,
    save_checkpoint,
)

TINY = LITE0.replace(
    name="tiny",
    backbone="mobilenetv3_small_050",
    image_size=(64, 64),
    stages=(1,),
    dim=16,
    global_stage=4,
    global_dim=48,
    regions=(2, 4),
    global_pooling="gem",
    global_weight=0.3,
    aggregator="fixed",
)


def raw(count=300, config=TINY, seed=0):
    """Rows as a student gives them: regions of one length joined, and a global vector, each part of its share."""
    rng = np.random.default_rng(seed)
    cells = rng.normal(size=(count, config.region_count, config.dim)) @ rng.normal(size=(config.dim, config.dim)) + 0.5
    cells /= np.linalg.norm(cells, axis=2, keepdims=True)
    whole = rng.normal(size=(count, config.global_dim)) + 0.3
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    shares = np.sqrt(config.part_weights)
    return np.hstack([shares[0] * cells.reshape(count, -1) / config.region_count**0.5, shares[1] * whole]).astype("f")


def cosines(a):
    return a @ a.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(a, axis=1))


@pytest.mark.parametrize("weight", [0.2, 0.5])
def test_an_inner_product_is_the_weighted_mean_of_the_parts_cosines(weight):
    config = TINY.replace(global_weight=weight)
    rows = raw(config=config)
    projection = fit_parts(rows, config, dims=(40, 12), whiten=0.5)
    out = projection.apply(rows[:50])
    assert out.dtype == np.float32 and out.shape == (50, 52) and projection.lengths == (40, 12)
    np.testing.assert_allclose(np.linalg.norm(out, axis=1), 1, atol=1e-5)
    local, whole = rows[:, :320] / (1 - weight) ** 0.5, rows[:, 320:] / weight**0.5
    by_hand = [fit_projection(part, dim, 0.5).apply(part[:50]) for part, dim in ((local, 40), (whole, 12))]
    expected = (1 - weight) * cosines(by_hand[0]) + weight * cosines(by_hand[1])
    np.testing.assert_allclose(out @ out.T, expected, atol=1e-4)


@pytest.mark.parametrize("unit_cells", [False, True])
@pytest.mark.parametrize("dim", [0, 24])
def test_one_matrix_is_shared_by_all_regions(unit_cells, dim):
    rows = raw()
    projection = fit_parts(rows, TINY, dims=(dim, 0), cells=5, whiten_cells=0.5, unit_cells=unit_cells)
    part = projection.parts[0]
    assert part.cells.matrix.shape == (16, 5) and projection.lengths == (dim or 100, 48)
    for row, got in zip(rows[:4], projection.apply(rows[:4]), strict=True):
        row = row[:320] / np.linalg.norm(row[:320])
        reduced = []
        for cell in row.reshape(20, 16):
            length = np.linalg.norm(cell)
            y = (cell / length - part.cells.mean) @ part.cells.matrix
            reduced.append(length * (y / np.linalg.norm(y) if unit_cells else y))
        local = np.concatenate(reduced)
        local = local / np.linalg.norm(local)
        if dim:
            local = (local - part.joint.mean) @ part.joint.matrix
        np.testing.assert_allclose(got[: dim or 100], 0.7**0.5 * local / np.linalg.norm(local), atol=1e-4)


def test_regions_keep_their_weights_through_the_shared_projection():
    rows = raw()
    projection = fit_parts(rows, TINY, dims=(0, 0), cells=5)
    doubled = rows.copy()
    doubled[:, :16] *= 2
    plain, heavy = (projection.apply(x[:3])[:, :100].reshape(3, 20, 5) for x in (rows, doubled))
    ratio = np.linalg.norm(heavy, axis=2) / np.linalg.norm(plain, axis=2)
    np.testing.assert_allclose(ratio[:, 0] / ratio[:, 1], 2, rtol=1e-3)


def model(config=TINY):
    torch.manual_seed(0)
    return D2VPR(config).eval()


def pictures(count=60):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (48, 80, 3), np.uint8) // (1 + i % 3) for i in range(count)]


@pytest.mark.parametrize("half", [False, True])
def test_a_checkpoint_keeps_the_parts(tmp_path, half):
    network = model()
    extractor = DescriptorExtractor(network, device="cpu", batch_size=16)
    assert extractor.parts == (320, 48) and extractor.dim == 368
    projection = fit_parts(extractor.describe_raw(pictures(), project=False), TINY, dims=(12, 6), cells=8)
    path = tmp_path / "parts.safetensors"
    fingerprint = save_checkpoint(path, network, projection, half=half)
    read = DescriptorExtractor.from_checkpoint(path, device="cpu")
    assert read.parts == (12, 6) and read.dim == 18 and read.fingerprint == fingerprint
    before = DescriptorExtractor(network, projection, device="cpu").describe(pictures(5)).astype("f")
    after = read.describe(pictures(5)).astype("f")
    assert np.abs(before - after).max() < (2e-2 if half else 1e-3)
    for part, share in ((after[:, :12], 0.7), (after[:, 12:], 0.3)):
        np.testing.assert_allclose(np.square(part).sum(1), share, atol=2e-3)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["schema"] == "2"
        kinds = {key: file.get_tensor(key).dtype for key in file.keys() if key.endswith("matrix")}
    assert set(kinds) == {f"projection.{name}.matrix" for name in ("0.cells", "0.joint", "1.joint")}
    assert set(kinds.values()) == {torch.float16 if half else torch.float32}


def test_the_fingerprint_depends_on_every_piece(tmp_path):
    network, rows = model(), raw()
    one = fit_parts(rows, TINY, dims=(12, 6), cells=8)
    others = [
        fit_parts(rows, TINY, dims=(12, 6), cells=8, unit_cells=True),
        fit_parts(rows, TINY, dims=(12, 6)),
        fit_parts(rows, TINY, dims=(12, 0), cells=8),
        fit_parts(rows, TINY, dims=(12, 6), cells=8, whiten_cells=0.5),
        None,
    ]
    seen = {DescriptorExtractor(network, p, device="cpu").fingerprint for p in (one, *others)}
    for changed in (dict(global_weight=0.4), dict(input_std=(0.5, 0.5, 0.5)), dict(image_size=(64, 96))):
        other = model(TINY.replace(**changed))
        other.load_state_dict(network.state_dict())
        seen.add(DescriptorExtractor(other, one, device="cpu").fingerprint)
    assert len(seen) == 9


def test_the_published_kind_of_file_stays_as_it_was(tmp_path):
    config = NANO.replace(width=32, depth=2, heads=2, taps=(1, 2), dim=12)
    network = D2VPR(config)
    projection = Projection(np.zeros(168, "f"), np.eye(168, 5, dtype="f"))
    save_checkpoint(tmp_path / "old.safetensors", network, projection)
    with safe_open(tmp_path / "old.safetensors", framework="pt") as file:
        assert file.metadata()["schema"] == "1" and 'backbone"' not in file.metadata()["config"]
        assert {key for key in file.keys() if key.startswith("projection")} == {"projection.mean", "projection.matrix"}
    assert DescriptorExtractor(network, projection, device="cpu").parts == (5,)
    # one projection over both parts leaves one part
    joint = fit_projection(raw(), 10)
    save_checkpoint(tmp_path / "joint.safetensors", model(), joint)
    assert DescriptorExtractor.from_checkpoint(tmp_path / "joint.safetensors", device="cpu").parts == (10,)


def test_refusals():
    with pytest.raises(VprError, match="has 2 parts: say the numbers of each"):
        fit_parts(raw(), TINY, dims=(12,))
    with pytest.raises(VprError, match="no regions of 7 numbers"):
        Part(320, cells=Projection(np.zeros(7, "f"), np.zeros((7, 2), "f")))
    with pytest.raises(VprError, match="takes 9 numbers, this part has 320"):
        Part(320, joint=Projection(np.zeros(9, "f"), np.zeros((9, 2), "f")))
    with pytest.raises(VprError, match="2 parts needs as many weights"):
        PartedProjection((Part(3), Part(4)), (1.0,))
    swapped = PartedProjection((Part(48), Part(320)), (0.5, 0.5))
    with pytest.raises(VprError, match="takes 48 and 320 numbers, the student gives 320 and 48"):
        DescriptorExtractor(model(), swapped, device="cpu")
    with pytest.raises(VprError, match="takes descriptors of 368 numbers"):
        swapped.apply(np.zeros((2, 60), "f"))


def test_pixels_are_normalised_as_the_configuration_says():
    config = TINY.replace(input_mean=(0.1, 0.2, 0.3), input_std=(0.5, 0.6, 0.7))
    network, image = model(config), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    x = torch.tensor((image / 255 - config.input_mean) / config.input_std, dtype=torch.float32).permute(2, 0, 1)
    extractor = DescriptorExtractor(network, device="cpu")
    assert np.abs(extractor.describe_raw([image]) - network(x[None]).detach().numpy()).max() < 1e-5
    assert extractor.preprocessing["mean"] == [0.1, 0.2, 0.3] and extractor.preprocessing["std"] == [0.5, 0.6, 0.7]
