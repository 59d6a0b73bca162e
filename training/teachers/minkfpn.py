"""Cloud branch of MinkLoc++: sparse 3-D feature pyramid with channel attention, GeM over the voxels of a cloud."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor, nn

from vpr_ros.training.sparse import SparseTensor, backend
from vpr_ros.training.teachers.pooling import GEM_EPS, GEM_START


def attention_kernel(channels: int) -> int:
    """Kernel of efficient channel attention: (log2 C + 1) / 2 rounded down, then up to an odd number.

    Wang et al., "ECA-Net", with gamma 2 and b 1; 3 for both 32 and 64 channels.
    """
    size = int((math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1


class ChannelAttention(nn.Module):
    """Scales each cloud's channels by the sigmoid of a 1-D convolution over their means."""

    def __init__(self, channels: int, sparse: ModuleType) -> None:
        super().__init__()
        self.global_average = sparse.global_average
        size = attention_kernel(channels)
        self.conv = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C) -> (V, C)."""
        means = self.global_average(x)
        return x.scale_by(torch.sigmoid(self.conv(means[:, None])[:, 0]))


class EcaBlock(nn.Module):
    """Residual block: 3^3 convolution, norm, ReLU, 3^3 convolution, norm, channel attention, skip, ReLU."""

    def __init__(self, before: int, planes: int, sparse: ModuleType) -> None:
        super().__init__()
        self.conv1 = sparse.SparseConv(before, planes, 3)
        self.norm1 = sparse.SparseBatchNorm(planes)
        self.conv2 = sparse.SparseConv(planes, planes, 3)
        self.norm2 = sparse.SparseBatchNorm(planes)
        self.eca = ChannelAttention(planes, sparse)
        self.relu = sparse.SparseReLU()
        self.downsample = (
            nn.Sequential(sparse.SparseConv(before, planes, 1), sparse.SparseBatchNorm(planes))
            if before != planes
            else None
        )

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, before) -> (V, planes) at the same voxels."""
        skip = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.eca(self.norm2(self.conv2(x))) + skip)


class MinkFPN(nn.Module):
    """METHODS section 4.1: three levels of stride 2, 4, 8, one step back up to stride 4. Entries as published."""

    def __init__(
        self, dim: int, planes: Sequence[int] = (32, 64, 64), sparse: ModuleType | None = None, blocks: int = 1
    ) -> None:
        super().__init__()
        sparse = sparse or backend("auto")
        before = (planes[0], *planes[:-1])
        self.conv0 = sparse.SparseConv(1, planes[0], 5)
        self.bn0 = sparse.SparseBatchNorm(planes[0])
        self.convs = nn.ModuleList(sparse.SparseConv(width, width, 2, stride=2) for width in before)
        self.bn = nn.ModuleList(sparse.SparseBatchNorm(width) for width in before)
        self.blocks = nn.ModuleList(
            nn.Sequential(EcaBlock(width, plane, sparse), *(EcaBlock(plane, plane, sparse) for _ in range(blocks - 1)))
            for width, plane in zip(before, planes, strict=True)
        )
        # the coarsest level first, in the order of the top-down path
        self.conv1x1 = nn.ModuleList(sparse.SparseConv(plane, dim, 1) for plane in (planes[-1], planes[-2]))
        self.tconvs = nn.ModuleList([sparse.SparseConvTranspose(dim, dim, 2, stride=2)])
        self.relu = sparse.SparseReLU()
        for module in self.modules():
            if isinstance(module, sparse.SparseConv):
                kernel: Tensor = module.kernel  # type: ignore[assignment]
                offsets = kernel.shape[0] if kernel.ndim == 3 else 1
                # Kaiming normal, fan-out, ReLU gain; the transposed convolution keeps its uniform initialisation
                nn.init.normal_(kernel, std=math.sqrt(2 / (offsets * kernel.shape[-1])))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Voxels of stride 1 with the feature 1 -> (V, dim) at stride 4."""
        x = self.relu(self.bn0(self.conv0(x)))
        levels = []
        for conv, norm, block in zip(self.convs, self.bn, self.blocks, strict=True):
            x = block(self.relu(norm(conv(x))))
            levels.append(x)
        return self.tconvs[0](self.conv1x1[0](levels[-1])) + self.conv1x1[1](levels[-2])


class SparseGeM(nn.Module):
    """Generalised mean over the voxels of each cloud, as `pooling.GeM` over the pixels of an image."""

    def __init__(self, sparse: ModuleType) -> None:
        super().__init__()
        self.global_gem = sparse.global_gem
        self.p = nn.Parameter(torch.tensor([GEM_START]))

    def forward(self, x: SparseTensor) -> Tensor:
        """(V, C) -> (B, C) in batch order."""
        # cubes of small activations are 0 in half precision
        return self.global_gem(x.replace(x.features.float()), self.p, GEM_EPS)


class CloudBranch(nn.Module):
    """Clouds -> (B, D): voxels of edge `voxel_size`, MinkFPN, GeM."""

    def __init__(
        self,
        dim: int,
        voxel_size: float,
        planes: Sequence[int] = (32, 64, 64),
        sparse: ModuleType | None = None,
        blocks: int = 1,
    ) -> None:
        super().__init__()
        sparse = sparse or backend("auto")
        # functions instead of the module: a network with a module as an attribute cannot be copied or pickled
        self.voxelise, self.voxel_size = sparse.voxelise, voxel_size
        self.backbone = MinkFPN(dim, planes, sparse, blocks)
        self.pool = SparseGeM(sparse)

    def forward(self, clouds: Sequence[Tensor]) -> Tensor:
        """B clouds (N_i, 3) in the unit of the voxel size -> (B, D), not of unit length."""
        device = next(self.parameters()).device
        return self.pool(self.backbone(self.voxelise(clouds, self.voxel_size, device)))
