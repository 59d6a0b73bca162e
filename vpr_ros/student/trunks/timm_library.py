"""timm, for every network but the shipped one's; one sentence where it does not load.

Importing timm imports torchvision, which refuses a PyTorch that it was not built for: CPU wheels of the one beside the
usual ones of the other end in `operator torchvision::nms does not exist`.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from vpr_ros.errors import VprError


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


try:
    import timm
    from timm.models.resnet import BasicBlock
    from timm.models.vision_transformer import Block, VisionTransformer
except (ImportError, RuntimeError, AttributeError, OSError) as error:
    raise VprError(
        f"timm does not load with {_version('torch')} and {_version('torchvision')} ({str(error).splitlines()[0]}): "
        "install both from one place, for a CPU by `pip install --force-reinstall torch torchvision --index-url "
        "https://download.pytorch.org/whl/cpu`."
    ) from error

__all__ = ["BasicBlock", "Block", "VisionTransformer", "timm"]
