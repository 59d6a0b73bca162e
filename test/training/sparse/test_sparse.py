"""Sparse convolution against a dictionary formulation in float64 that shares no code with it."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from vpr_ros.errors import VprError
from vpr_ros.training import sparse as S
from vpr_ros.training.sparse import kernel_map as kernel_map_module

QUICK = settings(max_examples=25, deadline=None)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def offsets_of(size):
    """Offsets in the order of the weights: z slowest, x fastest; odd sizes centred, even ones from 0."""
    steps = [i - size // 2 for i in range(size)] if size % 2 else list(range(size))
    return [(x, y, z) for z in steps for y in steps for x in steps]


def naive_conv(voxels, kernel, size, grid, stride):
    """{(b, x, y, z): row} -> the same at the output voxels; loops over voxels and offsets."""
    step = grid * stride
    targets = voxels if stride == 1 else {(b, *(math.floor(c / step) * step for c in xyz)) for b, *xyz in voxels}
    out = {}
    for b, x, y, z in targets:
        total = torch.zeros(kernel.shape[-1], dtype=kernel.dtype)
        for k, (i, j, l) in enumerate(offsets_of(size)):  # noqa: E741
            row = voxels.get((b, x + i * grid, y + j * grid, z + l * grid))
            if row is not None:
                total = total + row @ kernel[k]
        out[b, x, y, z] = total
    return out


def naive_transposed(voxels, fine, kernel, size, grid):
    """Each coarse voxel adds to the fine voxels (of stride `grid`) at its offsets."""
    out = {place: torch.zeros(kernel.shape[-1], dtype=kernel.dtype) for place in fine}
    for (b, x, y, z), row in voxels.items():
        for k, (i, j, l) in enumerate(offsets_of(size)):  # noqa: E741
            place = (b, x + i * grid, y + j * grid, z + l * grid)
            if place in out:
                out[place] = out[place] + row @ kernel[k]
    return out


def as_dictionary(tensor):
    return {tuple(row): feature for row, feature in zip(tensor.coordinates.rows.tolist(), tensor.features, strict=True)}


def agree(tensor, expected, atol=1e-12):
    """The same voxels with the same rows."""
    found = as_dictionary(tensor)
    assert found.keys() == expected.keys()
    for place, row in expected.items():
        assert_close(found[place], row, rtol=0, atol=atol)


def random_rows(rng, clouds, extent, most, grid=1):
    rows = []
    for b in range(clouds):
        xyz = rng.integers(-extent, extent + 1, (int(rng.integers(1, most + 1)), 3)) * grid
        rows += [(b, *place) for place in np.unique(xyz, axis=0).tolist()]
    return torch.tensor(rows)[torch.from_numpy(rng.permutation(len(rows)))]


def random_tensor(rng, clouds=2, extent=3, most=15, channels=3, grid=1):
    rows = random_rows(rng, clouds, extent, most, grid)
    features = torch.from_numpy(rng.normal(size=(len(rows), channels))).requires_grad_()
    return S.sparse_tensor(rows, features, clouds, grid), rows, features


def gradients_agree(tensor, expected, leaves):
    """Both sides' gradients of one random functional of all outputs."""
    torch.manual_seed(0)
    weights = {place: torch.randn_like(row) for place, row in expected.items()}
    found = as_dictionary(tensor)
    ours = torch.autograd.grad(sum((found[p] * w).sum() for p, w in weights.items()), leaves)
    nothing = sum(leaf.sum() * 0 for leaf in leaves)  # every voxel may be out of every kernel's reach
    theirs = torch.autograd.grad(sum((expected[p] * w).sum() for p, w in weights.items()) + nothing, leaves)
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, rtol=0, atol=1e-11)


