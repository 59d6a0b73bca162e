"""Time of sparse convolution: plain PyTorch, MinkowskiEngine used directly, and kernel maps made with dictionaries.

Process CPU time of one thread. Coordinates and kernel maps are made anew in every call, as for every batch of a
training. Each sample is divided by the mean of the reference's times just before and after it; the reference is
MinkowskiEngine where it imports, else the plain version, and a second copy of it is timed as a control (it should read
1.00). The cloud branch is MinkLoc++'s (128-d), from points to descriptors.

    python benchmarks/sparse.py --out runs/bench_sparse
"""

from __future__ import annotations

import os

# before torch is imported: waiting OpenMP workers would burn CPU time that is then counted
os.environ.update(OMP_WAIT_POLICY="PASSIVE", GOMP_SPINCOUNT="0", OMP_NUM_THREADS="1")

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vpr_ros.errors import VprError
from vpr_ros.training.sparse import Coordinates, backend
from vpr_ros.training.sparse import kernel_map as maps
from vpr_ros.training.teachers.minkfpn import CloudBranch

VOXEL, TARGETS = 0.01, {"eval": 1.2, "training": 1.3}
Side = Callable[[], object]


def lidar_like(rng: np.random.Generator, points: int = 4096, planes: int = 4, half: float = 0.5) -> np.ndarray:
    """(points, 3) float32 in [-1, 1]^3 on random square patches of planes, 2 mm of noise across, in random order."""
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < points:
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        along = np.linalg.svd(normal[None])[2][1:]
        patch = rng.uniform(-half, half, (points // planes, 2)) @ along
        patch += rng.uniform(-0.8, 0.8, 3) + rng.normal(0, 0.002, (len(patch), 1)) * normal
        parts.append(patch[(np.abs(patch) < 1).all(1)])
    cloud = np.concatenate(parts)
    return cloud[rng.permutation(len(cloud))[:points]].astype(np.float32)


def dictionary_map(manager: Any, stride_in: int, stride_out: int, size: int) -> maps.KernelMap:
    """The kernel map as it reads in the definition: every voxel, every offset, one look-up each."""
    source = {tuple(row): i for i, row in enumerate(Coordinates(manager, stride_in).rows.tolist())}
    target = Coordinates(manager, stride_out).rows.tolist()
    first = -(size // 2) if size % 2 else 0
    groups = []
    for k in range(size**3):
        x, y, z = ((k // size**axis % size + first) * stride_in for axis in range(3))
        pairs = []
        for u, (b, i, j, l) in enumerate(target):  # noqa: E741
            found = source.get((b, i + x, j + y, l + z))
            if found is not None:
                pairs.append((found, u))
        if pairs:
            inputs, outputs = torch.tensor(pairs).T.contiguous()
            groups.append((k, inputs, outputs))
    return maps.KernelMap(groups, len(source), len(target))


class NativeBranch(nn.Module):
    """MinkLoc++'s cloud branch written on MinkowskiEngine itself, with CloudBranch's entries.

    For timing: its attention and pooling are MinkowskiEngine's, whose rows are not in batch order on a CPU.
    """

    backbone: Any
    pool: Any

    def __init__(self, ME: Any, branch: CloudBranch) -> None:
        super().__init__()
        self.ME = ME

        def convolution(c_in: int, c_out: int, size: int, stride: int = 1) -> Any:
            return ME.MinkowskiConvolution(c_in, c_out, kernel_size=size, stride=stride, dimension=3)

        net: Any = nn.Module()
        self.backbone = net
        net.conv0, net.bn0 = convolution(1, 32, 5), ME.MinkowskiBatchNorm(32)
        net.convs = nn.ModuleList(convolution(c, c, 2, 2) for c in (32, 32, 64))
        net.bn = nn.ModuleList(ME.MinkowskiBatchNorm(c) for c in (32, 32, 64))
        blocks = []
        for before, planes in ((32, 32), (32, 64), (64, 64)):
            block: Any = nn.Module()
            block.conv1, block.norm1 = convolution(before, planes, 3), ME.MinkowskiBatchNorm(planes)
            block.conv2, block.norm2 = convolution(planes, planes, 3), ME.MinkowskiBatchNorm(planes)
            block.eca = nn.Module()
            block.eca.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)
            if before != planes:
                block.downsample = nn.Sequential(convolution(before, planes, 1), ME.MinkowskiBatchNorm(planes))
            blocks.append(nn.ModuleList([block]))
        net.blocks = nn.ModuleList(blocks)
        net.conv1x1 = nn.ModuleList(convolution(64, 128, 1) for _ in range(2))
        net.tconvs = nn.ModuleList([ME.MinkowskiConvolutionTranspose(128, 128, kernel_size=2, stride=2, dimension=3)])
        self.pool = nn.Module()
        self.pool.p = nn.Parameter(torch.tensor([3.0]))
        self.relu, self.average = ME.MinkowskiReLU(), ME.MinkowskiGlobalPooling()
        self.spread = ME.MinkowskiBroadcastMultiplication()
        self.load_state_dict(branch.state_dict())

    def like(self, x: Any, features: Tensor) -> Any:
        """Other features at the voxels of x."""
        return self.ME.SparseTensor(
            features, coordinate_map_key=x.coordinate_map_key, coordinate_manager=x.coordinate_manager
        )

    def block(self, block: Any, x: Any) -> Any:
        """Residual block with channel attention."""
        y = block.norm2(block.conv2(self.relu(block.norm1(block.conv1(x)))))
        means = self.average(y)
        weights = self.like(means, torch.sigmoid(block.eca.conv(means.F[:, None])[:, 0]))
        skip = block.downsample(x) if hasattr(block, "downsample") else x
        return self.relu(self.spread(y, weights) + skip)

    def forward(self, clouds: Sequence[Tensor]) -> Tensor:
        """B clouds (N_i, 3) -> (B, 128), in MinkowskiEngine's order."""
        ME, net = self.ME, self.backbone
        rows = ME.utils.batched_coordinates([ME.utils.sparse_quantize(c, quantization_size=VOXEL) for c in clouds])
        x = self.relu(net.bn0(net.conv0(ME.SparseTensor(torch.ones(len(rows), 1), rows))))
        levels = []
        for conv, norm, (block,) in zip(net.convs, net.bn, net.blocks, strict=True):
            x = self.block(block, self.relu(norm(conv(x))))
            levels.append(x)
        y = net.tconvs[0](net.conv1x1[0](levels[2])) + net.conv1x1[1](levels[1])
        return self.average(self.like(y, y.F.clamp(min=1e-6).pow(self.pool.p))).F.pow(1 / self.pool.p)


def cpu_time(call: Side) -> float:
    """CPU seconds of one call, of all threads."""
    started = time.process_time()
    call()
    return time.process_time() - started


def compare(reference: Side, sides: dict[str, Side], rounds: dict[str, int]) -> tuple[dict[str, np.ndarray], float]:
    """Reference, side, reference, side, ...: ratios per side, and the reference's median time in seconds."""
    collected: dict[str, list[float]] = {name: [] for name in sides}
    for call in (reference, *(side for name, side in sides.items() if name != "dictionary")):
        call()
    times = [cpu_time(reference)]
    for turn in range(max(rounds.values())):
        for name, side in sides.items():
            if turn < rounds[name]:
                taken = cpu_time(side)
                times.append(cpu_time(reference))
                collected[name].append(2 * taken / (times[-2] + times[-1]))
    return {name: np.array(values) for name, values in collected.items()}, float(np.median(times))


def step(call: Callable[[], Tensor], parameters: Sequence[Tensor]) -> None:
    """Forward, then gradients of all parameters."""
    torch.autograd.grad(call().square().sum(), list(parameters), allow_unused=True)


def in_mode(mode: str, call: Callable[[], Tensor], module: nn.Module) -> Side:
    """The call without gradients, or with a backward pass."""

    def run() -> None:
        module.train(mode == "training")
        if mode == "training":
            step(call, list(module.parameters()))
        else:
            with torch.inference_mode():
                call()

    return run


def with_dictionaries(side: Side) -> Side:
    """The plain version with every kernel map made by `dictionary_map`."""

    def run() -> None:
        with mock.patch.object(maps, "build", dictionary_map):
            side()

    return run


def main() -> None:
    """Measure, print a table, write sparse.csv and sparse.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_sparse"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clouds", type=int, default=8)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    plain = backend("torch")
    engine: ModuleType | None = None
    try:
        engine = backend("minkowski")
    except VprError as error:
        print(error)
    ME: Any = None if engine is None else engine.ME
    clouds = [torch.from_numpy(lidar_like(rng)) for _ in range(args.clouds)]
    voxels = plain.voxelise(clouds, VOXEL).coordinates
    levels = {1: voxels, 2: voxels.coarser(2), 4: voxels.coarser(4), 8: voxels.coarser(8)}
    print(
        f"{args.clouds} clouds, voxels at stride 1, 2, 4, 8: {', '.join(str(len(level)) for level in levels.values())}"
    )

    cases: list[tuple[str, str, dict[str, Side]]] = []
    for name, stride, c_in, c_out, size, factor in (
        ("5^3, 1 to 32", 1, 1, 32, 5, 1),
        ("2^3 stride 2, 32 to 32", 1, 32, 32, 2, 2),
        ("3^3, 32 to 64 at stride 2", 2, 32, 64, 3, 1),
        ("3^3, 64 to 64 at stride 4", 4, 64, 64, 3, 1),
    ):
        rows = levels[stride].rows
        features = torch.randn(len(rows), c_in)
        layer = plain.SparseConv(c_in, c_out, size, factor)

        def ours(rows: Any = rows, x: Any = features, layer: Any = layer, stride: int = stride) -> Tensor:
            return layer(plain.sparse_tensor(rows, x, args.clouds, stride)).features

        for mode in TARGETS:
            sides = {"ours": in_mode(mode, ours, layer)}
            if ME is not None:
                native = ME.MinkowskiConvolution(c_in, c_out, kernel_size=size, stride=factor, dimension=3)
                native.load_state_dict(layer.state_dict())

                def theirs(rows: Any = rows, x: Any = features, layer: Any = native, stride: int = stride) -> Tensor:
                    return layer(ME.SparseTensor(x, rows, tensor_stride=stride)).F

                sides["engine"] = in_mode(mode, theirs, native)
            cases.append((name, mode, sides))
    branch = CloudBranch(128, VOXEL, sparse=plain)
    for mode in TARGETS:
        sides = {"ours": in_mode(mode, lambda: branch(clouds), branch)}
        if engine is not None:
            wrapped, native = CloudBranch(128, VOXEL, sparse=engine), NativeBranch(ME, branch)
            wrapped.load_state_dict(branch.state_dict())
            sides["engine"] = in_mode(mode, lambda native=native: native(clouds), native)
            sides["ours, engine backend"] = in_mode(mode, lambda wrapped=wrapped: wrapped(clouds), wrapped)
        cases.append(("cloud branch", mode, sides))

    if engine is not None:
        with torch.inference_mode():
            branch.eval()
            native.eval()
            alone = torch.cat(
                [native([cloud]) for cloud in clouds]
            )  # MinkowskiEngine's rows are in order for a single cloud
            difference = float((branch(clouds) - alone).abs().max() / alone.abs().max())
        print(f"largest difference from MinkowskiEngine's descriptors, relative to the largest: {difference:.1e}")

    result = []
    print(f"{'case':28} {'mode':9} reference      {'side':22} ratio  quartiles")
    for name, mode, sides in cases:
        reference = sides.pop("engine", sides["ours"])
        sides = {"control": reference, **sides, "dictionary": with_dictionaries(sides["ours"])}
        if reference is sides["ours"]:
            del sides["ours"]
        rounds = {side: max(2, args.rounds // 7) if side == "dictionary" else args.rounds for side in sides}
        measured, reference_s = compare(reference, sides, rounds)
        for side, values in measured.items():
            low, middle, high = (round(float(v), 3) for v in np.percentile(values, (25, 50, 75)))
            row = {"case": name, "mode": mode, "reference": "MinkowskiEngine" if engine else "ours"}
            row |= {"reference_ms": round(1e3 * reference_s, 1), "side": side}
            row |= {"ratio": middle, "quartile1": low, "quartile3": high}
            result.append(row)
            print(f"{name:28} {mode:9} {1e3 * reference_s:8.1f} ms    {side:22} {middle:6.3f} {low:.3f}-{high:.3f}")
    if engine is not None:
        for mode, target in TARGETS.items():
            ratio = next(
                r["ratio"] for r in result if (r["case"], r["mode"], r["side"]) == ("cloud branch", mode, "ours")
            )
            print(f"cloud branch, {mode}: {ratio:.3f} (target {target}: {'met' if ratio <= target else 'not met'})")
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "sparse.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, result[0])
        writer.writeheader()
        writer.writerows(result)
    context = {"torch": torch.__version__, "numpy": np.__version__, "threads": 1, "clouds": args.clouds}
    context |= {"minkowski_engine": ME.__version__ if ME else None, "voxels": [len(v) for v in levels.values()]}
    (args.out / "sparse.json").write_text(json.dumps({"ratios": result, **context}, indent=2) + "\n")


if __name__ == "__main__":
    main()
