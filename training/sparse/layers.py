"""Sparse layers in plain PyTorch, with MinkowskiEngine's rules, parameter names and initial values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.training.sparse.coordinates import Coordinates
from vpr_ros.training.sparse.functional import sparse_convolution
from vpr_ros.training.sparse.kernel_map import kernel_map
from vpr_ros.training.sparse.tensor import SparseTensor, Voxels


class SparseConv(nn.Module):
    """out[u] = sum_k in[u + offset_k] @ kernel[k] (+ bias).

    `kernel` (K^3, Cin, Cout), the first axis of the offset fastest; (Cin, Cout) for kernel size 1 with stride 1. Odd
    kernels are centred, even ones start at offset 0. Stride 1 keeps the voxels; stride s rounds them down to multiples
    of s times their stride.
    """

    def __init__(self, c_in: int, c_out: int, kernel_size: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        check_sizes(kernel_size, stride)
        self.kernel_size, self.stride = kernel_size, stride
        pointwise = kernel_size == 1 and stride == 1
        self.kernel = nn.Parameter(torch.empty((c_in, c_out) if pointwise else (kernel_size**3, c_in, c_out)))
        self.bias = nn.Parameter(torch.empty(1, c_out)) if bias else None
        initialise(self, c_in)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, Cin) -> (V', Cout)."""
        coordinates = torch_coordinates(x)
        if self.kernel.ndim == 2:
            features = x.features @ self.kernel
        else:
            if self.stride > 1:
                coordinates = coordinates.coarser(self.stride)
            pairs = kernel_map(coordinates.manager, x.coordinates.stride, coordinates.stride, self.kernel_size)
            features = sparse_convolution(x.features, self.kernel, pairs)
        return SparseTensor(features if self.bias is None else features + self.bias, coordinates)

    def extra_repr(self) -> str:
        """Sizes, as for nn.Conv3d."""
        return f"{self.kernel.shape[-2]}, {self.kernel.shape[-1]}, kernel_size={self.kernel_size}, stride={self.stride}"


class SparseConvTranspose(nn.Module):
    """out[c + offset_k] += in[c] @ kernel[k], onto the finer voxels from which the tensor was made.

    `kernel` (K^3, Cin, Cout); the offsets are those of the convolution in the other direction.
    """

    def __init__(self, c_in: int, c_out: int, kernel_size: int, stride: int) -> None:
        super().__init__()
        check_sizes(kernel_size, stride, least_stride=2)
        self.kernel_size, self.stride = kernel_size, stride
        self.kernel = nn.Parameter(torch.empty(kernel_size**3, c_in, c_out))
        self.bias = None
        initialise(self, c_out)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, Cin) at stride T -> (V', Cout) at the existing voxels of stride T / stride."""
        fine = torch_coordinates(x).finer(self.stride)
        pairs = kernel_map(fine.manager, fine.stride, x.coordinates.stride, self.kernel_size)
        return SparseTensor(sparse_convolution(x.features, self.kernel, pairs.transposed), fine)

    extra_repr = SparseConv.extra_repr


def torch_coordinates(x: SparseTensor) -> Coordinates:
    """The coordinates of a tensor; VprError for a tensor of another backend."""
    if not isinstance(x.coordinates, Coordinates):
        raise VprError('a "torch" layer got a tensor of another backend: voxelise with the same backend.')
    return x.coordinates


def check_sizes(kernel_size: int, stride: int, least_stride: int = 1) -> None:
    """VprError for a kernel size or stride that is too small; a transposed convolution needs a stride of 2 or more."""
    if kernel_size < 1 or stride < least_stride:
        raise VprError(
            f"a kernel size of at least 1 and a stride of at least {least_stride} are needed, not {kernel_size} and "
            f"{stride}."
        )


def initialise(layer: SparseConv | SparseConvTranspose, channels: int) -> None:
    """Initialise as MinkowskiEngine: uniform within 1 / sqrt(channels * kernel volume)."""
    bound = 1 / math.sqrt(channels * layer.kernel_size**3)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound)


class SparseBatchNorm(nn.Module):
    """One nn.BatchNorm1d (`bn`) over all voxels of the batch."""

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, eps=eps, momentum=momentum)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C) -> (V, C)."""
        return x.replace(self.bn(x.features))


class SparseReLU(nn.Module):
    """max(x, 0)."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, C) -> (V, C)."""
        return x.replace(F.relu(x.features, inplace=self.inplace))


def cloud_means(features: Tensor, coordinates: Voxels) -> Tensor:
    """Mean of the rows (V, C) of each cloud -> (B, C) in batch order; half precision is summed in float32."""
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    sums = features.new_zeros(coordinates.batch_size, features.shape[1]).index_add(0, coordinates.batch, features)
    return sums / torch.tensor(coordinates.counts, dtype=features.dtype, device=features.device)[:, None]


def global_average(x: SparseTensor) -> Tensor:
    """Mean over the voxels of each cloud: (V, C) -> (B, C) in batch order, at least float32."""
    return cloud_means(x.features, x.coordinates)


def global_gem(x: SparseTensor, p: Tensor | float, eps: float = 1e-6) -> Tensor:
    """Generalised mean over the voxels of each cloud, mean(max(x, eps)^p)^(1/p): (V, C) -> (B, C) in batch order.

    At least float32, since eps^p is 0 in half precision. Powers are computed with the logarithm, in a third of pow's
    time on a CPU, and in less with the gradients.
    """
    features = x.features.to(torch.promote_types(x.features.dtype, torch.float32))
    return cloud_means((features.clamp(min=eps).log() * p).exp(), x.coordinates).pow(1 / p)
