"""Both backends give the same numbers and read the same state dictionaries (where MinkowskiEngine is installed)."""

import copy
import importlib.util
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from vpr_ros.errors import VprError
from vpr_ros.training.sparse import backend

if importlib.util.find_spec("MinkowskiEngine") is None:
    pytest.skip("MinkowskiEngine is not installed: its agreement is not tested here", allow_module_level=True)

OURS, THEIRS = backend("torch"), backend("minkowski")
QUICK = settings(max_examples=60, deadline=None)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def random_rows(rng, clouds, extent, most, grid=1):
    rows = []
    for b in range(clouds):
        xyz = rng.integers(-extent, extent + 1, (int(rng.integers(1, most + 1)), 3)) * grid
        rows += [(b, *place) for place in np.unique(xyz, axis=0).tolist()]
    return torch.tensor(rows)[torch.from_numpy(rng.permutation(len(rows)))]


def in_order(tensor):
    """(rows, features) in lexicographic order: the engine's own order is that of its hash table."""
    rows = tensor.coordinates.rows
    order = np.lexsort(rows.numpy().T[::-1]).copy()
    return rows[order], tensor.features[order]


def both(rows, features, clouds, grid=1):
    leaves = [features.clone().requires_grad_() for _ in range(2)]
    return [B.sparse_tensor(rows, leaf, clouds, grid) for B, leaf in zip((OURS, THEIRS), leaves, strict=True)], leaves


def agree(outputs, leaves, layers, seed, atol=1e-12):
    """Voxels, features, gradients of the input and of every parameter."""
    (rows_a, a), (rows_b, b) = map(in_order, outputs)
    assert torch.equal(rows_a, rows_b)
    assert outputs[0].coordinates.stride == outputs[1].coordinates.stride
    assert_close(a, b, rtol=0, atol=atol)
    weights = torch.randn(a.shape, generator=torch.Generator().manual_seed(seed), dtype=a.dtype)
    (a * weights).sum().backward()
    (b * weights).sum().backward()
    assert_close(leaves[0].grad, leaves[1].grad, rtol=0, atol=atol)
    for p, q in zip(layers[0].parameters(), layers[1].parameters(), strict=True):
        assert_close(p.grad, q.grad, rtol=0, atol=10 * atol)


@QUICK
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 5),
    stride=st.integers(1, 3),
    grid=st.sampled_from([1, 2, 4]),
    clouds=st.integers(1, 4),
    bias=st.booleans(),
)
def test_convolution(seed, size, stride, grid, clouds, bias):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, clouds, 6, 200, grid)
    tensors, leaves = both(rows, torch.from_numpy(rng.normal(size=(len(rows), 3))), clouds, grid)
    layers = [B.SparseConv(3, 5, size, stride, bias=bias).double() for B in (OURS, THEIRS)]
    layers[1].load_state_dict(layers[0].state_dict())
    agree([layer(x) for layer, x in zip(layers, tensors, strict=True)], leaves, layers, seed)


@QUICK
@given(
    seed=st.integers(0, 2**32 - 1),
    down=st.integers(1, 4),
    up=st.integers(1, 4),
    stride=st.integers(2, 3),
    clouds=st.integers(1, 4),
)
def test_down_and_up_again(seed, down, up, stride, clouds):
    rng = np.random.default_rng(seed)
    rows = random_rows(rng, clouds, 6, 200)
    tensors, leaves = both(rows, torch.from_numpy(rng.normal(size=(len(rows), 3))), clouds)
    layers = [
        nn.Sequential(B.SparseConv(3, 4, down, stride), B.SparseConvTranspose(4, 2, up, stride)).double()
        for B in (OURS, THEIRS)
    ]
    layers[0].load_state_dict(layers[1].state_dict())
    agree([layer(x) for layer, x in zip(layers, tensors, strict=True)], leaves, layers, seed)


def test_float32_and_autocast():
    rng = np.random.default_rng(0)
    rows = random_rows(rng, 3, 6, 300)
    tensors, _ = both(rows, torch.from_numpy(rng.normal(size=(len(rows), 8))).float(), 3)
    layers = [B.SparseConv(8, 8, 3) for B in (OURS, THEIRS)]
    layers[1].load_state_dict(layers[0].state_dict())
    a, b = (in_order(layer(x))[1] for layer, x in zip(layers, tensors, strict=True))
    assert_close(a, b, rtol=0, atol=2e-6)
    with torch.autocast("cpu", torch.bfloat16):
        half = in_order(layers[1](tensors[1].replace(tensors[1].features.bfloat16())))[1]
    assert half.dtype == torch.float32  # the engine has no half precision; it computes in the weights' own
    assert_close(half, b, rtol=0, atol=0.02)


class Attention(nn.Module):
    """ECA: weights of the channels from their means over the cloud."""

    def __init__(self, B):
        super().__init__()
        self.means, self.conv = B.global_average, nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        return x.scale_by(torch.sigmoid(self.conv(self.means(x)[:, None])[:, 0]))


