"""The namespace `backend("torch")`."""

from vpr_ros.training.sparse.layers import (
    SparseBatchNorm,
    SparseConv,
    SparseConvTranspose,
    SparseReLU,
    global_average,
    global_gem,
)
from vpr_ros.training.sparse.tensor import SparseTensor, sparse_tensor, voxelise

NAME = "torch"

__all__ = [
    "NAME",
    "SparseBatchNorm",
    "SparseConv",
    "SparseConvTranspose",
    "SparseReLU",
    "SparseTensor",
    "global_average",
    "global_gem",
    "sparse_tensor",
    "voxelise",
]