@QUICK
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 5),
    stride=st.integers(1, 3),
    grid=st.sampled_from([1, 2, 4]),
    clouds=st.integers(1, 3),
    bias=st.booleans(),
)
def test_convolution_is_the_dictionary_formulation(seed, size, stride, grid, clouds, bias):
    rng = np.random.default_rng(seed)
    x, rows, features = random_tensor(rng, clouds, grid=grid)
    layer = S.SparseConv(3, 2, size, stride, bias=bias).double()
    places = {tuple(row): feature for row, feature in zip(rows.tolist(), features, strict=True)}
    kernel = layer.kernel if layer.kernel.ndim == 3 else layer.kernel[None]
    assert kernel.shape == (size**3, 3, 2)
    expected = naive_conv(places, kernel, size, grid, stride)
    if bias:
        expected = {place: row + layer.bias[0] for place, row in expected.items()}
    y = layer(x)
    assert y.coordinates.stride == grid * stride
    agree(y, expected)
    gradients_agree(y, expected, [features, *layer.parameters()])


@QUICK
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 4),
    stride=st.integers(2, 3),
    grid=st.sampled_from([1, 2]),
    clouds=st.integers(1, 3),
)
def test_transposed_convolution_is_the_dictionary_formulation(seed, size, stride, grid, clouds):
    rng = np.random.default_rng(seed)
    x, rows, _ = random_tensor(rng, clouds, grid=grid)
    coarse = x.coordinates.coarser(stride)
    features = torch.from_numpy(rng.normal(size=(len(coarse), 3))).requires_grad_()
    layer = S.SparseConvTranspose(3, 2, size, stride).double()
    y = layer(S.SparseTensor(features, coarse))
    places = as_dictionary(S.SparseTensor(features, coarse))
    expected = naive_transposed(places, [tuple(row) for row in rows.tolist()], layer.kernel, size, grid)
    assert y.coordinates.same_as(x.coordinates)
    agree(y, expected)
    gradients_agree(y, expected, [features, layer.kernel])


def test_offsets_of_the_weights_by_hand():
    rows = torch.tensor([[0, -1, 0, 0], [0, 0, 0, 0], [0, 0, 2, -2]])
    x = S.sparse_tensor(rows, torch.tensor([[1.0], [10.0], [100.0]]))
    layer = S.SparseConv(1, 1, 3)
    with torch.no_grad():
        layer.kernel.copy_(torch.arange(27.0).reshape(27, 1, 1))
    # (0,0,0) sees itself (k 13) and its left neighbour in x (k 12); the neighbour sees it at k 14
    found = as_dictionary(layer(x))
    assert found[0, 0, 0, 0].item() == 13 * 10 + 12
    assert found[0, -1, 0, 0].item() == 13 + 14 * 10
    assert found[0, 0, 2, -2].item() == 13 * 100
    strided = S.SparseConv(1, 1, 2, 2)
    with torch.no_grad():
        strided.kernel.copy_(torch.arange(8.0).reshape(8, 1, 1))
    # the parent of -1 is -2, whose offset 1 in x is k 1; -2 and 2 are their own parents, k 0
    assert {p: r.item() for p, r in as_dictionary(strided(x)).items()} == {
        (0, -2, 0, 0): 1.0,
        (0, 0, 0, 0): 0.0,
        (0, 0, 2, -2): 0.0,
    }


def test_first_and_second_derivatives():
    rng = np.random.default_rng(3)
    x, _, features = random_tensor(rng, channels=2, most=8)
    layer = S.SparseConv(2, 2, 3).double()

    def function(values, kernel):
        pairs = kernel_map_module.kernel_map(x.coordinates.manager, 1, 1, 3)
        return S.functional.sparse_convolution(values, kernel, pairs)

    assert torch.autograd.gradcheck(function, (features, layer.kernel))
    with pytest.raises(RuntimeError, match="once_differentiable"):  # told, not silently wrong
        out = layer(x).features.sum()
        (grad,) = torch.autograd.grad(out**2, features, create_graph=True)
        grad.sum().backward()


