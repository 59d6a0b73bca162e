"""The backends of the sparse layers; teachers use the namespace that `backend` returns."""

from __future__ import annotations

from types import ModuleType

from vpr_ros.errors import VprError


def backend(name: str = "auto") -> ModuleType:
    """Namespace with SparseTensor, sparse_tensor, voxelise, the layers and the global poolings.

    "torch": plain PyTorch. "minkowski": MinkowskiEngine, where it is installed. "auto" is "torch": both give the same
    results and read the same state dictionaries, and "torch" has no further dependency.
    """
    if name in ("torch", "auto"):
        from vpr_ros.training.sparse import torch_backend

        return torch_backend
    if name == "minkowski":
        from vpr_ros.training.sparse import minkowski_backend

        return minkowski_backend
    raise VprError(f'there is no sparse convolution backend "{name}": choose "torch", "minkowski" or "auto".')
