"""Sparse 3-D convolution with MinkowskiEngine's rules: plain PyTorch by default, MinkowskiEngine on request."""

from .backends import backend
from .coordinates import Coordinates
from .layers import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseReLU,
    global_average,
    global_gem,
)
from .tensor import SparseTensor, sparse_tensor, voxelise

__all__ = [
    "Coordinates",
    "SparseBatchNorm",
    "SparseConv",
    "SparseConvTranspose",
    "SparseReLU",
    "SparseTensor",
    "backend",
    "global_average",
    "global_gem",
    "sparse_tensor",
    "voxelise",
]