@pytest.mark.parametrize("size", [0.01, 0.1, 0.3])
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_voxelise(size, kind):
    rng = np.random.default_rng(0)
    clouds = [np.round(rng.normal(size=(n, 3)), 2).astype(np.float32) for n in (50, 1, 200)]
    given_clouds = clouds if kind == "numpy" else [torch.from_numpy(cloud) for cloud in clouds]
    x = S.voxelise(given_clouds, size)
    expected = {
        (b, *(int(np.floor(c / np.float32(size))) for c in point)) for b, cloud in enumerate(clouds) for point in cloud
    }
    rows = [tuple(row) for row in x.coordinates.rows.tolist()]
    assert rows == sorted(expected)  # unique, lexicographic
    assert x.coordinates.rows.dtype == torch.int32
    assert x.features.shape == (len(expected), 1)
    assert bool((x.features == 1).all())
    assert x.batch_size == 3
    assert x.coordinates.counts == [sum(row[0] == b for row in rows) for b in range(3)]


def test_precision_of_the_points_is_kept():
    double = np.array([[0.3, 0.6, 0.9]])
    for cloud in (double, double.astype(np.float32), double.astype(np.float16)):
        kind = np.float64 if cloud.dtype == np.float64 else np.float32
        expected = np.floor(cloud.astype(kind) / kind(0.1)).astype(int)[0].tolist()
        assert S.voxelise([cloud], 0.1).coordinates.rows[0, 1:].tolist() == expected


def test_thousands_of_clouds():
    rng = np.random.default_rng(1)
    clouds = [rng.uniform(-1, 1, (int(n), 3)) for n in rng.integers(1, 6, 3000)]
    x = S.voxelise(clouds, 0.05)
    x = x.replace(torch.from_numpy(rng.normal(size=(len(x.coordinates), 4))))
    means = S.global_average(x)
    assert means.shape == (3000, 4)
    one = [i for i, row in enumerate(x.coordinates.rows.tolist()) if row[0] == 2777]
    assert_close(means[2777], x.features[one].mean(0))
    alone = S.voxelise([clouds[2777]], 0.05)
    assert torch.equal(alone.coordinates.rows[:, 1:], x.coordinates.rows[one, 1:])
    layer = S.SparseConv(4, 2, 5).double()
    assert_close(layer(x).features[one], layer(alone.replace(x.features[one])).features)