class Block(nn.Module):
    """Two 3^3 layers with attention around a skip."""

    def __init__(self, B, c_in, c_out):
        super().__init__()
        self.conv1, self.norm1 = B.SparseConv(c_in, c_out, 3), B.SparseBatchNorm(c_out)
        self.conv2, self.norm2 = B.SparseConv(c_out, c_out, 3), B.SparseBatchNorm(c_out)
        self.skip = nn.Sequential(B.SparseConv(c_in, c_out, 1), B.SparseBatchNorm(c_out))
        self.attention, self.relu = Attention(B), B.SparseReLU()

    def forward(self, x):
        y = self.attention(self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x))))))
        return self.relu(y + self.skip(x))


class Network(nn.Module):
    """The layers of MinkLoc++'s cloud branch with fewer channels: 5^3, strided, residual, top-down, GeM."""

    def __init__(self, B):
        super().__init__()
        self.stem = nn.Sequential(B.SparseConv(1, 4, 5), B.SparseBatchNorm(4), B.SparseReLU())
        widths = [4, 4, 8, 8]
        self.stages = nn.ModuleList(
            nn.Sequential(B.SparseConv(c, c, 2, 2), B.SparseBatchNorm(c), B.SparseReLU(), Block(B, c, d))
            for c, d in zip(widths, widths[1:], strict=False)
        )
        self.lateral = nn.ModuleList([B.SparseConv(8, 16, 1), B.SparseConv(8, 16, 1)])
        self.up, self.gem = B.SparseConvTranspose(16, 16, 2, 2), B.global_gem
        self.p = nn.Parameter(torch.tensor([3.0]))

    def forward(self, x):
        levels, x = [], self.stem(x)
        for stage in self.stages:
            levels.append(x := stage(x))
        return self.gem(self.up(self.lateral[0](levels[2])) + self.lateral[1](levels[1]), self.p)


def networks():
    torch.manual_seed(0)
    ours, theirs = Network(OURS).double(), Network(THEIRS).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    with torch.no_grad():
        for name, value in ours.state_dict().items():
            if "running_var" in name or name.endswith("bn.weight"):
                value.uniform_(0.5, 1.5)
            elif "running_mean" in name or name.endswith("bn.bias"):
                value.normal_(0, 0.2)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def clouds_of(rng, number):
    return [rng.uniform(-1, 1, (int(n), 3)).astype(np.float32) for n in rng.integers(200, 600, number)]


def double(x):
    return x.replace(x.features.double())


def test_network_in_training():
    """A batch of 7 in training mode: output, running statistics and all gradients."""
    ours, theirs = networks()
    clouds = clouds_of(np.random.default_rng(1), 7)
    a, b = ours(double(OURS.voxelise(clouds, 0.05))), theirs(double(THEIRS.voxelise(clouds, 0.05)))
    assert a.shape == (7, 16)
    assert_close(a, b, rtol=0, atol=1e-12)
    (a**2).sum().backward()
    (b**2).sum().backward()
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12, msg=lambda told, name=name: f"{name}: {told}")
    for p, q in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert_close(p, q, rtol=0, atol=1e-13)


def test_engine_batches_are_its_single_clouds():
    """The engine's own pooling mixes up the clouds of a batch on a CPU; through this backend it cannot."""
    ours, theirs = networks()
    ours.eval(), theirs.eval()
    clouds = clouds_of(np.random.default_rng(2), 9)
    with torch.no_grad():
        alone = torch.cat([theirs(double(THEIRS.voxelise([cloud], 0.05))) for cloud in clouds])
        assert (torch.cdist(alone, alone) + 9 * torch.eye(9, dtype=torch.float64)).min() > 1e-6  # all different
        assert_close(theirs(double(THEIRS.voxelise(clouds, 0.05))), alone, rtol=0, atol=1e-12)
        assert_close(ours(double(OURS.voxelise(clouds, 0.05))), alone, rtol=0, atol=1e-12)


def pickled(network):
    return pickle.loads(pickle.dumps(network))


@pytest.mark.parametrize("by", [copy.deepcopy, pickled])
def test_copies_of_a_network_are_whole_and_their_own(by):
    clouds = clouds_of(np.random.default_rng(3), 3)
    seen = double(THEIRS.voxelise(clouds, 0.05))
    network = networks()[1].eval()
    before = network(seen)  # fills what the engine keeps of earlier calls
    copied = by(by(network))
    assert_close(copied(seen), before, rtol=0, atol=0)
    copied.train()(double(THEIRS.voxelise(clouds, 0.05))).sum().backward()
    assert all(p.grad is not None for p in copied.parameters()) and all(p.grad is None for p in network.parameters())
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert_close(network(seen), before, rtol=0, atol=0)
    biased = THEIRS.SparseConv(1, 2, 3, bias=True)
    assert_close(by(biased).bias, biased.bias)


def test_the_same_refusals():
    here, there = (B.voxelise([np.zeros((1, 3))], 0.1) for B in (OURS, THEIRS))
    with pytest.raises(VprError, match="never had"):
        THEIRS.SparseConvTranspose(1, 1, 2, 2)(there)
    with pytest.raises(VprError, match="same backend"):
        THEIRS.SparseConv(1, 1, 3)(here)
    with pytest.raises(VprError, match="same backend"):
        OURS.SparseConv(1, 1, 3)(there)
    with pytest.raises(VprError, match="different voxels"):
        there + THEIRS.voxelise([np.zeros((1, 3))], 0.1)
    with pytest.raises(VprError, match="no points"):
        THEIRS.voxelise([np.zeros((0, 3))], 0.1)
    assert backend("auto") is OURS
