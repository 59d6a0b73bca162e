"""The namespace `backend("minkowski")`: the same tensors and layers with MinkowskiEngine's maps and convolutions.

Building it needs a C++ compiler, OpenBLAS (Debian and Ubuntu: g++, python3-dev, libopenblas-dev), and torch, numpy,
ninja and wheel in the environment. Its setup looks up the BLAS in a numpy module that no longer exists, so name it in
the command (5 to 15 minutes; the CPU version only, since its CUDA sources do not compile with CUDA 12 and newer):

    pip install --no-build-isolation --use-pep517 --config-settings=--global-option=--blas=openblas \\
        MinkowskiEngine==0.5.4

MinkowskiEngine 0.5.4 needs one name that Python 3.10 removed from `collections`; it is restored before the import. Its
global pooling is not used: on a CPU its rows are in hash order (for sums and averages not even in the order of its
coordinates), so that clouds of a batch would get one another's means. Pooling, channel attention and normalisation are
ours, by the batch index of each voxel.
"""

from __future__ import annotations

import collections
import collections.abc
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vpr_ros.errors import VprError
from vpr_ros.training.sparse.coordinates import cloud_counts, no_finer_voxels
from vpr_ros.training.sparse.layers import SparseBatchNorm, SparseReLU, check_sizes, global_average, global_gem
from vpr_ros.training.sparse.tensor import SparseTensor
from vpr_ros.training.sparse.tensor import sparse_tensor as torch_sparse_tensor
from vpr_ros.training.sparse.tensor import voxelise as torch_voxelise

if not hasattr(collections, "Sequence"):
    setattr(collections, "Sequence", collections.abc.Sequence)  # noqa: B010

try:
    import MinkowskiEngine  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise VprError(
        f'MinkowskiEngine does not import ({error}): take the "torch" backend, which gives the same numbers, or build '
        "as the docstring of vpr_ros.training.sparse.minkowski_backend says."
    ) from None

NAME = "minkowski"
ME: Any = MinkowskiEngine


class MinkowskiCoordinates:
    """The same view of voxels as `Coordinates`, with the rows in the engine's order."""

    def __init__(self, key: Any, manager: Any, batch_size: int) -> None:
        self.key, self.manager, self.batch_size = key, manager, batch_size

    @cached_property
    def rows(self) -> Tensor:
        """(V, 4) int32: batch, x, y, z, in hash order."""
        return self.manager.get_coordinates(self.key)

    @cached_property
    def batch(self) -> Tensor:
        """(V,) int64: the cloud of each voxel, in no order."""
        return self.rows[:, 0].long()

    @cached_property
    def counts(self) -> list[int]:
        """Voxels of each cloud."""
        return cloud_counts(self.batch, self.batch_size)

    @property
    def stride(self) -> int:
        """Spacing of the voxels in units of the finest grid."""
        return self.key.get_tensor_stride()[0]

    def __len__(self) -> int:
        return self.manager.size(self.key)

    def same_as(self, other: Any) -> bool:
        """Whether the rows of both are the same voxels in the same order."""
        return self.manager is getattr(other, "manager", None) and self.key == other.key


def _wrap(raw: Any, batch_size: int) -> SparseTensor:
    coordinates: Any = MinkowskiCoordinates(raw.coordinate_map_key, raw.coordinate_manager, batch_size)
    return SparseTensor(raw.F, coordinates)


def _unwrap(x: SparseTensor, dtype: torch.dtype) -> Any:
    coordinates: Any = x.coordinates
    if not isinstance(coordinates, MinkowskiCoordinates):
        raise VprError('a "minkowski" layer got a tensor of the "torch" backend: voxelise with the same backend.')
    # the engine has no half precision, to which autocast may have cast the features
    return ME.SparseTensor(
        x.features.to(dtype), coordinate_map_key=coordinates.key, coordinate_manager=coordinates.manager
    )


def _to_engine(x: SparseTensor) -> SparseTensor:
    raw = ME.SparseTensor(x.features, x.coordinates.rows, tensor_stride=x.coordinates.stride)
    return _wrap(raw, x.batch_size)


def voxelise(
    clouds: Sequence[np.ndarray | Tensor], size: float, device: torch.device | str | None = None
) -> SparseTensor:
    """As the torch backend's `voxelise`."""
    return _to_engine(torch_voxelise(clouds, size, device))


def sparse_tensor(rows: Tensor, features: Tensor, batch_size: int | None = None, stride: int = 1) -> SparseTensor:
    """As the torch backend's `sparse_tensor`; the rows of the result are in the engine's order."""
    return _to_engine(torch_sparse_tensor(rows, features, batch_size, stride))


class _Copyable(nn.Module):
    """Base of the engine's layers that makes them copyable and picklable.

    They store most attributes in slots, which the state of an nn.Module does not include: a copy would fail when it is
    called.
    """

    def __getstate__(self) -> dict[str, Any]:
        slots = [name for base in type(self).__mro__ for name in base.__dict__.get("__slots__", ())]
        stored = {name: getattr(self, name) for name in slots if name not in self._parameters}
        if not isinstance(stored["conv"], type):  # an autograd function: its class is equivalent and can be pickled
            stored["conv"] = type(stored["conv"])
        return {**super().__getstate__(), "slots": stored}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: value for name, value in state.items() if name != "slots"})
        for name, value in state["slots"].items():
            setattr(self, name, value)


class SparseConv(_Copyable, ME.MinkowskiConvolution):
    """MinkowskiConvolution; see `layers.SparseConv` for its rules."""

    def __init__(self, c_in: int, c_out: int, kernel_size: int, stride: int = 1, bias: bool = False) -> None:
        check_sizes(kernel_size, stride)
        super().__init__(c_in, c_out, kernel_size=kernel_size, stride=stride, bias=bias, dimension=3)

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, Cin) -> (V', Cout)."""
        with torch.autocast(x.features.device.type, enabled=False):
            return _wrap(super().forward(_unwrap(x, self.kernel.dtype)), x.batch_size)


class SparseConvTranspose(_Copyable, ME.MinkowskiConvolutionTranspose):
    """MinkowskiConvolutionTranspose onto existing voxels; see `layers.SparseConvTranspose`."""

    def __init__(self, c_in: int, c_out: int, kernel_size: int, stride: int) -> None:
        check_sizes(kernel_size, stride, least_stride=2)
        super().__init__(c_in, c_out, kernel_size=kernel_size, stride=stride, dimension=3)
        self.factor = stride

    def forward(self, x: SparseTensor) -> SparseTensor:
        """(V, Cin) at stride T -> (V', Cout) at the existing voxels of stride T / stride."""
        raw = _unwrap(x, self.kernel.dtype)
        stride, rest = divmod(x.coordinates.stride, self.factor)
        if rest or not raw.coordinate_manager._manager.get_coordinate_map_keys([stride] * 3):
            raise no_finer_voxels(x.coordinates.stride, self.factor)
        with torch.autocast(x.features.device.type, enabled=False):
            return _wrap(super().forward(raw), x.batch_size)


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