def test_far_coordinates_never_alias():
    """Two voxels at opposite ends of an axis are next to each other as keys, and must not be neighbours."""
    limit = 2**20  # one cloud: (63 - 1) // 3 = 20 bits an axis, so coordinates within -524288..524287
    near = limit // 2 - 10
    rows = torch.tensor([[0, 0, 0, near], [0, 0, 1, -near], [0, near, 5, 5], [0, -near, 5, 5]])
    x = S.sparse_tensor(rows, torch.ones(4, 1))
    y = S.SparseConv(1, 1, 3)
    assert kernel_map_module.kernel_map(x.coordinates.manager, 1, 1, 3).groups == []
    assert y(x).features.shape == (4, 1)
    edge = S.sparse_tensor(torch.tensor([[0, limit // 2 - 1, 0, 0]]), torch.ones(1, 1))
    with pytest.raises(VprError, match="does not fit the 20 bits"):
        y(edge)
    with pytest.raises(VprError, match="does not fit the 20 bits"):
        S.sparse_tensor(torch.tensor([[0, limit, 0, 0]]), torch.ones(1, 1))
    below = S.sparse_tensor(torch.tensor([[0, 1 - limit // 2, 0, 0]]), torch.ones(1, 1))
    with pytest.raises(VprError, match="coordinate 524289 .* does not fit the 20 bits"):  # its floor to threes
        below.coordinates.coarser(3)
    with pytest.raises(VprError, match="voxel coordinate 1000000000 .* does not fit"):
        S.voxelise([np.full((1, 3), 1e7)], 0.01)


@pytest.mark.parametrize(
    ("clouds", "size", "told"),
    [
        ([], 0.1, "no clouds"),
        ([np.zeros((2, 3)), np.zeros((0, 3))], 0.1, "cloud 1 of 2 has no points"),
        ([np.zeros((2, 3)), np.full((2, 3), np.nan)], 0.1, "cloud 1 of 2 holds points that are not finite"),
        ([np.full((2, 3), np.inf)], 0.1, "not finite"),
        ([np.zeros((2, 4))], 0.1, r"cloud 0 has the shape \(2, 4\)"),
        ([np.zeros((2, 3))], 0.0, "voxel size must be positive"),
        ([np.zeros((2, 3))], float("nan"), "voxel size must be positive"),
    ],
)
def test_bad_clouds_are_refused(clouds, size, told):
    with pytest.raises(VprError, match=told):
        S.voxelise(clouds, size)


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        ([[0, 0, 0, 0], [0, 0, 0, 0]], {}, "same voxel twice"),
        ([[0, 0, 0, 0], [2, 0, 0, 0]], {}, "cloud 1 of a batch of 3 has no voxels"),
        ([[0, 0, 0, 0]], {"batch_size": 2}, "cloud 1 of a batch of 2 has no voxels"),
        ([[0, 0, 0, 0], [1, 0, 0, 0]], {"batch_size": 1}, "batch index 1 is outside a batch of 1"),
        ([[-1, 0, 0, 0]], {}, "negative batch index"),
        ([[0, 1, 0, 0]], {"stride": 2}, "not multiples of their stride 2"),
        ([[0, 0, 0]], {}, r"must be \(V, 4\)"),
    ],
)
def test_bad_rows_are_refused(rows, options, told):
    with pytest.raises(VprError, match=told):
        S.sparse_tensor(torch.tensor(rows), torch.ones(len(rows), 1), **options)


def test_misuse_is_told():
    x = S.voxelise([np.zeros((1, 3)), np.ones((1, 3))], 0.1)
    with pytest.raises(VprError, match="never had"):
        S.SparseConvTranspose(1, 1, 2, 2)(x)
    with pytest.raises(VprError, match="different voxels"):
        x + S.voxelise([np.zeros((1, 3)), np.ones((1, 3))], 0.1)
    with pytest.raises(VprError, match="do not belong"):
        x.replace(torch.ones(3, 1))
    with pytest.raises(VprError, match="3 rows of weights for 2 clouds"):
        x.scale_by(torch.ones(3, 1))
    with pytest.raises(VprError, match="stride of at least 2"):
        S.SparseConvTranspose(1, 1, 2, 1)
    with pytest.raises(VprError, match="at least 1"):
        S.SparseConv(1, 1, 0)
    with pytest.raises(VprError, match="no sparse convolution backend"):
        S.backend("spconv")


def random_features(clouds=3, channels=4):
    rng = np.random.default_rng(5)
    x, *_ = random_tensor(rng, clouds, most=12, channels=channels)
    features = x.features.detach().requires_grad_()
    return x.replace(features), features


def by_cloud(x):
    return [x.features[[i for i, row in enumerate(x.coordinates.rows.tolist()) if row[0] == b]] for b in range(3)]


def test_pooling_and_channel_attention():
    x, features = random_features()
    assert_close(S.global_average(x), torch.stack([cloud.mean(0) for cloud in by_cloud(x)]))
    p = torch.tensor([3.0], dtype=torch.float64, requires_grad=True)
    means = torch.stack([cloud.clamp(min=1e-6).pow(p).mean(0).pow(1 / p) for cloud in by_cloud(x)])
    assert_close(S.global_gem(x, p, 1e-6), means)
    ours = torch.autograd.grad((S.global_gem(x, p) ** 2).sum(), (features, p))
    for a, b in zip(ours, torch.autograd.grad((means**2).sum(), (features, p)), strict=True):
        assert_close(a, b)
    weights = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    scaled = x.scale_by(weights)
    expected = torch.cat([cloud * weights[b] for b, cloud in enumerate(by_cloud(x))])
    assert_close(scaled.features, expected)
    ours = torch.autograd.grad((scaled.features**2).sum(), (features, weights))
    for a, b in zip(ours, torch.autograd.grad((expected**2).sum(), (features, weights)), strict=True):
        assert_close(a, b)
    assert_close((x + scaled).features, x.features + expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_pooling_of_half_precision(dtype):
    """A cloud of tiny activations keeps a finite mean and gradient; many voxels do not overflow."""
    rows = torch.cat([torch.zeros(5000, 2), torch.arange(10000).reshape(5000, 2) - 3000], 1).long()
    features = torch.zeros(5000, 2, dtype=dtype)
    features[:, 1] = 100.0
    features.requires_grad_()
    x = S.sparse_tensor(rows, torch.ones(5000, 1), 1).replace(features)
    assert_close(S.global_average(x), torch.tensor([[0.0, 100.0]]))
    p = torch.tensor([3.0], requires_grad=True)
    means = S.global_gem(x, p)
    assert_close(means, torch.tensor([[1e-6, 100.0]]), rtol=1e-4, atol=1e-9)
    means.sum().backward()
    assert p.grad.isfinite().all()
    assert features.grad.isfinite().all()


def test_batch_norm_relu_and_names():
    x, _ = random_features()
    norm, plain = S.SparseBatchNorm(4).double(), torch.nn.BatchNorm1d(4).double()
    assert_close(norm(x).features, plain(x.features))
    norm.eval(), plain.eval()
    assert_close(norm(x).features, plain(x.features))
    assert set(norm.state_dict()) == {f"bn.{name}" for name in plain.state_dict()}
    assert_close(S.SparseReLU()(x).features, x.features.relu())
    assert set(S.SparseConv(2, 3, 2, bias=True).state_dict()) == {"kernel", "bias"}
    assert S.SparseConv(2, 3, 2, bias=True).bias.shape == (1, 3)
    assert S.SparseConv(2, 3, 1).kernel.shape == (2, 3)
    assert S.SparseConv(2, 3, 1, 2).kernel.shape == (1, 2, 3)
    assert S.SparseConvTranspose(2, 3, 2, 2).kernel.shape == (8, 2, 3)
    deep = S.SparseConv(16, 32, 3).kernel.detach()
    assert deep.abs().max() <= 1 / math.sqrt(16 * 27) and deep.std() > 0.5 / math.sqrt(16 * 27)


def test_every_map_is_made_once(monkeypatch):
    """Two blocks of two 3^3 layers, a decoder and a second forward on the same voxels."""
    made = []
    build = kernel_map_module.build
    monkeypatch.setattr(kernel_map_module, "build", lambda *a: made.append(a[1:]) or build(*a))
    x = S.voxelise([np.random.default_rng(0).uniform(-1, 1, (100, 3))], 0.1)
    down, up = S.SparseConv(1, 1, 2, 2), S.SparseConvTranspose(1, 1, 2, 2)
    blocks = [S.SparseConv(1, 1, 3) for _ in range(3)]
    for _ in range(2):
        y = down(blocks[1](blocks[0](x)))
        z = up(blocks[2](y))
        assert z.coordinates.same_as(x.coordinates)
    assert sorted(made) == [(1, 1, 3), (1, 2, 2), (2, 2, 3)]
    four = x.coordinates.coarser(4)
    level = four.level
    again = x.coordinates.coarser(2).coarser(2)
    assert again.same_as(four)
    assert again.level is level


def test_a_level_made_from_another_one():
    """Stride 4 straight from stride 1 holds the voxels of two steps of 2, and a layer from 2 to 4 finds them."""
    cloud = np.random.default_rng(0).uniform(-1, 1, (200, 3))
    once, twice = S.SparseConv(1, 2, 2, 2), S.SparseConv(2, 2, 2, 2)
    stepwise, straight = S.voxelise([cloud], 0.05), S.voxelise([cloud], 0.05)
    straight.coordinates.coarser(4)
    assert straight.coordinates.coarser(4).rows.tolist() == stepwise.coordinates.coarser(2).coarser(2).rows.tolist()
    assert torch.equal(twice(once(straight)).features, twice(once(stepwise)).features)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(dtype):
    rng = np.random.default_rng(2)
    x, *_ = random_tensor(rng, 2, most=200, extent=4, channels=8)
    features = x.features.detach().float().requires_grad_()
    x = x.replace(features)
    layers = [S.SparseConv(8, 8, 3), S.SparseBatchNorm(8), S.SparseConv(8, 8, 2, 2, bias=True)]
    layers += [S.SparseConv(8, 8, 1), S.SparseConvTranspose(8, 8, 2, 2)]

    def run(values):
        for layer in layers:
            values = layer(values)
        return values.features

    full = run(x)
    with torch.autocast("cpu", dtype):
        half = run(x)
        exact = S.SparseConv(8, 8, 3).double()(x.replace(features.double())).features
    assert half.dtype == dtype
    assert exact.dtype == torch.float64  # as a matrix product under autocast
    scale = full.abs().max().item()
    assert_close(half.float(), full, rtol=0, atol=0.03 * scale)
    half.float().sum().backward()
    parameters = [p for layer in layers for p in layer.parameters()]
    found = [p.grad.clone() for p in (features, *parameters)]
    features.grad = None
    for p in parameters:
        p.grad = None
    run(x).sum().backward()
    for a, b in zip(found, [p.grad for p in (features, *parameters)], strict=True):
        assert a.dtype == b.dtype
        assert_close(a, b, rtol=0, atol=0.05 * b.abs().max().item())


def test_float32_is_close_to_float64():
    rng = np.random.default_rng(4)
    x, _, _ = random_tensor(rng, 2, most=400, extent=4, channels=16)
    layer = S.SparseConv(16, 16, 3).double()
    exact = layer(x).features
    assert_close(layer.float()(x.replace(x.features.float())).features.double(), exact, rtol=0, atol=2e-6)


@QUICK
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 5), stride=st.integers(1, 3))
def test_what_a_gpu_runs_makes_the_same_maps(seed, size, stride):
    """torch's sorting and searching, many kernel columns at once: the branch for other devices, on the CPU."""

    def run():
        rng = np.random.default_rng(seed)
        x = S.voxelise([rng.uniform(-1, 1, (int(n), 3)) for n in rng.integers(1, 40, 2)], 0.2)
        coarse = x.coordinates.coarser(stride)
        pairs = kernel_map_module.kernel_map(coarse.manager, 1, stride, size)
        groups = {k: sorted(zip(i.tolist(), o.tolist(), strict=True)) for k, i, o in pairs.groups}
        return x.coordinates.rows.tolist(), coarse.rows.tolist(), groups

    here = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(S.ordering, "on_cpu", lambda tensor: False)
        assert run() == here


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_gpu_equals_cpu():
    rng = np.random.default_rng(6)
    clouds = [rng.uniform(-1, 1, (500, 3)).astype(np.float32) for _ in range(4)]
    here, there = S.voxelise(clouds, 0.05), S.voxelise(clouds, 0.05, device="cuda")
    assert torch.equal(here.coordinates.rows, there.coordinates.rows.cpu())
    for size, stride in itertools.product((1, 2, 3, 5), (1, 2)):
        layer = S.SparseConv(1, 8, size, stride).double()
        a = layer(here.replace(here.features.double())).features
        b = layer.cuda()(there.replace(there.features.double())).features
        assert_close(b.cpu(), a)
