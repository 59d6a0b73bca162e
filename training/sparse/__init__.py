"""Sparse 3-D convolution with MinkowskiEngine's rules: plain PyTorch by default, MinkowskiEngine on request."""

from vpr_ros.training.sparse.backends import backend
from vpr_ros.training.sparse.coordinates import Coordinates
from vpr_ros.training.sparse.layers import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseReLU,
    global_average,
    global_gem,
)
from vpr_ros.training.sparse.tensor import SparseTensor, sparse_tensor, voxelise

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
